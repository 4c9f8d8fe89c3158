"""
Values and costs in, one decision out. Pure: no clock, no network; chance comes in as an argument.

    score = β·value + (1 − β)·(1 − c̃),   c̃ = min(1, expected cost / cost scale)

β = 1 buys success at any price, β = 0 the cheapest. The best score is chosen and the others are ranked behind
it as fallbacks, except that a share of the requests (`exploration`) goes to a model drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from fleet.model import Model

Combine = Literal["separate", "weighted"]
TOKENS_IN_A_PRICE = 1_000_000


@dataclass(frozen=True)
class Candidate:
    """One model in one decision: value in [0, 1], expected cost in USD, score; `excluded` says why it is out."""

    model: str
    value: float | None
    cost: float | None
    score: float | None
    excluded: str | None = None


@dataclass(frozen=True)
class Decision:
    """
    Who answers, and who would if that one cannot.

    `candidates` are in rank, the excluded ones last. `propensity` is the probability with which `chosen` is
    chosen on this request. `reason` is "best_score", "explored" or "pinned"; "fallback" after a failure.
    """

    chosen: str
    fallbacks: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    beta: float
    reason: str
    propensity: float


def expected_cost(model: Model, input_tokens: int, mean_output_tokens: float) -> float:
    """What an answer will cost in USD, by the model's prices and the length of its answers so far."""
    prices = model.prices
    return (prices.input * input_tokens + prices.output * mean_output_tokens) / TOKENS_IN_A_PRICE


def normalised(cost: float, cost_scale: float) -> float:
    """c̃: a cost in [0, 1] of the scale. A fleet without any cost has scale 0, and everything costs 0."""
    return min(1.0, cost / cost_scale) if cost_scale > 0 else 0.0


def decide(
    values: Mapping[str, float],
    costs: Mapping[str, float],
    excluded: Mapping[str, str],
    beta: float,
    exploration: float,
    rng: Random,
    *,
    cost_scale: float,
    combine: Combine = "separate",
) -> Decision:
    """
    Choose among the models of `values`; `costs` (USD) has them all, `excluded` has others with their reasons.

    With `combine="weighted"` the values were predicted for labels r_β and are the scores already. Equal scores
    go to the cheaper model, then by name. At least one model must have a value.
    """
    ranked = sorted(
        (
            Candidate(
                model=model,
                value=value,
                cost=costs[model],
                score=value
                if combine == "weighted"
                else beta * value + (1 - beta) * (1 - normalised(costs[model], cost_scale)),
            )
            for model, value in values.items()
        ),
        key=_rank,
    )
    order = [candidate.model for candidate in ranked]
    chosen, reason = order[0], "best_score"
    if exploration > 0 and rng.random() < exploration:
        chosen, reason = rng.choice(order), "explored"
    return Decision(
        chosen=chosen,
        fallbacks=tuple(model for model in order if model != chosen),
        candidates=(*ranked, *(Candidate(m, None, None, None, why) for m, why in sorted(excluded.items()))),
        beta=beta,
        reason=reason,
        propensity=exploration / len(order) + (1 - exploration if chosen == order[0] else 0.0),
    )


def pin(model: str, cost: float, beta: float) -> Decision:
    """The decision of a caller who named the model: nobody else is considered, and nothing is valued."""
    return Decision(model, (), (Candidate(model, None, cost, None),), beta, "pinned", 1.0)


def after_failures(
    decision: Decision, failed: Mapping[str, str], served: str, exploration: float
) -> Decision:
    """
    The decision as it ended: the models in `failed` (with what they did) are out, and `served` answered.

    A fallback is the best of those that did not fail. It would have answered whenever itself, or one that
    failed, had been drawn, and whenever nothing was drawn at all: hence its propensity.
    """
    if not failed:
        return decision
    candidates = tuple(
        Candidate(c.model, c.value, c.cost, c.score, failed.get(c.model, c.excluded))
        for c in decision.candidates
    )
    if served in failed:  # nobody answered
        return Decision(served, (), candidates, decision.beta, decision.reason, decision.propensity)
    eligible = 1 + len(decision.fallbacks)
    others = eligible - 1 - len(failed)
    return Decision(
        chosen=served,
        fallbacks=tuple(m for m in (decision.chosen, *decision.fallbacks) if m != served and m not in failed),
        candidates=candidates,
        beta=decision.beta,
        reason="fallback",
        propensity=1 - exploration * others / eligible,
    )


def _rank(candidate: Candidate) -> tuple[float, float, str]:
    score = candidate.score if candidate.score is not None and math.isfinite(candidate.score) else -math.inf
    return -score, candidate.cost or 0.0, candidate.model
