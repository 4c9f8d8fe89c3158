"""A real HTTP server on this machine, and a provider with OpenAI's API to run on it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORDS = ("Forty", "-", "two", ".")


@asynccontextmanager
async def serve(app: Any) -> AsyncIterator[str]:
    """The address of an ASGI app served on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:  # noqa: ASYNC110 (uvicorn offers no event)
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


async def read_body(receive: Any) -> bytes:
    """The body of one request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def answer(send: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """One whole reply."""
    pairs = {"content-type": "application/json", **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Provider:
    """
    A provider with OpenAI's API. It remembers what it was asked, and behaves by the model's name: "missing" is
    404, "busy" 429, "cut" breaks off its stream, "endless" streams until the client leaves, "moved" redirects,
    "verbose" refuses at length and quotes the key, and every other model answers.
    """

    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = orjson.loads(await read_body(receive))
        self.bodies.append(body)
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        self.paths.append(scope["path"])
        refusals: dict[str, tuple[int, dict[str, str], bytes]] = {
            "missing": (404, {}, b'{"error": {"message": "no such model", "code": "model_not_found"}}'),
            "busy": (429, {"Retry-After": "7", "retry-after-ms": "6500"}, b'{"error": {"message": "slow"}}'),
            "moved": (307, {"location": "http://elsewhere.invalid/"}, b""),
            "verbose": (401, {}, self.headers[-1].get("authorization", "").encode() + b"x" * 200_000),
        }
        if body["model"] in refusals:
            status, headers, content = refusals[body["model"]]
            await answer(send, status, content, headers)
        elif body.get("stream"):
            await self._stream(body, receive, send)
        else:
            await answer(send, 200, orjson.dumps(self._completion(body)))

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(WORDS)}
        return {
            "id": f"chatcmpl-{len(self.bodies)}",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }

    async def _stream(self, body: dict[str, Any], receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        chunk = {
            "id": f"chatcmpl-{len(self.bodies)}",
            "object": "chat.completion.chunk",
            "model": body["model"],
        }

        async def say(delta: dict[str, Any], reason: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            event = b"data: " + orjson.dumps({**chunk, "choices": [choice]}) + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})

        await say({"role": "assistant", "content": ""})
        for word in WORDS:
            await say({"content": word})
            if body["model"] == "cut":
                raise ConnectionError("the provider breaks off")
        if body["model"] == "endless":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        await say({}, "stop")
        if body.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
            event = b"data: " + orjson.dumps({**chunk, "choices": [], "usage": usage}) + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
