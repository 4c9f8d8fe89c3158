"""
The embedded fleet: SIMULATED models that need no key, no network and no GPU.

Each is a script, not a language model: it parses the prompt, really tries to solve it with limited abilities (see
`fleet.scripted`), and says what came out, over OpenAI's wire format, with `system_fingerprint` "simulated". Whatever
is no task to it gets an honest sentence saying so. The same prompt gets the same reply, unless `temperature` is
above 0.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import orjson

from fleet.errors import UpstreamError
from fleet.model import Model
from fleet.scripted.attempt import Attempt, attempt
from fleet.scripted.mind import Mind
from fleet.scripted.models import MODELS, ScriptedModel
from fleet.upstream import Reply

__all__ = ["FINGERPRINT", "REPLAY_MODELS", "Replay", "tokens"]

FINGERPRINT = "simulated"
REPLAY_MODELS: Mapping[str, ScriptedModel] = MODELS
"""The simulated models by name: `description`, `prices`, `abilities`, `voice`, `latency_ms`."""

MOST_LINES = 14  # of working that a model writes down


def tokens(text: str) -> int:
    """How many tokens a text counts: one for every four characters."""
    return -(-len(text) // 4)


@dataclass(frozen=True)
class _Said:
    id: str
    created: int
    model: str
    text: str
    finish_reason: Literal["stop", "length"]
    usage: dict[str, int]


@dataclass(frozen=True)
class _Shape:
    """How a reply is spelled, whole and in a stream."""

    whole: str
    chunk: str
    chat: bool

    def said(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"message": message} if self.chat else {"text": text}

    def added(self, delta: dict[str, str]) -> dict[str, Any]:
        return {"delta": delta} if self.chat else {"text": delta.get("content", "")}


_CHAT = _Shape("chat.completion", "chat.completion.chunk", chat=True)
_TEXT = _Shape("text_completion", "text_completion", chat=False)


class Replay:
    """The upstream for "replay/NAME". `pace` stretches every model's latency; 0 answers at once."""

    def __init__(self, pace: float = 1.0) -> None:
        self._pace = pace

    async def chat(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """Let a scripted model answer; see fleet.upstream.Upstream. Raises UpstreamError (400, 404)."""
        name = _name(model)
        if body.get("n") not in (None, 1):
            raise _refusal(model, 400, "A simulated model gives one choice (n=1).", "unsupported_value")
        messages = _texts(body.get("messages"))
        prompt = next((text for role, text in reversed(messages) if role == "user"), None)
        if prompt is None:
            raise _refusal(model, 400, "messages must hold a user message with text.", "invalid_value")
        said = _answer(name, MODELS[name], prompt, "".join(text for _, text in messages), body)
        return await self._reply(name, said, body, _CHAT)

    async def complete(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """The same answer as text; see fleet.upstream.Upstream. Raises UpstreamError (400, 404)."""
        name = _name(model)
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            [prompt] = prompt
        if not isinstance(prompt, str) or body.get("n") not in (None, 1):
            raise _refusal(model, 400, "A simulated model completes one text.", "unsupported_value")
        return await self._reply(name, _answer(name, MODELS[name], prompt, prompt, body), body, _TEXT)

    async def embed(self, model: Model, body: Mapping[str, Any]) -> Reply:  # noqa: ARG002
        """Raises UpstreamError (400): a script has no vectors."""
        raise _refusal(model, 400, "A simulated model makes no embeddings.", "unsupported_value")

    async def _reply(self, name: str, said: _Said, body: Mapping[str, Any], shape: _Shape) -> Reply:
        await asyncio.sleep(self._pace * MODELS[name].latency_ms / 1000)
        if body.get("stream"):
            asked = bool((body.get("stream_options") or {}).get("include_usage"))
            content = _stream(said, shape, null_usage=asked)
            return Reply(200, {"content-type": "text/event-stream"}, content, content.aclose)
        content = _whole(said, shape)
        return Reply(200, {"content-type": "application/json"}, content, content.aclose)

    async def aclose(self) -> None:
        """Nothing to let go of."""


def _name(model: Model) -> str:
    name = model.target.partition("/")[2]
    if name not in MODELS:
        message = f"The simulated fleet has no model {name!r}; it has {', '.join(MODELS)}."
        raise _refusal(model, 404, message, "model_not_found")
    return name


def _refusal(model: Model, status: int, message: str, code: str) -> UpstreamError:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return UpstreamError(
        model.name, "status", status, {"content-type": "application/json"}, orjson.dumps({"error": error})
    )


def _texts(messages: Any) -> list[tuple[str, str]]:
    """(role, text) of every message; parts that are not text count for nothing."""
    texts = []
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if isinstance(content, str):
            texts.append((str(message.get("role")), content))
    return texts


def _answer(name: str, scripted: ScriptedModel, prompt: str, read: str, body: Mapping[str, Any]) -> _Said:
    temperature = body.get("temperature")
    heat = float(temperature) if isinstance(temperature, int | float) else 0.0
    seed = body.get("seed")
    rng = (
        Random(f"{name}\n{prompt}")
        if heat <= 0
        else Random(None if seed is None else f"{name}\n{seed}\n{prompt}")
    )
    text = _voiced(name, scripted, attempt(prompt, Mind(scripted.abilities, rng, heat)))
    stop = body.get("stop") or []
    for word in [stop] if isinstance(stop, str) else stop:
        text = text.partition(word)[0] if word else text
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    cut = isinstance(most, int) and tokens(text) > most
    text = text[: 4 * most] if isinstance(most, int) and cut else text
    usage = {"prompt_tokens": tokens(read), "completion_tokens": tokens(text)}
    return _Said(
        f"chatcmpl-{uuid.uuid4().hex}",
        int(time.time()),
        name,
        text,
        "length" if cut else "stop",
        {**usage, "total_tokens": sum(usage.values())},
    )


def _voiced(name: str, scripted: ScriptedModel, tried: Attempt) -> str:
    """The attempt as this model would put it: cheap ones say little, dear ones think aloud."""
    if tried.answer is None:
        return (
            f"I am {name}, a scripted model of V0 Router's simulated fleet. I only know the small tasks I "
            "was written for (sums, lists, dates, tables and the like), and this is none of them."
        )
    if scripted.voice == "bare":
        return tried.answer
    final = f"The answer is {tried.answer}."
    if tried.answer.startswith("{"):
        final = f"Here is the JSON:\n{tried.answer}"
    elif tried.answer == "I don't know":
        final = "I don't know."
    steps = list(tried.working[:MOST_LINES])
    match scripted.voice:
        case "plain":
            return final
        case "working":
            return "\n".join([*steps, final])
        case "thorough":
            numbered = [f"Step {n}: {step}" for n, step in enumerate(steps, 1)]
            begin = "Let me work through this carefully, one step at a time."
            check = "I have gone over the question and my steps once more, and the result holds together."
            return "\n".join([begin, *numbered, check, final])


async def _whole(said: _Said, shape: _Shape) -> AsyncGenerator[bytes, None]:
    choice = {"index": 0, **shape.said(said.text), "logprobs": None, "finish_reason": said.finish_reason}
    yield orjson.dumps({**_head(said, shape.whole), "choices": [choice], "usage": said.usage})


async def _stream(said: _Said, shape: _Shape, null_usage: bool) -> AsyncGenerator[bytes, None]:
    head = _head(said, shape.chunk)
    rest: dict[str, Any] = {"usage": None} if null_usage else {}

    def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, **shape.added(delta), "logprobs": None, "finish_reason": finish_reason}
        return b"data: " + orjson.dumps({**head, "choices": [choice], **rest}) + b"\n\n"

    if shape.chat:
        yield event({"role": "assistant", "content": ""})
    for word in re.findall(r"\S+\s*|\s+", said.text):
        yield event({"content": word})
        await asyncio.sleep(0)
    yield event({}, said.finish_reason)
    yield b"data: " + orjson.dumps({**head, "choices": [], "usage": said.usage}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _head(said: _Said, kind: str) -> dict[str, Any]:
    return {
        "id": said.id,
        "object": kind,
        "created": said.created,
        "model": said.model,
        "system_fingerprint": FINGERPRINT,
    }
