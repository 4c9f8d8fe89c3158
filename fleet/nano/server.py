"""The nano fleet as an ASGI app with OpenAI's API."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from fleet.nano import wire
from fleet.nano.engine import EngineClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from fleet.nano.batching import Piece, Running
    from fleet.nano.engine import Engine, NanoModel

api = APIRouter()


def create_app(engine: Engine, temperature: float = 1.0) -> FastAPI:
    """The server over an engine, which it closes when it ends. `temperature` is for requests that name none."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)

    app = FastAPI(title="nano fleet", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.engine = engine
    app.state.temperature = temperature
    app.state.started = int(time.time())
    app.include_router(api)
    app.add_exception_handler(wire.Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(Exception, _broken)
    return app


@api.post("/v1/chat/completions", response_class=Response)
async def chat(request: Request) -> Response:
    """OpenAI's chat completions."""
    engine: Engine = request.app.state.engine
    asked = wire.read(await request.body())
    model = _model(engine, asked.model)
    prompt = model.chat.encode(asked.turns)
    if len(prompt) >= model.window:
        raise wire.ContextOverflow(model.window, len(prompt))
    return Completion(engine, model, asked, prompt, request.app.state.temperature)


@api.get("/v1/models")
async def models(request: Request) -> Response:
    """Every model."""
    listed = [_listed(request, name) for name in request.app.state.engine.models]
    return _json({"object": "list", "data": listed})


@api.get("/v1/models/{name:path}")
async def one_model(request: Request, name: str) -> Response:
    """One model."""
    _model(request.app.state.engine, name)
    return _json(_listed(request, name))


@api.get("/healthz")
async def healthz() -> Response:
    """The process is up; models are loaded before it listens."""
    return _json({"status": "ok"})


def _model(engine: Engine, name: str) -> NanoModel:
    try:
        return engine.models[name]
    except KeyError:
        raise wire.NoSuchModel(name) from None


def _listed(request: Request, name: str) -> dict[str, Any]:
    model: NanoModel = request.app.state.engine.models[name]
    return {
        "id": name,
        "object": "model",
        "created": request.app.state.started,
        "owned_by": "nano",
        "context_window": model.window,
        "parameters": model.network.shape.parameters(),
    }


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, wire.Refusal)
    return Response(error.body(), error.status, media_type="application/json")


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{error.detail}: {request.method} {request.url.path}"
    return await _refused(request, wire.NotFound(error.status_code, message))


async def _broken(request: Request, _: Exception) -> Response:
    return await _refused(request, wire.Refusal("The server had an error while processing your request."))


class Completion(Response):
    """
    One request as an ASGI response: its choices are generated while it lives, and let go when it ends.

    It is its own response because the client may leave at any moment, and its rows should be free at once.
    """

    def __init__(
        self, engine: Engine, model: NanoModel, asked: wire.ChatRequest, prompt: list[int], temperature: float
    ) -> None:
        super().__init__()
        self._engine, self._model, self._asked, self._prompt = engine, model, asked, prompt
        self._sampling = asked.sampling(temperature)
        self._choices = asked.n or 1
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": wire.FINGERPRINT,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI)
        pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        started: list[Running] = []
        answer = asyncio.create_task(self._answer(pieces, started, send))
        watch = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((answer, watch), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
        except OSError:
            pass  # how some servers say that the client has left
        finally:
            for running in started:
                self._engine.cancel(running)
            for task in (answer, watch):
                task.cancel()
            await asyncio.gather(answer, watch, return_exceptions=True)

    async def _answer(
        self, pieces: asyncio.Queue[tuple[int, Piece]], started: list[Running], send: Send
    ) -> None:
        try:
            for index in range(self._choices):
                started.append(self._begin(index, pieces))  # noqa: PERF401 (those begun must be known)
        except EngineClosed:
            return await self._send_whole(send, 503, wire.Overloaded("The server is shutting down.").body())
        return await (self._stream if self._asked.stream else self._whole)(pieces, send)

    def _begin(self, index: int, pieces: asyncio.Queue[tuple[int, Piece]]) -> Running:
        loop = asyncio.get_running_loop()

        def deliver(piece: Piece) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, (index, piece))

        return self._engine.submit(
            self._model.name,
            self._prompt,
            self._asked.most or self._model.window,
            self._sampling,
            deliver,
            stops=self._asked.stops,
            choice=index,
            each=bool(self._asked.stream),
        )

    async def _whole(self, pieces: asyncio.Queue[tuple[int, Piece]], send: Send) -> None:
        said: dict[int, Piece] = {}
        while len(said) < self._choices:
            index, piece = await pieces.get()
            if piece.failed:
                return await self._send_whole(send, 503, _failure().body())
            said[index] = piece
        choices = [wire.choice(index, said[index], self._logprobs(said[index])) for index in sorted(said)]
        used = wire.usage(len(self._prompt), sum(piece.tokens for piece in said.values()))
        return await self._send_whole(send, 200, wire.completion(self._head, choices, used))

    async def _stream(self, pieces: asyncio.Queue[tuple[int, Piece]], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        tokens: dict[int, int] = {}
        for index in range(self._choices):
            await self._chunk(send, index, {"role": "assistant", "content": "", "refusal": None})
        while len(tokens) < self._choices:
            index, piece = await pieces.get()
            if piece.failed:
                return await _send(send, b"data: " + _failure().body() + b"\n\n", more=False)
            if piece.text or piece.scored:
                await self._chunk(send, index, {"content": piece.text}, self._logprobs(piece))
            if piece.finish:
                tokens[index] = piece.tokens
                await self._chunk(send, index, {}, finish=piece.finish)
        if self._wants_usage:
            used = wire.usage(len(self._prompt), sum(tokens.values()))
            await _send(send, wire.event({**self._chunk_head, "choices": [], "usage": used}))
        return await _send(send, wire.DONE, more=False)

    async def _chunk(
        self,
        send: Send,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        finish: str | None = None,
    ) -> None:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        payload = {**self._chunk_head, "choices": [choice]}
        await _send(send, wire.event(payload | {"usage": None} if self._wants_usage else payload))

    @property
    def _chunk_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}

    @property
    def _wants_usage(self) -> bool:
        return bool(self._asked.stream_options and self._asked.stream_options.include_usage)

    def _logprobs(self, piece: Piece) -> dict[str, Any] | None:
        return wire.logprobs(piece.scored, self._model.pieces) if self._asked.logprobs else None

    async def _send_whole(self, send: Send, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await _send(send, body, more=False)


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


def _failure() -> wire.Refusal:
    return wire.Overloaded("The engine stopped while it was generating.")


async def _gone(receive: Receive) -> None:
    """Until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
