"""A value model that knows its values, and upstreams that do as the test says: fail, stall, break off."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from fleet.errors import UpstreamError
from fleet.fleet import Fleet
from fleet.model import Model, Prices
from fleet.upstream import Reply
from router.value.batcher import Scored

DIM = 4
DONE = b"data: [DONE]\n\n"


class FakeScorer:
    """A context's value is the mean of its labels, 0.5 without rows; embeddings depend on the text."""

    version = "fake-1"
    dim = DIM

    def __init__(self) -> None:
        self.read: list[str] = []
        self.gate = asyncio.Event()  # closed, nothing is scored or embedded
        self.gate.set()
        self.closed = False

    async def fit(self, embeddings, labels, beside=None):
        return float(np.mean(labels)) if len(labels) else 0.5

    async def fit_fleet(self, histories):
        return [await self.fit(*history) for history in histories]

    async def fit_amounts(self, histories):
        return [None for _ in histories]

    async def embed(self, text):
        return (await self.score(text, ())).embedding

    async def score(self, text, contexts):
        await self.gate.wait()
        self.read.append(text)
        embedding = np.full(DIM, len(text) % 7, np.float32)
        timings = {"backbone": 1.0, "adapter": 0.5, "head": 0.25}
        return Scored(embedding, np.array(contexts, np.float32), timings)

    async def embed_many(self, texts):
        return np.stack([await self.embed(text) for text in texts])

    async def value_many(self, embeddings, context):
        return np.full(len(embeddings), context, np.float32)

    async def aclose(self):
        self.closed = True


@dataclass
class Says:
    """
    A reply: the text in one JSON body, or a word a chunk. A stream stalls or breaks off after `after` words.

    `message` and `deltas` say in full what `text` says for short. `headers_after_s` is how long it thinks before
    its status line.
    """

    text: str = "four"
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5}
    )
    headers: dict[str, str] = field(default_factory=dict)
    headers_after_s: float = 0.0
    breaks_off: bool = False
    stalls: bool = False
    error_event: dict[str, Any] | None = None
    after: int = 0
    done: bool = True
    message: dict[str, Any] | None = None
    deltas: list[dict[str, Any]] | None = None
    reason: str = "stop"


@dataclass
class Fails:
    """No reply, or one of status 400 and above."""

    status: int | None = 503
    body: bytes = (
        b'{"error": {"message": "overloaded", "type": "server_error", "param": null, "code": "busy"}}'
    )
    headers: dict[str, str] = field(default_factory=dict)
    cause: str = "status"


class Scripted:
    """An upstream that follows a script by model name, and remembers who asked what and when it was closed."""

    def __init__(self, script: dict[str, Says | Fails]) -> None:
        self.script = script
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.closed_at: dict[str, float] = {}
        self.thinking = asyncio.Event()
        self._count = 0

    async def chat(self, model, body):
        return await self._play(model, body, _whole, _events)

    async def complete(self, model, body):
        return await self._play(model, body, _whole_text, _text_events)

    async def embed(self, model, body):
        return await self._play(model, body, _vectors, None)

    async def _play(self, model, body, whole, events):
        self.asked.append((model.name, dict(body)))
        scene = self.script[model.name]
        if isinstance(scene, Fails):
            cause = scene.cause if scene.status is None else "status"
            raise UpstreamError(model.name, cause, scene.status, scene.headers, scene.body)
        self.thinking.set()
        self._count += 1
        try:
            await asyncio.sleep(scene.headers_after_s)
        except asyncio.CancelledError:
            self.closed_at[model.name] = time.perf_counter()
            raise
        stream = body.get("stream") is True
        identity = f"chatcmpl-{model.name}-{self._count}"
        content = (events if stream else whole)(scene, model, identity)

        async def close():
            self.closed_at[model.name] = time.perf_counter()

        kind = "text/event-stream" if stream else "application/json"
        return Reply(200, {"content-type": kind, **scene.headers}, content, close)

    async def aclose(self):
        pass


async def _whole(scene, model, identity):
    message = {"role": "assistant", **(scene.message or {"content": scene.text})}
    choice = {"index": 0, "message": message, "finish_reason": scene.reason}
    async for part in _body(scene, model, identity, "chat.completion", choices=[choice]):
        yield part


async def _whole_text(scene, model, identity):
    choice = {"index": 0, "text": scene.text, "logprobs": None, "finish_reason": scene.reason}
    async for part in _body(scene, model, identity, "text_completion", choices=[choice]):
        yield part


async def _vectors(scene, model, identity):
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}
    async for part in _body(scene, model, identity, "list", data=[vector]):
        yield part


async def _body(scene, model, identity, kind, **content):
    usage = {"usage": scene.usage} if scene.usage else {}
    body = orjson.dumps(
        {"id": identity, "object": kind, "created": 1, "model": model.name, **content, **usage}
    )
    yield body[: len(body) // 2]
    await _misbehave(scene, model)
    yield body[len(body) // 2 :]


async def _events(scene, model, identity):
    def event(said, reason=None):
        return {"object": "chat.completion.chunk", "choices": [_choice(reason, delta=said)]}

    words = [{"content": f"{word} "} for word in scene.text.split()] if scene.deltas is None else scene.deltas
    events = [event(delta) for delta in words]
    yield _chunk(model, identity, event({"role": "assistant", "content": ""}))
    async for chunk in _sequence(scene, model, identity, events, event({}, scene.reason)):
        yield chunk


async def _text_events(scene, model, identity):
    def event(text, reason=None):
        return {"object": "text_completion", "choices": [_choice(reason, text=text)]}

    events = [event(f"{word} ") for word in scene.text.split()]
    async for chunk in _sequence(scene, model, identity, events, event("", scene.reason)):
        yield chunk


def _choice(reason, **said):
    return {"index": 0, **said, "finish_reason": reason}


def _chunk(model, identity, event):
    fields = {"id": identity, "created": 1, "model": model.name, **event}
    return b"data: " + orjson.dumps(fields) + b"\n\n"


async def _sequence(scene, model, identity, events, last):
    for i, event in enumerate(events):
        if i == scene.after:
            await _misbehave(scene, model)
            if scene.error_event:
                yield b"data: " + orjson.dumps({"error": scene.error_event}) + b"\n\n"
                return
        yield _chunk(model, identity, event)
    yield _chunk(model, identity, last)
    if scene.usage:
        yield _chunk(model, identity, {**last, "choices": [], "usage": scene.usage})
    if scene.done:
        yield DONE


async def _misbehave(scene, model):
    if scene.breaks_off:
        raise UpstreamError(model.name, "cut")
    if scene.stalls:
        await asyncio.sleep(60)


def model(name: str, price: float, **more: Any) -> Model:
    """A model that costs `price` USD per million tokens, in and out."""
    return Model(name, f"openai/{name}", Prices(price, price), **more)


def fleet_of(upstream: Scripted, *models: Model) -> Fleet:
    """These models, all played by one upstream."""
    return Fleet(models, {"openai_compatible": upstream})
