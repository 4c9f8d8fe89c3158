"""An error in the envelope of the protocol that was spoken to: Anthropic's below /v1/messages, else OpenAI's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.errors import GatewayError

_ANTHROPICS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(error: GatewayError, path: str, request_id: str) -> bytes:
    """The error as the client at `path` expects it."""
    ours = error.body()
    if not path.startswith("/v1/messages"):
        return ours
    said = orjson.loads(ours).get("error") or {}
    kind = _ANTHROPICS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return orjson.dumps({**anthropic_error(said, kind), "request_id": request_id})


def anthropic_error(error: Mapping[str, Any], kind: str = "api_error") -> dict[str, Any]:
    """OpenAI's error object in Anthropic's envelope."""
    given = error.get("type")
    if isinstance(given, str) and given in {"overloaded_error", "rate_limit_error"}:
        kind = given
    message = error.get("message")
    return {"type": "error", "error": {"type": kind, "message": str(message or "the model failed")}}
