"""
Values and costs in, one decision out. Pure: no clock, no network; chance comes in as an argument.

    score = β·value + (1 − β)·(1 − c̃),   c̃ = min(1, expected cost / cost scale)

β = 1 buys success at any price, β = 0 the cheapest. The best score is chosen and the others are ranked behind
it as fallbacks, except that a share of the requests (`exploration`) goes to a model drawn at random.

With a `bar` (min_success) the cheapest model whose value reaches it is chosen, the dearer ones that reach it behind it,
then the others by value. A conversation's `Incumbent` is kept unless somebody is better by more than a margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
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
    chosen on this request. `reason` is "best_score", "explored" or "pinned"; with a bar "min_success", or
    "min_success_unreached" where nobody reaches it; "session" where the incumbent stays; "fallback" after a failure.
    """

    chosen: str
    fallbacks: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    beta: float
    reason: str
    propensity: float


@dataclass(frozen=True)
class Incumbent:
    """
    The model that a conversation is with.

    `saved_usd` is what its provider's prompt cache spares this request, and has been taken off its cost. `hysteresis`
    is what somebody else must be better by: in score, or with a bar in success, and as a share of the cost. `firm`:
    it stays whatever others are worth.
    """

    model: str
    saved_usd: float
    hysteresis: float
    firm: bool = False


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
    bar: float | None = None,
    incumbent: Incumbent | None = None,
) -> Decision:
    """
    Choose among the models of `values`; `costs` (USD) has them all, `excluded` has others with their reasons.

    With `combine="weighted"` the values were predicted for labels r_β and are the scores already. Equal scores
    go to the cheaper model, then by name. At least one model must have a value. Nothing is explored in a
    conversation that has an incumbent among the models.
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
        key=_rank if bar is None else partial(_rank_by_bar, bar),
    )
    order = [candidate.model for candidate in ranked]
    chosen, reason = order[0], "best_score"
    if bar is not None:
        reason = "min_success" if _reaches(ranked[0], bar) else "min_success_unreached"
    if incumbent is not None and incumbent.model in values:
        exploration = 0.0
        [current] = (candidate for candidate in ranked if candidate.model == incumbent.model)
        if current is not ranked[0] and _stays(current, ranked[0], incumbent, beta, cost_scale, combine, bar):
            chosen, reason = current.model, "session"
            order = [chosen, *(model for model in order if model != chosen)]
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


def _stays(
    current: Candidate,
    best: Candidate,
    incumbent: Incumbent,
    beta: float,
    cost_scale: float,
    combine: Combine,
    bar: float | None,
) -> bool:
    """Whether a conversation stays with its model although another ranks above it."""
    assert current.cost is not None and best.cost is not None  # noqa: PT018
    assert current.value is not None and best.value is not None  # noqa: PT018
    if incumbent.firm:
        return True
    if bar is not None and _reaches(best, bar):
        good = current.value >= bar - incumbent.hysteresis
        return good and best.cost >= current.cost * (1 - incumbent.hysteresis)
    gain = best.value - current.value
    if bar is not None:
        return gain <= incumbent.hysteresis
    # costs beyond the scale count here: a long conversation would otherwise cost the same everywhere
    unit = max(cost_scale, current.cost + incumbent.saved_usd, best.cost)
    dearer = (best.cost - current.cost) / unit if unit > 0 else 0.0
    if combine == "weighted":
        return gain - (1 - beta) * (incumbent.saved_usd / unit if unit > 0 else 0.0) <= incumbent.hysteresis
    return beta * gain - (1 - beta) * dearer <= incumbent.hysteresis


def _reaches(candidate: Candidate, bar: float) -> bool:
    return candidate.value is not None and candidate.value >= bar


def _rank_by_bar(bar: float, candidate: Candidate) -> tuple[bool, float, float, str]:
    """Those that reach the bar by cost, then the others by value."""
    cost, value = candidate.cost or 0.0, candidate.value or 0.0
    if _reaches(candidate, bar):
        return False, cost, -value, candidate.model
    return True, -value if math.isfinite(value) else math.inf, cost, candidate.model


def _rank(candidate: Candidate) -> tuple[float, float, str]:
    score = candidate.score if candidate.score is not None and math.isfinite(candidate.score) else -math.inf
    return -score, candidate.cost or 0.0, candidate.model
