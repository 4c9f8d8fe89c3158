"""A provider with OpenAI's chat API, to measure gateways against (`python -m benchmarks.load.mock`).

It answers every model at once with a reply of fixed length, or as slowly as told: after `first_byte_ms`, then
`chunk_ms` for each token, streamed or not. Written for cost: nothing is rendered twice, so that the gateway is what
takes the time. `GET /v1/stats` says how many chats it has answered.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

WORDS = (
    "the",
    "harbour",
    "lies",
    "quiet",
    "at",
    "noon",
    "while",
    "seven",
    "grey",
    "ships",
    "wait",
    "for",
    "wind",
)
CREATED = 1_700_000_000
CHATS = ("/v1/chat/completions", "/chat/completions")
_MARK = "@"  # stands where a word goes while a chunk is rendered


@dataclass(frozen=True)
class Pace:
    """How long a reply is, in tokens (a word each), and how slowly it comes."""

    tokens: int = 200
    first_byte_ms: float = 0.0
    chunk_ms: float = 0.0


@dataclass
class MockUpstream:
    """The provider as an ASGI app."""

    pace: Pace = field(default_factory=Pace)
    chats: int = 0
    streams: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        words = [WORDS[i % len(WORDS)] for i in range(self.pace.tokens)]
        self._text = orjson.dumps(" ".join(words))
        self._words = [orjson.dumps(word if i == 0 else f" {word}") for i, word in enumerate(words)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/v1/stats":
            await _whole(send, 200, orjson.dumps({"chats": self.chats, "streams": self.streams}))
        elif path in ("/v1/models", "/models"):
            entry = {"id": "mock", "object": "model", "created": CREATED, "owned_by": "mock"}
            await _whole(send, 200, orjson.dumps({"object": "list", "data": [entry]}))
        elif path in CHATS:
            await self._chat(receive, send)
        else:
            await _whole(send, 404, _error(f"nothing at {path}"))

    async def _chat(self, receive: Receive, send: Send) -> None:
        try:
            body = orjson.loads(await _read(receive))
            model, messages = str(body["model"]), body["messages"]
            prompt_tokens = sum(len(str(message.get("content") or "")) for message in messages) // 4 + 1
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            await _whole(send, 400, _error("a chat needs a model and messages"))
            return
        self.chats += 1
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self.pace.tokens,
            "total_tokens": prompt_tokens + self.pace.tokens,
        }
        head = {"id": f"chatcmpl-mock-{next(self._numbers)}", "created": CREATED, "model": model}
        if self.pace.first_byte_ms:
            await asyncio.sleep(self.pace.first_byte_ms / 1e3)
        if body.get("stream"):
            self.streams += 1
            wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            await self._stream(send, head, usage if wants_usage else None)
            return
        if self.pace.chunk_ms:
            await asyncio.sleep(self.pace.tokens * self.pace.chunk_ms / 1e3)
        message = {"role": "assistant", "content": _MARK}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        before, after = _around({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        await _whole(send, 200, before + self._text + after)

    async def _stream(self, send: Send, head: dict[str, Any], usage: dict[str, int] | None) -> None:
        base = {**head, "object": "chat.completion.chunk"}
        tail = {} if usage is None else {"usage": None}

        def chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return {**base, "choices": [choice], **tail}

        async def say(event: bytes) -> None:
            await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})

        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await say(orjson.dumps(chunk({"role": "assistant", "content": ""})))
        before, after = _around(chunk({"content": _MARK}))
        for word in self._words:
            await say(before + word + after)
            if self.pace.chunk_ms:
                await asyncio.sleep(self.pace.chunk_ms / 1e3)
        await say(orjson.dumps(chunk({}, "stop")))
        if usage is not None:
            await say(orjson.dumps({**base, "choices": [], "usage": usage}))
        await say(b"[DONE]")
        await send({"type": "http.response.body", "body": b""})


def _around(rendered: dict[str, Any]) -> tuple[bytes, bytes]:
    """What stands before and after the one mark in some JSON; the words are rendered once for all."""
    before, after = orjson.dumps(rendered).rsplit(orjson.dumps(_MARK), 1)
    return before, after


def _error(message: str) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return orjson.dumps({"error": error})


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _whole(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on the loopback address.")] = 9100,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a reply.")] = 200,
    first_byte_ms: Annotated[float, typer.Option(min=0, help="Wait before a reply.")] = 0.0,
    chunk_ms: Annotated[float, typer.Option(min=0, help="Wait for each token.")] = 0.0,
) -> None:
    """Answer chats on the loopback address until told to end."""
    import uvicorn

    app = MockUpstream(Pace(tokens, first_byte_ms, chunk_ms))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    typer.run(main)
