"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from router.api.request import Caller, ServicesOf, raw_body
from router.call import read
from router.exchange import Exchange

api = APIRouter(tags=["chat"])

CHAT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "messages"],
                    "additionalProperties": True,
                    "properties": {
                        "model": {"type": "string", "description": "`auto`, or a model of the fleet"},
                        "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                        "stream": {"type": ["boolean", "null"]},
                        "router": {
                            "type": ["object", "null"],
                            "additionalProperties": False,
                            "properties": {
                                "beta": {
                                    "type": ["number", "null"],
                                    "minimum": 0,
                                    "maximum": 1,
                                    "description": "1 buys success at any price, 0 the cheapest answer",
                                },
                                "models": {
                                    "type": ["array", "null"],
                                    "minItems": 1,
                                    "items": {"type": "string"},
                                    "description": "only these may be chosen",
                                },
                            },
                        },
                    },
                }
            }
        },
    }
}


@api.post("/v1/chat/completions", openapi_extra=CHAT_BODY, response_class=Response)
async def chat(request: Request, built: ServicesOf, key: Caller) -> Response:
    """
    OpenAI's chat completions. Fields that are not listed pass through untouched.

    The headers x-router-decision, -model, -beta, -reason and -decision-ms tell who answered and why.
    """
    call = read(await raw_body(request), request.headers.get("x-router-beta"))
    return Exchange(built.gateway, call, key.id if key else None)
