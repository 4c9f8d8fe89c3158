"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's Messages API, for any model of the fleet."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from router.api.describe import CONVERSATION, INTEGER, STRING, always, described, fields, many, maybe
from router.api.direct import Direct
from router.api.request import Caller, ServicesOf, raw_body
from router.call import parse, understand
from router.exchange import Exchange
from router.features import extract
from router.wire.messages import shows_thinking, to_chat
from router.wire.messages_reply import Messages

api = APIRouter(tags=["messages"], route_class=Direct)

MESSAGES = {"messages": CONVERSATION, "max_tokens": {"examples": [100]}}
REPLY = fields(
    id=STRING,
    type=always("message"),
    role=always("assistant"),
    model=STRING,
    content=many(fields(type=STRING)),
    stop_reason=STRING,
    stop_sequence=maybe(STRING),
    usage=fields(input_tokens=INTEGER, output_tokens=INTEGER),
)
ASK = described(("model", "messages"), MESSAGES, REPLY)
COUNT = described(("model", "messages"), MESSAGES, fields(input_tokens=INTEGER), streams=False, routed=False)


@api.post("/v1/messages", openapi_extra=ASK, response_class=Response)
async def messages(request: Request, built: ServicesOf, key: Caller) -> Response:
    """
    Anthropic's messages, asked as a chat. A field that chat cannot say is refused by name.

    Headers are those of chat; errors come in Anthropic's envelope.
    """
    body = parse(await raw_body(request))
    call = understand(to_chat(body), request.headers.get("x-router-beta"))
    wire = Messages(extract(call.body).input_tokens, shows_thinking(body))
    return Exchange(built.gateway, call.told_by(wire), built.admission(key))


@api.post("/v1/messages/count_tokens", openapi_extra=COUNT)
async def count_tokens(request: Request, _built: ServicesOf, _key: Caller) -> dict[str, int]:
    """An estimate, four characters a token: which model will answer, and how it counts, is not known yet."""
    call = understand(to_chat(parse(await raw_body(request))), None)
    return {"input_tokens": extract(call.body).input_tokens}
