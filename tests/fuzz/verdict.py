"""What every answer of the gateway must be, whatever was sent."""

from __future__ import annotations

import json
import logging
from typing import Any

ANTHROPICS = {
    *(
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
    ),
    *("request_too_large", "rate_limit_error", "api_error", "timeout_error", "overloaded_error"),
}
LAST_WORDS = ("[DONE]", "message_stop", "response.completed", "response.incomplete")
INSIDES = ("Traceback (most recent", 'File "/', "site-packages")


def wrong_with(path: str, status: int, headers: Any, text: str) -> str | None:
    """What is wrong with an answer, or None."""
    if status >= 500:
        return f"status {status}"
    if any(inside in text for inside in INSIDES):
        return "it shows our inside"
    if "x-request-id" not in headers:
        return "it has no x-request-id"
    kind = headers.get("content-type", "")
    if status >= 400:
        return _envelope(path, kind, headers, text)
    if kind.startswith("text/event-stream"):
        return _stream(text)
    if text and kind.startswith("application/json"):
        return None if _json(text) is not None else "its JSON cannot be read"
    return None


def _envelope(path: str, kind: str, headers: Any, text: str) -> str | None:
    body = _json(text)
    if not kind.startswith("application/json") or not isinstance(body, dict):
        return "an error that is no JSON object"
    error = body.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str) or not error["message"]:
        return "an error without a message"
    if path.startswith("/v1/messages"):
        right = body.get("type") == "error" and error.get("type") in ANTHROPICS
        return (
            None
            if right and body.get("request_id") == headers["x-request-id"]
            else "not Anthropic's envelope"
        )
    if set(body) != {"error"} or set(error) != {"message", "type", "param", "code"}:
        return "not OpenAI's envelope"
    words = isinstance(error["type"], str) and all(
        error[name] is None or isinstance(error[name], str) for name in ("param", "code")
    )
    return None if words else "not OpenAI's envelope"


def _stream(text: str) -> str | None:
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    broken = [event for event in events if event != "[DONE]" and _json(event) is None]
    if broken:
        return f"an event that is no JSON: {broken[0][:200]}"
    last = events[-1] if events else ""
    if last == "[DONE]" or (_json(last) or {}).get("type") in LAST_WORDS:
        return None
    return "a stream without an end"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


class Complaints(logging.Handler):
    """Remembers what the gateway's log says of bugs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())
