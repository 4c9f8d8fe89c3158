"""
A conversation's history, fit for the provider that reads it next. Pure.

Reasoning comes back to its own provider only: signatures and sealed thoughts of another are refused there. Ids of tool
calls are rewritten where the next provider would refuse them, each to the same new id every time, so that a prompt
cache finds the same prompt again.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OF_ONE_PROVIDER: Final = (
    "thinking_blocks",
    "reasoning_content",
    "reasoning_details",
    "reasoning",
    "provider_specific_fields",
    "extra_content",
)
"""What assistant messages and their tool calls hold that only their own provider reads."""

_ANTHROPIC: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPENAI: Final = re.compile(r".{1,40}", re.DOTALL)
_IDS: Final[Mapping[str, re.Pattern[str]]] = {
    "anthropic": _ANTHROPIC,
    "bedrock": _ANTHROPIC,
    "vertex_ai": _ANTHROPIC,
    "openai": _OPENAI,
    "azure": _OPENAI,
    "mistral": re.compile(r"[a-zA-Z0-9]{9}"),
}
"""The ids of tool calls that providers take."""


def fit(body: Mapping[str, Any], provider: str, *, foreign: bool) -> Mapping[str, Any]:
    """
    The body as a provider takes it; the same object where nothing is to be changed.

    `foreign`: the answers in its history may be another provider's.
    """
    messages: Sequence[Mapping[str, Any]] = body.get("messages") or ()
    ids = _IDS.get(provider)
    fitted = [_fit(message, ids, foreign) for message in messages]
    if all(new is old for new, old in zip(fitted, messages, strict=True)):
        return body
    return {**body, "messages": fitted}


def sealed(messages: Sequence[Mapping[str, Any]]) -> bool:
    """
    Whether the history ends within a turn that reasons: answers since the last question hold sealed thoughts, and
    the results of their tool calls have just come in. Such a turn can only be finished by who began it.
    """
    if not messages or messages[-1].get("role") != "tool":
        return False
    for message in reversed(messages):
        if message.get("role") == "user":
            return False
        if message.get("role") == "assistant" and _holds_reasoning(message):
            return True
    return False


def _fit(message: Mapping[str, Any], ids: re.Pattern[str] | None, foreign: bool) -> Mapping[str, Any]:
    changed: dict[str, Any] = {}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        fitted = [_fit_call(call, ids, foreign) for call in calls]
        if any(new is not old for new, old in zip(fitted, calls, strict=True)):
            changed["tool_calls"] = fitted
    answers = message.get("tool_call_id")
    if isinstance(answers, str) and ids is not None and not ids.fullmatch(answers):
        changed["tool_call_id"] = _new_id(answers)
    lost = foreign and message.get("role") == "assistant" and any(name in message for name in OF_ONE_PROVIDER)
    if not changed and not lost:
        return message
    kept = {k: v for k, v in message.items() if k not in OF_ONE_PROVIDER} if lost else message
    return {**kept, **changed}


def _fit_call(call: object, ids: re.Pattern[str] | None, foreign: bool) -> object:
    if not isinstance(call, dict):
        return call
    lost = foreign and any(name in call for name in OF_ONE_PROVIDER)
    identity = call.get("id")
    renamed = isinstance(identity, str) and ids is not None and not ids.fullmatch(identity)
    if not lost and not renamed:
        return call
    kept = {k: v for k, v in call.items() if not lost or k not in OF_ONE_PROVIDER}
    return {**kept, "id": _new_id(identity)} if isinstance(identity, str) and renamed else kept


def _new_id(identity: str) -> str:
    """Nine letters and digits, which every provider takes."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=9).digest()
    return "".join(digits[byte % len(digits)] for byte in digest)


def _holds_reasoning(message: Mapping[str, Any]) -> bool:
    calls = message.get("tool_calls")
    parts = [message, *(calls if isinstance(calls, list) else ())]
    return any(isinstance(part, dict) and part.get(name) for part in parts for name in OF_ONE_PROVIDER)
