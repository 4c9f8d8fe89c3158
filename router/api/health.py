"""GET /healthz: the process is up. GET /readyz: it can route, or why not."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from router.api.describe import STRING, fields, many, replied
from router.api.request import Services, ServicesOf

api = APIRouter(tags=["health"])


@api.get("/healthz")
async def healthz() -> dict[str, str]:
    """Up."""
    return {"status": "ok"}


@api.get("/readyz", openapi_extra=replied(fields(status=STRING, reasons=many(STRING)), "503"))
async def readyz(built: ServicesOf) -> JSONResponse:
    """200 when `auto` can be served and recorded; 503 with every reason otherwise."""
    reasons = list(_unready(built))
    if reasons:
        return JSONResponse({"status": "unavailable", "reasons": reasons}, 503, {"retry-after": "2"})
    return JSONResponse({"status": "ok"})


def _unready(built: Services) -> Iterator[str]:
    problem = built.gateway.loading.problem
    if problem is not None:
        yield problem
    writer = built.writer.health()
    if not writer.running:
        yield "the store's writer is not running"
    elif writer.last_error is not None:
        yield f"the store could not be written: {writer.last_error}"
    if not built.gateway.fleet.models:
        yield "the fleet has no model"
