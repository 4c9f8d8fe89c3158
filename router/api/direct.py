"""
The shortest way to an endpoint that needs nothing but the request, the services and the caller.

For every request FastAPI works out an endpoint's dependencies, a third of what a call to a named model costs here, and
looks for its route through all routers and layers of its own, an eighth of the rest.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.routing import APIRoute

from router.api.failures import answer
from router.api.request import built_of, caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from fastapi import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

KNOWN = {"request", "built", "key"}


class Direct(APIRoute):
    """A route whose endpoint takes `request`, `built` and `key` (or fewer) and returns a response; as documented."""

    @property
    def straight(self) -> bool:
        """Whether the endpoint asks for just these three."""
        return set(inspect.signature(self.endpoint).parameters) == KNOWN

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself, with what it asks for."""
        return self.ask if self.straight else super().get_route_handler()

    async def ask(self, request: Request) -> Response:
        """What the endpoint answers."""
        response: Response = await self.endpoint(
            request=request, built=built_of(request), key=await caller(request)
        )
        return response


class Straight:
    """Takes a POST for a `Direct` route's very path to its endpoint, and everything else to the app's router."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes = {each.path: each for each in routes if isinstance(each, Direct) and each.straight}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope.get("path", ""))
        if route is None or scope.get("method") != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await route.ask(request)
        except Exception as error:
            response = await answer(request, error)
        await response(scope, receive, send)
