"""
The shortest way from a route to an endpoint that needs nothing but the request, the services and the caller.

FastAPI works out an endpoint's dependencies for every request: a third of what a call to a named model costs here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

from router.api.request import built_of, caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request, Response

KNOWN = {"request", "built", "key"}


class Direct(APIRoute):
    """A route whose endpoint takes `request`, `built` and `key` (or fewer) and returns a response; as documented."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself, with what it asks for."""
        endpoint, wanted = self.endpoint, set(inspect.signature(self.endpoint).parameters)
        if wanted != KNOWN:
            return super().get_route_handler()

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(
                request=request, built=built_of(request), key=await caller(request)
            )
            return response

        return handle
