"""The application: what is built when it starts, how it is wired, and how it ends."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from fleet.fleet import Fleet
from router.api import (
    chat,
    completions,
    decisions,
    embeddings,
    explain,
    feedback,
    health,
    keys,
    messages,
    metrics,
    models,
    responses,
    schedule,
    value,
)
from router.api.direct import Straight
from router.api.failures import RequestIds, answer_errors
from router.api.openapi import document
from router.api.request import Services
from router.api.seen import Seen
from router.contexts import Contexts
from router.gate import Gate
from router.gateway import Gateway
from router.keys.book import Book
from router.ledger import Ledger
from router.logs import tell
from router.metrics import Metrics
from router.policies import Policies
from router.reload import Reloads, watch
from router.store.engine import open_store
from router.store.writer import Writer
from router.tokens import TokenCounter
from router.tracing import open_tracing
from router.valuation import Loading, Valuation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Engine

    from router.config import Settings
    from router.ended import Observer
    from router.value.batcher import Scorer


PREFLIGHT_S = 600  # how long a browser may remember what a page may send


def create_app(settings: Settings, *, scorer: Scorer | None = None, fleet: Fleet | None = None) -> FastAPI:
    """
    The gateway of these settings; connects to nothing until its lifespan begins.

    `scorer` and `fleet` replace the ones that the settings describe. The app does not close a given fleet.
    """
    counts = Metrics()
    observers: list[Observer] = [counts.record, tell]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            engine = await asyncio.to_thread(open_store, settings.store.url)
            closing.callback(engine.dispose)
            writer = Writer(engine)
            writer.start()
            closing.push_async_callback(writer.aclose)
            upstreams = fleet or Fleet.open(settings.fleet, settings.timeouts)
            if fleet is None:
                closing.push_async_callback(upstreams.aclose)
            tokens = TokenCounter()
            upstreams.breakers.keep(list(upstreams.models.values()), settings.breaker)
            wanted = scorer is not None or not settings.value.off
            loading = Loading(_load(settings, scorer, upstreams, engine, tokens) if wanted else None)
            closing.push_async_callback(loading.aclose)
            ledger = Ledger(writer, loading)
            closing.push_async_callback(ledger.aclose)
            reloads = Reloads()
            counts.watch(writer, loading, reloads)
            tracing = open_tracing(os.environ)
            if tracing is not None:
                observers.append(tracing.record)
                closing.push_async_callback(asyncio.to_thread, tracing.shutdown)
            gateway = Gateway(settings, upstreams, loading, ledger, tokens=tokens)
            book = Book(engine)
            await book.start()
            counts.watch_keys(book)
            app.state.services = Services(gateway, writer, book, metrics=counts, engine=engine)
            app.state.schedule_gate = Gate()
            app.state.policies = Policies(engine, loading, store_prompts=settings.store.store_prompts)
            watching = asyncio.create_task(watch(settings, gateway.apply, reloads), name="watch-settings")
            closing.callback(watching.cancel)
            following = asyncio.create_task(book.follow(), name="follow-keys")
            closing.push_async_callback(book.aclose)
            closing.callback(following.cancel)
            yield

    app = FastAPI(title="V0 Router", version=version("v0-router"), lifespan=lifespan)
    answer_errors(app)
    # in this order they are compared with a request's path
    rooms = (chat, messages, responses, completions, embeddings, models, feedback, explain, health, metrics)
    routers = [room.api for room in (*rooms, decisions, keys, value, schedule)]
    for router in routers:
        app.include_router(router)
    # innermost first
    app.add_middleware(Straight, routes=[route for router in routers for route in router.routes])
    if settings.server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.server.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
            max_age=PREFLIGHT_S,
        )
    app.add_middleware(RequestIds)
    app.add_middleware(Seen, observers=observers)
    document(app)
    return app


async def _load(
    settings: Settings, scorer: Scorer | None, fleet: Fleet, engine: Engine, tokens: TokenCounter
) -> Valuation:
    """V0 and its contexts, ready to decide, and the tokenizer beside it. Raises what either raises."""
    ours = scorer is None
    if scorer is None:
        from router.value.batcher import Scorer  # imports torch when it loads

        value = settings.value
        scorer = await Scorer.load(value.weights, value.backbone, value.device, value.tabpfn, value.precision)
        await asyncio.to_thread(tokens.load)
    contexts = Contexts(engine, scorer, fleet.models, context_size=settings.context_size)
    await contexts.start()
    contexts.follow(fleet.models)  # the fleet may have changed meanwhile
    return Valuation(scorer, contexts, owns_scorer=ours)
