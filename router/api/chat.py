"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from router.api.describe import CONVERSATION, OBJECT, described, fields, many
from router.api.direct import Direct
from router.api.request import Caller, ServicesOf, raw_body
from router.call import read
from router.exchange import Exchange

api = APIRouter(tags=["chat"], route_class=Direct)

MESSAGES = {"messages": CONVERSATION}
CHAT = described(("model", "messages"), MESSAGES, fields(choices=many(OBJECT)))


@api.post("/v1/chat/completions", openapi_extra=CHAT, response_class=Response)
async def chat(request: Request, built: ServicesOf, key: Caller) -> Response:
    """
    OpenAI's chat completions. Fields that are not listed pass through untouched.

    The headers x-router-decision, -model, -beta, -reason and -decision-ms tell who answered and why.
    """
    call = read(await raw_body(request), request.headers.get("x-router-beta"))
    return Exchange(built.gateway, call, built.admission(key))
