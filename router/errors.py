# ruff: noqa: N818  (the names say what went wrong; "Error" would add nothing)
"""
What a caller can be told went wrong; every error knows its OpenAI form.

    * GatewayError
      - BadRequest            400  the request cannot be read; `param` names the field
        + NoCandidate         400  no model of the fleet can serve it; every model's reason
      - InvalidKey            401  no living key was sent
      - AdminOnly             403  a key that may not do this
      - ModelNotAllowed       403  a model that the key may not ask
      - UnknownModel          404
      - DecisionNotFound      404  feedback names no decision that we know
      - DecisionPending       409  feedback for a reply that has not ended
      - PolicyNotFound        404  a policy without a support buffer
      - KeyNotFound           404  no living key has this name
      - KeyConflict           409  a living key has this name already
      - BodyTooLarge          413
      - TooBusy               429  more heavy requests wait than may; come back later
      - RateLimited           429  the key's requests or tokens a minute, or requests at a time
      - QuotaSpent            429  the key's budget is spent
      - NotReady              503  the value model is still loading, or the store is away; try again
      - Resting               429  everybody who may answer is resting; every model's reason
      - UpstreamResting       503  the one model that was named rests (429 when it asked to be left alone)
      - UpstreamFailed        502  no upstream gave an answer (504 when the last one was too slow)
      - UpstreamRefused       4xx  an upstream's own error, passed on as it came

Anything else is a bug of ours and becomes a 500 that says nothing but the request id.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.keys.spending import Budget


class GatewayError(Exception):
    """An answer that is an error: its HTTP status, OpenAI's `type`, `param` and `code`, and extra headers."""

    status = 500
    type = "server_error"
    code: str | None = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.headers: dict[str, str] = dict(headers or {})

    def envelope(self) -> dict[str, Any]:
        """The error as OpenAI's SDKs expect it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def body(self) -> bytes:
        """The envelope as JSON."""
        return orjson.dumps(self.envelope())


class BadRequest(GatewayError):
    """The request cannot be read; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code: str | None = None


class NoCandidate(BadRequest):
    """Every model is excluded; `reasons` says why, model by model."""

    code = "no_candidate"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        each = "; ".join(f"{model}: {reason}" for model, reason in sorted(reasons.items()))
        super().__init__(f"no model of the fleet can serve this request. {each}", param="model")
        self.reasons = dict(reasons)


class InvalidKey(GatewayError):
    """No key was sent, or none that lives."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("a valid key is needed: Authorization: Bearer sk-v0-…")


class AdminOnly(GatewayError):
    """What only an admin key may do, or what an admin key may not."""

    status = 403
    type = "invalid_request_error"
    code = "insufficient_permissions"


class ModelNotAllowed(GatewayError):
    """A model that the caller's key may not ask."""

    status = 403
    type = "invalid_request_error"
    code = "model_not_allowed"

    def __init__(self, model: str) -> None:
        super().__init__(f"this key may not use the model {model!r}; see GET /v1/models", param="model")
        self.model = model


class UnknownModel(GatewayError):
    """A model that the fleet does not have."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"the model {model!r} does not exist; see GET /v1/models", param="model")
        self.model = model


class DecisionNotFound(GatewayError):
    """Feedback for a decision id or completion id that was never recorded."""

    status = 404
    type = "invalid_request_error"
    code = "decision_not_found"

    def __init__(self, reference: str, param: str) -> None:
        super().__init__(f"no decision is known by {reference!r}", param=param)


class DecisionPending(GatewayError):
    """Feedback for a reply that has not ended; worth another try once it has."""

    status = 409
    type = "invalid_request_error"
    code = "decision_pending"

    def __init__(self, reference: str, param: str) -> None:
        super().__init__(f"the reply of {reference!r} has not ended yet", param=param)


class BodyTooLarge(GatewayError):
    """More bytes than `server.max_body_mb` allows."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


class PolicyNotFound(GatewayError):
    """A policy that no outcome was sent for."""

    status = 404
    type = "invalid_request_error"
    code = "policy_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"no outcomes are known of a policy {name!r}", param="policy")


class KeyNotFound(GatewayError):
    """No living key has this name."""

    status = 404
    type = "invalid_request_error"
    code = "key_not_found"


class KeyConflict(GatewayError):
    """A living key has this name already."""

    status = 409
    type = "invalid_request_error"
    code = "key_exists"


