"""POST /v1/completions: OpenAI's older text completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from router.api.describe import OBJECT, TEXTS, described, fields, many
from router.api.direct import Direct
from router.api.request import Caller, ServicesOf, raw_body
from router.call import read
from router.exchange import Exchange

api = APIRouter(tags=["completions"], route_class=Direct)


@api.post(
    "/v1/completions",
    openapi_extra=described(("model", "prompt"), {"prompt": TEXTS}, fields(choices=many(OBJECT))),
    response_class=Response,
)
async def completions(request: Request, built: ServicesOf, key: Caller) -> Response:
    """
    Text that goes on from a prompt. `auto` chooses, by the prompt's text, among the models with the ability
    `completions`; a named model is asked whatever its abilities. Headers are those of chat.
    """
    call = read(await raw_body(request), request.headers.get("x-router-beta"), "completions")
    return Exchange(built.gateway, call, built.admission(key))
