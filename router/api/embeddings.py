"""POST /v1/embeddings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from router.api.describe import OBJECT, TEXTS, described, fields, many
from router.api.direct import Direct
from router.api.request import Caller, ServicesOf, raw_body
from router.call import read
from router.exchange import Exchange

api = APIRouter(tags=["embeddings"], route_class=Direct)


@api.post(
    "/v1/embeddings",
    openapi_extra=described(("model", "input"), {"input": TEXTS}, fields(data=many(OBJECT)), streams=False),
    response_class=Response,
)
async def embeddings(request: Request, built: ServicesOf, key: Caller) -> Response:
    """
    Vectors of a named model. `auto` means the one model with the ability `embeddings`, and is refused where there
    are several: their vectors cannot be compared. Headers are those of chat.
    """
    call = read(await raw_body(request), request.headers.get("x-router-beta"), "embeddings")
    return Exchange(built.gateway, call, built.admission(key))
