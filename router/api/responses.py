"""POST /v1/responses: OpenAI's Responses API, stateless, for any model of the fleet."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from router.api.describe import OBJECT, QUESTION, STRING, always, described, fields, many, maybe
from router.api.direct import Direct
from router.api.request import Caller, ServicesOf, raw_body
from router.call import parse, understand
from router.exchange import Exchange
from router.wire.responses import to_chat
from router.wire.responses_reply import Responses

api = APIRouter(tags=["responses"], route_class=Direct)

INPUT = {
    "examples": [QUESTION],
    "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "object"}}],
}
REPLY = fields(
    id=STRING,
    object=always("response"),
    status={"type": "string", "enum": ["completed", "incomplete"]},
    model=STRING,
    output=many(fields(id=STRING, type=STRING)),
    usage=maybe(OBJECT),
)


@api.post(
    "/v1/responses",
    openapi_extra=described(("model", "input"), {"input": INPUT}, REPLY),
    response_class=Response,
)
async def responses(request: Request, built: ServicesOf, key: Caller) -> Response:
    """
    OpenAI's responses, asked as a chat. Nothing is kept: a request that needs an earlier response is refused, and
    so is, by name, a field that chat cannot say.

    Headers are those of chat.
    """
    body = parse(await raw_body(request))
    call = understand(to_chat(body), request.headers.get("x-router-beta"))
    return Exchange(built.gateway, call.told_by(Responses(body)), built.admission(key))
