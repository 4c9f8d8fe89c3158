"""Every request is told of once, when it has ended: whatever its end, and whoever answered it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from router.ended import Ended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from router.ended import Observer

logger = logging.getLogger(__name__)

TRACE_HEADERS = (b"traceparent", b"tracestate")
UNMATCHED = "unmatched"  # the endpoint of a request for none of ours
CLIENT_LEFT = 499
ENDINGS = {CLIENT_LEFT: "ClientLeft", 502: "BrokenOff"}  # errors that no reply could tell


class Seen:
    """
    Tells observers of every request, outermost of all.

    What happened inside is left in the scope: `request_id` and `status`, `error` (its class), `routing`.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, started = time.time(), time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            try:
                ended = _ended(scope, began, (time.perf_counter() - started) * 1e3)
                for observe in self._observers:
                    observe(ended)
            except Exception as error:  # a request must not suffer from being watched
                logger.error("a request could not be told of: %s", type(error).__name__)


def _ended(scope: Scope, began: float, ms: float) -> Ended:
    status = scope.get("status", CLIENT_LEFT)
    return Ended(
        request_id=scope.get("request_id", ""),
        endpoint=getattr(scope.get("route"), "path", UNMATCHED),
        status=status,
        began=began,
        ms=ms,
        error=scope.get("error") or ENDINGS.get(status),
        routing=scope.get("routing"),
        trace_headers={
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in TRACE_HEADERS
        },
    )