class TooBusy(GatewayError):
    """As many requests wait as may; the caller should come back after `retry_after_s`."""

    status = 429
    type = "rate_limit_error"
    code = "too_busy"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "too many requests of this kind are waiting", headers={"retry-after": str(retry_after_s)}
        )


class RateLimited(GatewayError):
    """
    A key's rate is used up; `wait_s` until the request fits, infinity where it never will.

    `what` is "requests", "tokens" or "requests under way"; `headers` are OpenAI's x-ratelimit ones.
    """

    status = 429
    code = "rate_limit_exceeded"

    def __init__(
        self,
        what: str,
        limit: int,
        per: str,
        wait_s: float,
        headers: Mapping[str, str] | None = None,
        needs: float | None = None,
    ) -> None:
        found = dict(headers or {})
        message = f"this key may use {limit} {what} {per}"
        if math.isinf(wait_s):
            message += f"; this request needs {needs:.0f}"
            found["x-should-retry"] = "false"
        else:
            message += f"; try again in {wait_s:.3f} s"
            found["retry-after"] = str(math.ceil(wait_s))
            found["retry-after-ms"] = str(math.ceil(wait_s * 1e3))
        super().__init__(message, headers=found)
        self.type = "tokens" if what == "tokens" else "requests"
        self.wait_s = wait_s


class QuotaSpent(GatewayError):
    """A key's budget is spent, or too little of it is left for the request (`needs_usd`)."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, budget: Budget, needs_usd: float, now: float) -> None:
        per = {"day": "a day", "month": "a month", "total": "in all"}[budget.span]
        left = max(0.0, budget.left_usd)
        message = f"this key may spend {budget.limit_usd:g} USD {per}, of which {left:.6g} USD are left"
        if needs_usd > 0:
            message += f"; this request may cost {needs_usd:.6g} USD"
        headers = {"x-should-retry": "false"}  # the SDKs would try again at once
        if budget.resets_at is not None:
            message += (
                f"; it begins anew at {datetime.fromtimestamp(budget.resets_at, UTC):%Y-%m-%d %H:%M} UTC"
            )
            headers["retry-after"] = str(math.ceil(budget.resets_at - now))
        super().__init__(message, headers=headers)
        self.budget = budget


class NotReady(GatewayError):
    """Something of ours is not there yet; the caller should come back after `retry_after_s`."""

    status = 503
    code = "not_ready"

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        super().__init__(message, headers={"retry-after": str(retry_after_s)})


class Resting(GatewayError):
    """Those who could serve the request rest; `reasons` says why each model is out."""

    status = 429
    type = "rate_limit_error"
    code = "no_candidate"

    def __init__(self, reasons: Mapping[str, str], retry_after_s: float) -> None:
        each = "; ".join(f"{model}: {reason}" for model, reason in sorted(reasons.items()))
        super().__init__(
            f"no model of the fleet can serve this request now. {each}",
            param="model",
            headers={"retry-after": str(math.ceil(retry_after_s))},
        )
        self.reasons = dict(reasons)


class UpstreamResting(GatewayError):
    """The model that was asked for rests after failures or, `limited`, has asked to be left alone."""

    status = 503
    type = "upstream_error"
    code = "upstream_resting"

    def __init__(self, message: str, headers: Mapping[str, str], *, limited: bool) -> None:
        super().__init__(message, headers=headers)
        if limited:
            self.status, self.type, self.code = 429, "rate_limit_error", "rate_limit_exceeded"


class UpstreamFailed(GatewayError):
    """No upstream gave an answer. `slow` when the last of them did not answer in time."""

    status = 502
    type = "upstream_error"
    code = "upstream_unavailable"

    def __init__(
        self, model: str, message: str, *, slow: bool = False, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, headers=headers)
        self.model = model
        if slow:
            self.status, self.code = 504, "upstream_timeout"


class UpstreamRefused(GatewayError):
    """An upstream's error with its own status and body, passed on unchanged where it is in the envelope."""

    type = "upstream_error"
    code = "upstream_error"

    def __init__(self, model: str, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"{model} answered with status {status}", headers=headers)
        self.model = model
        self.status = status
        self._body = body

    def body(self) -> bytes:
        """The upstream's bytes, or our envelope around them when they are no OpenAI error."""
        try:
            parsed = orjson.loads(self._body)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict) and isinstance(parsed.get("error"), dict):
            return self._body
        return super().body()
