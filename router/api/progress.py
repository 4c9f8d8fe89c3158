"""Long work told as it goes: server-sent events as OpenAI's streams have them, then the answer, then [DONE]."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import StreamingResponse

from router.api.failures import CLIENT_LEFT
from router.errors import GatewayError, NotReady
from router.leaving import until_the_client_leaves
from router.relay import DONE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    Event = dict[str, Any]
    Tell = Callable[[Event], Awaitable[None]]


class Telling(StreamingResponse):
    """
    `work` awaits what it is given with every event, and returns the last one.

    The status line goes out with the first event. What is raised before it is answered as for any endpoint; later
    it is an event in the envelope, and the end. The work is cancelled whenever the client leaves.
    """

    def __init__(self, work: Callable[[Tell], Awaitable[Event]]) -> None:
        super().__init__((), media_type="text/event-stream")
        self._work = work
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with until_the_client_leaves(receive, send) as (leaving, sending):
            try:
                await self._tell(sending)
            except (Exception, asyncio.CancelledError) as error:
                if leaving.cancel_called or not self._started:
                    raise
                ours = _ours(error, scope)
                scope["status"], scope["error"] = ours.status, type(ours).__name__
                await sending(_body(_event(ours.envelope()), more=False))
                if ours is not error:
                    raise  # for the log
        if leaving.cancelled_caught:
            scope["status"] = CLIENT_LEFT

    async def _tell(self, send: Send) -> None:
        async def tell(event: Event) -> None:
            if not self._started:
                self._started = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send(_body(_event(event)))

        await tell(await self._work(tell))
        await send(_body(DONE, more=False))


def _ours(error: BaseException, scope: Scope) -> GatewayError:
    """What the client is told of an error, which may be a bug."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return NotReady("the gateway is shutting down")
    return GatewayError(f"an unexpected error; the log has it under {scope.get('request_id', '')}")


def _event(data: Event) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _body(event: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": event, "more_body": more}
