"""
From an upstream's reply to a client's: nothing is sent before its first content is in, then bytes are passed on.

A stream's bytes are held back until its first content is in, and a plain reply's until it is complete, so
that an upstream which fails before that is replaced unseen. A stream that breaks off later ends with an error
event and without [DONE]: a cut must not look like an end.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import orjson

from fleet.errors import UpstreamError
from fleet.usage import ReplyReader
from router.errors import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from fleet.upstream import Reply
    from router.call import Call

logger = logging.getLogger(__name__)

HELD_BYTES = 64 * 1024  # a stream that sends this much before its first content is passed on as it is
PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
PASSED_ON_PREFIX = "x-ratelimit-"
DRAIN_S = 1.0
DONE = b"data: [DONE]\n\n"


class Relay:
    """One upstream's reply on its way to one client; `failover.connect` makes them."""

    def __init__(self, model: str, reply: Reply, call: Call) -> None:
        self.model = model
        self.status = reply.status
        self.stream = call.stream and "json" not in reply.headers.get("content-type", "")
        self.reader = ReplyReader(self.stream, hide_usage=True, hide_done=True)
        self.cut = False  # the upstream broke off after its first content
        self.recorded: list[bytes] | None = (
            [] if call.keep else None
        )  # the upstream's bytes, while they are wanted
        self.content_type = reply.headers.get("content-type", "")
        self.last_words: Callable[[], Awaitable[bytes]] | None = (
            None  # what a complete stream ends with, before [DONE]
        )
        self._reply = reply
        self._content = aiter(reply.content)
        self._held: list[bytes] = []
        self._ended = False
        self._one_choice = call.one_choice

    @property
    def headers(self) -> dict[str, str]:
        """What the client should see of the upstream's headers."""
        kind = "text/event-stream; charset=utf-8" if self.stream else "application/json"
        return {"content-type": kind, **passed_on(self._reply.headers)}

    async def prime(self) -> None:
        """Read up to the first content. Raises `UpstreamError` when the upstream fails before it."""
        held = 0
        while not self._ended and (not self.stream or (not self.reader.saw_content and held < HELD_BYTES)):
            chunk = await self._next()
            self._held.append(chunk)
            held += len(chunk)
            if self.reader.error is not None:
                raise UpstreamError(self.model, "status", 502, body=_error_body(self.reader.error))
        if self.stream and self._ended and not self._complete:
            raise UpstreamError(self.model, "cut")
        if self._reply.visit is not None:
            self._reply.visit.began()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The client's bytes, from the first; never raises for what the upstream does."""
        yield b"".join(self._held)
        self._held.clear()
        try:
            while not self._ended and self.reader.error is None and not self.reader.saw_done:
                yield await self._next()
        except UpstreamError as error:
            logger.warning("model=%s cause=%s after its first content", self.model, error.cause)
            self.cut = True
        if not self.stream:
            return
        if self.reader.error is not None:
            self.cut = True  # the upstream's own error event has been passed on
            self.failed(UpstreamError(self.model, "status", 502))
        elif self.cut or not self._complete:
            self.cut = True
            self.failed(UpstreamError(self.model, "cut"))
            cut = UpstreamFailed(self.model, f"{self.model} broke off its reply")
            yield b"\n\ndata: " + cut.body() + b"\n\n"  # blank lines first: half an event may have gone out
        else:
            yield (await self.last_words() if self.last_words else b"") + DONE

    def failed(self, error: UpstreamError) -> None:
        """What came says that the upstream is unwell."""
        if self._reply.visit is not None:
            self._reply.visit.failed(error)

    async def aclose(self) -> None:
        """Let the upstream go, cancelling it if it is not finished."""
        if self.reader.saw_done and not self._ended:
            await self._drain()
        await self._reply.aclose()

    async def _drain(self) -> None:
        """Read what comes after [DONE], which is nothing, so that the connection can be used again."""
        with (
            suppress(UpstreamError),
            anyio.move_on_after(DRAIN_S),
        ):  # whatever happens now, the reply was whole
            while not self._ended:
                await self._next()

    @property
    def _complete(self) -> bool:
        """Whether the stream came to its end; some upstreams end without [DONE]."""
        reader = self.reader
        return reader.saw_done or (reader.finish_reason is not None and self._one_choice)

    async def _next(self) -> bytes:
        try:
            chunk = await anext(self._content)
        except StopAsyncIteration:
            self._ended = True
            rest = self.reader.finish()
            return rest if self._complete or not self.stream else b""
        if self.recorded is not None:
            self.recorded.append(chunk)
        return self.reader.feed(chunk)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The upstream's headers that tell a client when to come back."""
    return {k: v for k, v in headers.items() if k in PASSED_ON or k.startswith(PASSED_ON_PREFIX)}


def _error_body(error: object) -> bytes:
    return orjson.dumps({"error": error if isinstance(error, dict) else {"message": str(error)}})
