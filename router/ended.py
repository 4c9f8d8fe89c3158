"""
One request after its end, in facts that may be shown: what metrics, logs and traces are made of.

No prompt, no reply and no secret is among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.decide import Decision


@dataclass(frozen=True)
class Routing:
    """What became of a call to a model. Without a decision, `decision_id`, `model` and the rest of it are None."""

    operation: str  # chat, completions or embeddings: how it was asked upstream
    stream: bool
    decision_id: str | None = None
    asked: str | None = None  # auto, a preset or a model of the fleet
    model: str | None = None  # who answered, or failed last
    target: str | None = None
    reason: str | None = None
    beta: float | None = None
    value: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    usage_estimated: bool = False
    cost_usd: float | None = None
    saved_usd: float | None = None
    completion_id: str | None = None
    finish_reason: str | None = None
    decide_ms: float = 0.0
    upstream_ms: float = 0.0
    failed: tuple[tuple[str, str], ...] = ()  # who was asked before, and how it failed


@dataclass(frozen=True)
class Ended:
    """
    A request that is over. `endpoint` is a route's path, never a caller's text.

    `status` is the client's, except that a client which left counts as 499 and a stream which broke off as 502.
    `error` is the class of `router.errors`; `GatewayError` itself is a bug of ours.
    """

    request_id: str
    endpoint: str
    status: int
    began: float  # Unix seconds
    ms: float
    error: str | None = None
    routing: Routing | None = None
    trace_headers: Mapping[str, str] | None = None  # traceparent and tracestate, as they came

    @property
    def overhead_ms(self) -> float:
        """What is neither deciding nor waiting for an upstream; in a stream, the client's slowness too."""
        routing = self.routing
        spent = routing.decide_ms + routing.upstream_ms if routing else 0.0
        return max(0.0, self.ms - spent)


def saved_usd(decision: Decision, cost: float | None) -> float | None:
    """
    What the dearest candidate was expected to cost, less what was paid: below 0 where an answer cost more.

    None where nothing was chosen, the caller having named the model, and where no cost is known.
    """
    expected = [each.cost for each in decision.candidates if each.cost is not None]
    if decision.reason == "pinned" or cost is None or not expected:
        return None
    return max(expected) - cost


Observer: TypeAlias = Callable[[Ended], None]
"""Told of every request that has ended. Quick, since the event loop waits for it."""
