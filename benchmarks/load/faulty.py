"""A provider with faults, for the soak (`python -m benchmarks.load.faulty`).

What it does with its n-th chat follows from n alone: an answer, whole or streamed, with usage or without, after a wait
or not; a refusal (429, 500, 503); a reply that breaks off before or within its content; now and then an outage of one
model. An answer's id names its model and n, and its usage follows from n too: so whoever sees an id knows what that
reply must have cost, without asking. `GET /v1/stats` tells how many chats came and what became of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import orjson
import typer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Doing = Literal["answer", "uncounted", "slow", "429", "500", "503", "nothing", "cut"]

PREFIX = "chatcmpl-soak"
WEIGHTS: dict[Doing, int] = {
    "answer": 910,
    "uncounted": 20,  # an answer without usage
    "slow": 20,
    "429": 6,
    "500": 8,
    "503": 14,
    "nothing": 10,  # headers, and then the connection is gone
    "cut": 12,  # the same after some content, where it streams; else as "nothing"
}
SLOW_S = 0.05
OUTAGE_OF, OUTAGE_EVERY, OUTAGE_LONG = "b", 4000, 60  # chats: all of one model's are refused for a while
CHATS = ("/v1/chat/completions", "/chat/completions")


class Counted(NamedTuple):
    """Tokens of a reply."""

    prompt: int
    cached: int
    completion: int

    @property
    def usage(self) -> dict[str, Any]:
        """In OpenAI's words."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


def what(number: int, model: str) -> Doing:
    """What becomes of the chat with this number."""
    if model == OUTAGE_OF and number % OUTAGE_EVERY < OUTAGE_LONG:
        return "503"
    chance = random.Random(number)
    return chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def counted(number: int) -> Counted:
    """The tokens of the answer with this number."""
    chance = random.Random(-1 - number)
    prompt = chance.randrange(10, 400)
    cached = chance.randrange(prompt) if chance.random() < 0.3 else 0
    return Counted(prompt, cached, chance.randrange(1, 30))


def identity(model: str, number: int) -> str:
    """The id of an answer."""
    return f"{PREFIX}-{model}-{number}"


def read_identity(found: str) -> tuple[str, int]:
    """Model and number of an answer's id. Raises ValueError."""
    prefix, model, number = found.rsplit("-", 2)
    if prefix != PREFIX:
        raise ValueError(f"no answer of ours: {found}")
    return model, int(number)


@dataclass
class FaultyUpstream:
    """The provider as an ASGI app."""

    numbers: int = 0
    done: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] not in CHATS:
            await _whole(send, 200, orjson.dumps({"chats": self.numbers, "done": self.done}))
            return
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body", False):
                break
        body = orjson.loads(raw)
        number, self.numbers = self.numbers, self.numbers + 1
        doing = what(number, body["model"])
        await self._do(doing, number, body, send)
        self.done[doing] += 1  # not where the gateway has left

    async def _do(self, doing: Doing, number: int, body: dict[str, Any], send: Send) -> None:
        if doing in ("429", "500", "503"):
            error = {"message": f"told to say {doing}", "type": "server_error", "param": None, "code": None}
            retry = {"retry-after": "0.02"} if doing == "429" else {}
            await _whole(send, int(doing), orjson.dumps({"error": error}), retry)
            return
        if doing == "slow":
            await asyncio.sleep(SLOW_S)
        head = {"id": identity(body["model"], number), "created": 1_700_000_000, "model": body["model"]}
        usage = None if doing == "uncounted" else counted(number)
        words = ["word", *[" more"] * (counted(number).completion - 1)]
        if body.get("stream"):
            await _stream(send, head, words, usage, doing)
            return
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(words)},
            "finish_reason": "stop",
        }
        said = {**head, "object": "chat.completion", "choices": [choice]}
        sent = orjson.dumps(said if usage is None else {**said, "usage": usage.usage})
        if doing in ("nothing", "cut"):
            await _start(send, 200, "application/json", {"content-length": str(len(sent))})
            return  # the server closes the connection
        await _whole(send, 200, sent)


async def _stream(
    send: Send, head: dict[str, Any], words: list[str], usage: Counted | None, doing: Doing
) -> None:
    await _start(send, 200, "text/event-stream")
    if doing == "nothing":
        return

    async def say(**told: Any) -> None:
        event = orjson.dumps({**head, "object": "chat.completion.chunk", **told})
        await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})

    for word in words:
        await say(choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}])
        if doing == "cut":
            return
    await say(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if usage is not None:
        await say(choices=[], usage=usage.usage)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _start(send: Send, status: int, kind: str, more: dict[str, str] | None = None) -> None:
    headers = {"content-type": kind, **(more or {})}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _whole(send: Send, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
    await _start(send, status, "application/json", {"content-length": str(len(body)), **(more or {})})
    await send({"type": "http.response.body", "body": body})


def main(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on the loopback address.")]) -> None:
    """Answer chats on the loopback address until told to end."""
    import logging

    import uvicorn

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it tells of every reply that breaks off
    uvicorn.run(
        FaultyUpstream(),
        host="127.0.0.1",
        port=port,
        log_level="critical",
        access_log=False,
        lifespan="off",
    )


if __name__ == "__main__":
    typer.run(main)
