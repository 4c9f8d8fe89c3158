"""A gateway that is told to end: replies under way are finished, and those that cannot be are told so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import uvicorn

from router.app import create_app
from router.store import queries
from router.store.engine import open_store
from tests.router.fakes import FakeScorer, Says, Scripted, fleet_of
from tests.router.running import ASK


@asynccontextmanager
async def ending(settings, drain_s, **script):
    """A gateway on a socket; `end()` asks it to end and waits until it has."""
    upstream = Scripted({each.name: Says() for each in settings.fleet} | script)
    app = create_app(settings, scorer=FakeScorer(), fleet=fleet_of(upstream, *settings.fleet))
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=drain_s, ws="none"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def end():
        server.should_exit = True
        await task

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        yield http, upstream, end
    await end()


def asks(http, **fields):
    return asyncio.create_task(
        http.post("/v1/chat/completions", json={"model": "weak", "messages": ASK, **fields})
    )


async def recorded(settings, decision):
    engine = open_store(settings.store.url)
    try:
        return queries.decision(engine, decision)
    finally:
        engine.dispose()


@pytest.fixture
def settings(settings):
    return replace(settings, fleet=settings.fleet[-1:])


async def test_a_reply_under_way_is_finished_and_recorded(settings):
    async with ending(settings, 10, weak=Says(headers_after_s=0.5)) as (http, upstream, end):
        asking = asks(http)
        await upstream.thinking.wait()
        await end()
        reply = await asking
    assert reply.json()["choices"][0]["message"]["content"] == "four"
    row = await recorded(settings, reply.headers["x-router-decision"])
    assert (row.status, row.output_tokens) == (200, 5)


async def test_a_stream_that_takes_too_long_ends_in_an_error_and_not_in_done(settings):
    stalled = Says("one two three", stalls=True, after=2)
    async with ending(settings, 1, weak=stalled) as (http, upstream, end):
        asking = asks(http, stream=True)
        await upstream.thinking.wait()
        await asyncio.sleep(0.3)
        await end()
        reply = await asking
    assert "two" in reply.text
    assert '"code":"not_ready"' in reply.text
    assert "[DONE]" not in reply.text
    row = await recorded(settings, reply.headers["x-router-decision"])
    assert row.status == 503


async def test_a_plain_reply_that_takes_too_long_is_a_503(settings):
    async with ending(settings, 1, weak=Says(headers_after_s=60)) as (http, upstream, end):
        asking = asks(http)
        await upstream.thinking.wait()
        await end()
        reply = await asking
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_ready")
    assert reply.headers["retry-after"]
    assert "weak" in upstream.closed_at
