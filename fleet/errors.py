# ruff: noqa: N818  (UnknownModel says what went wrong; "Error" would add nothing)
"""
What can go wrong with a fleet. Messages name models and statuses, never a key, a prompt or a reply.

* FleetError
  - UnknownModel
  - UpstreamError
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Cause = Literal["status", "connect", "timeout", "cut", "key", "resting", "limited", "window"]

_TRANSIENT: Final = frozenset({408, 409, 425, 429})
_THIS_UPSTREAM_ONLY: Final = frozenset({401, 402, 403, 404, 405})
# How providers say that a prompt is too long: OpenAI, vLLM, Anthropic, llama.cpp.
_OVERFLOW: Final = (
    b"context_length_exceeded",
    b"maximum context length",
    b"prompt is too long",
    b"exceed_context_size_error",
)
_CAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "connect": "cannot be reached",
        "timeout": "did not answer in time",
        "cut": "broke off its reply",
        "key": "has no usable API key",
        "resting": "rests after failures",
        "limited": "has asked to be left alone",
        "window": "has too small a context window",
    }
)


class FleetError(Exception):
    """Any failure of a fleet."""


class UnknownModel(FleetError):
    """The fleet has no model of this name (any more)."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(f"no model is called {name!r}; the fleet has {', '.join(self.known) or 'none'}")


class UpstreamError(FleetError):
    """
    A model gave no reply, or one of status 400 and above (or, an upstream gone astray, a redirect).

    `status` is None when no status line arrived. `headers` have lower-case names. `body` holds the first 64 KB
    as they came, with the API key blanked out: forward it, but do not log it, for it may quote the prompt.
    """

    def __init__(
        self,
        model: str,
        cause: Cause,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        self.model = model
        self.cause = cause
        self.status = status
        self.headers: Mapping[str, str] = MappingProxyType(dict(headers or {}))
        self.body = body
        reason = f"answered {status}" if cause == "status" else _CAUSES[cause]
        super().__init__(f"{model} {reason}")

    @property
    def retryable(self) -> bool:
        """
        Whether the same request may well succeed with another model, or here later.

        True for everything that is not the request's own fault; a prompt that is too long for this model's
        window counts, for another window may hold it.
        """
        if self.status is None:
            return True
        if not 400 <= self.status < 500 or self.status in _TRANSIENT or self.status in _THIS_UPSTREAM_ONLY:
            return True
        return self.overflow

    @property
    def overflow(self) -> bool:
        """Whether the prompt is too long for this model's window."""
        refused = self.status in (400, 413, 422)
        return self.cause == "window" or (refused and any(said in self.body for said in _OVERFLOW))

    @property
    def repeatable(self) -> bool:
        """
        Whether asking the same upstream again is safe: it said no, or was never reached, so that nothing is being
        generated, and may say yes the next time.
        """
        if self.cause in ("connect", "resting", "limited"):
            return True
        return self.status is not None and (self.status >= 500 or self.status in _TRANSIENT)

    @property
    def retry_after(self) -> float | None:
        """Seconds the upstream asks to wait (retry-after-ms, else retry-after as seconds or a date), or None."""
        milliseconds = _number(self.headers.get("retry-after-ms"))
        if milliseconds is not None:
            return milliseconds / 1000
        text = self.headers.get("retry-after")
        seconds = _number(text)
        if seconds is not None or text is None:
            return seconds
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
