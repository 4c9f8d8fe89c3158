"""
From an upstream's reply to a client's: fall back while nothing has been sent, then pass the bytes on.

A stream's bytes are held back until its first content is in, and a plain reply's until it is complete, so
that an upstream which fails before that is replaced unseen. A stream that breaks off later ends with an error
event and without [DONE]: a cut must not look like an end.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import orjson

from fleet.errors import UnknownModel, UpstreamError
from fleet.usage import ReplyReader
from router import errors
from router.errors import GatewayError, UpstreamFailed, UpstreamRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fleet.fleet import Fleet
    from fleet.upstream import Reply
    from router.call import Call

logger = logging.getLogger(__name__)

HELD_BYTES = 64 * 1024  # a stream that sends this much before its first content is passed on as it is
PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
PASSED_ON_PREFIX = "x-ratelimit-"
OPERATORS_CONCERN = (401, 402, 403, 404, 405)  # of our account there; a client would take them for its own
DONE = b"data: [DONE]\n\n"


class Relay:
    """One upstream's reply on its way to one client; `connect` makes them."""

    def __init__(self, model: str, reply: Reply, call: Call) -> None:
        self.model = model
        self.status = reply.status
        self.stream = call.stream and "json" not in reply.headers.get("content-type", "")
        self.reader = ReplyReader(self.stream, call.hide_usage)
        self.cut = False  # the upstream broke off after its first content
        self._reply = reply
        self._content = aiter(reply.content)
        self._held: list[bytes] = []
        self._ended = False
        self._one_choice = call.one_choice

    @property
    def headers(self) -> dict[str, str]:
        """What the client should see of the upstream's headers."""
        kind = "text/event-stream; charset=utf-8" if self.stream else "application/json"
        return {"content-type": kind, **_passed_on(self._reply.headers)}

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

    async def chunks(self) -> AsyncIterator[bytes]:
        """The client's bytes, from the first; never raises for what the upstream does."""
        yield b"".join(self._held)
        self._held.clear()
        try:
            while not self._ended and self.reader.error is None:
                yield await self._next()
        except UpstreamError as error:
            logger.warning("model=%s cause=%s after its first content", self.model, error.cause)
            self.cut = True
        if not self.stream:
            return
        if self.reader.error is not None:
            self.cut = True  # the upstream's own error event has been passed on
        elif self.cut or not self._complete:
            self.cut = True
            cut = UpstreamFailed(self.model, f"{self.model} broke off its reply")
            yield b"\n\ndata: " + cut.body() + b"\n\n"  # blank lines first: half an event may have gone out
        elif not self.reader.saw_done:
            yield DONE

    async def aclose(self) -> None:
        """Let the upstream go, cancelling it if it is not finished."""
        await self._reply.aclose()

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
        return self.reader.feed(chunk)


async def connect(fleet: Fleet, order: Sequence[str], call: Call, failed: dict[str, str]) -> Relay:
    """
    The reply of the first model that gives one; `failed` learns who did not, and how.

    An upstream's refusal that no other model would change (a bad request) ends the search. Raises
    `UpstreamRefused` with the last upstream's own error or, where it had none, `UpstreamFailed`.
    """
    last: UpstreamError | UnknownModel | None = None
    for name in order:
        try:
            return await _open(fleet, name, call)
        except UnknownModel as error:  # taken out of router.yaml since the decision
            failed[name] = "failed: removed"
            last = error
        except UpstreamError as error:
            failed[name] = f"failed: {error.status or error.cause}"
            logger.warning("model=%s cause=%s status=%s", name, error.cause, error.status)
            last = error
            if not error.retryable:
                break
    assert last is not None  # somebody was asked
    raise _as_answer(last)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The upstream's headers that tell a client when to come back."""
    return {k: v for k, v in headers.items() if k in PASSED_ON or k.startswith(PASSED_ON_PREFIX)}


async def _open(fleet: Fleet, name: str, call: Call) -> Relay:
    relay = Relay(name, await fleet.ask(call.operation, name, call.body), call)
    try:
        await relay.prime()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await relay.aclose()
        raise
    return relay


def _as_answer(error: UpstreamError | UnknownModel) -> GatewayError:
    if isinstance(error, UnknownModel):
        return errors.UnknownModel(error.name)
    if error.status is None:
        return UpstreamFailed(error.model, f"{error}", slow=error.cause == "timeout")
    if error.status in OPERATORS_CONCERN or error.status < 400:
        return UpstreamFailed(
            error.model,
            f"{error}: its key, address or name is not accepted",
            headers={"x-should-retry": "false"},
        )
    return UpstreamRefused(error.model, error.status, error.body, _passed_on(error.headers))


def _error_body(error: object) -> bytes:
    return orjson.dumps({"error": error if isinstance(error, dict) else {"message": str(error)}})
