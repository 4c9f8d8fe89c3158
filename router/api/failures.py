"""Every error leaves in the envelope of its protocol, every reply with a request id, and no bug shows its inside."""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fleet.upstream import request_id as sent_along
from router.errors import BadRequest, GatewayError, NotReady
from router.logs import place
from router.store.errors import StoreUnavailable
from router.wire.errors import error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
ANTHROPICS_REQUEST_ID = "request-id"  # where its SDKs read it
SANE = re.compile(r"[!-~]{1,128}")  # stands in a header, and is one word of a log line
CLIENT_LEFT = 499


def answer_errors(app: FastAPI) -> None:
    """Teach the app our error family, and put its own errors into the envelope."""
    for family, handler in HANDLERS.items():
        app.add_exception_handler(family, handler)


async def answer(request: Request, error: Exception) -> Response:
    """The reply to a request that failed so. Raises the error where it is none of those that are expected."""
    for family, handler in HANDLERS.items():
        if isinstance(error, family):
            return await handler(request, error)
    raise error


def as_response(error: GatewayError, scope: Scope) -> Response:
    """An error as the reply it makes to a request."""
    scope["error"] = type(error).__name__
    body = error_body(error, scope["path"], scope.get("request_id", ""))
    return Response(body, error.status, error.headers, media_type="application/json")


class RequestIds:
    """
    Names every request, by the caller's x-request-id or one of ours, and answers for bugs.

    An unexpected exception is logged with its place but without its message, which may quote a prompt.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID))
        scope["request_id"] = request_id
        sent_along.set(request_id)
        started = False

        async def named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                scope["status"] = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                if scope["path"].startswith("/v1/messages"):
                    headers[ANTHROPICS_REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, named)
        except Exception as error:
            logger.error("request=%s failed unexpectedly: %s", request_id, place(error))
            if started:
                raise _BrokenReply from None  # the server must cut the connection: half a reply is out
            ours = GatewayError(f"an unexpected error; the log has it under {request_id}")
            await as_response(ours, scope)(scope, receive, named)


class _BrokenReply(Exception):  # noqa: N818
    """A reply that had begun could not be finished; the reason is in the log."""


def _request_id(sent: str | None) -> str:
    if sent and SANE.fullmatch(sent):
        return sent
    return f"req_{secrets.token_hex(12)}"


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return as_response(error, request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][1:]))
    return as_response(BadRequest(f"{where}: {first['msg']}", param=where or None), request.scope)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    ours = BadRequest(str(error.detail), headers=error.headers)
    ours.status = error.status_code
    return as_response(ours, request.scope)


async def _store_away(request: Request, _error: Exception) -> Response:
    return as_response(NotReady("the store cannot be reached now"), request.scope)


async def _client_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


HANDLERS: Final[Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = {
    GatewayError: _ours,
    RequestValidationError: _invalid,
    HTTPException: _http,
    StoreUnavailable: _store_away,
    ClientDisconnect: _client_left,
}
