"""POST /v1/schedule/budget and /v1/schedule/rounds: the library of `router/schedule/` over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request, Response
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from router.api.body import read_body
from router.api.describe import BOOLEAN, INTEGER, NUMBER, STRING, asked_for, fields, many, maybe, replied
from router.api.request import Caller, raw_body
from router.api.value import Number, PoliciesOf, Strict, ToPredict, ordered, predicted, prediction_of
from router.errors import BadRequest
from router.gate import Gate
from router.schedule.budget import HIGH, LOW, POLICIES, filled, utility
from router.schedule.fusion import Rewards, Rule, Shrinkage
from router.schedule.robust import RobustMixture
from router.schedule.rounds import Limits, Rounds, start

api = APIRouter(tags=["schedule"])

MOST_VALUES = 100_000
MOST_ROLLOUTS = HIGH  # of one prompt
LEAST_COST = 1e-6  # the best count is 1,000 rollouts there, beyond every cap

Rate = Annotated[float, Field(ge=0, le=1)]
Rollouts = Annotated[int, Field(ge=1, le=MOST_ROLLOUTS)]


BUDGETED = fields(budgets=many(INTEGER), total=INTEGER, method=STRING, utility=NUMBER)
CONTINUED = fields(
    allocation=many(INTEGER),
    done=BOOLEAN,
    baselines=many(maybe(NUMBER)),
    advantages=maybe(many(many(NUMBER))),
)


def gate(request: Request) -> Gate:
    """Before arithmetic: an epoch's budget takes a second and 100 MB."""
    built: Gate = request.app.state.schedule_gate
    return built


GateOf = Annotated[Gate, Depends(gate)]


class ToBudget(Strict):
    """Rollouts to share out among prompts of known `values`, of values to `predict` first, or of observed `rates`."""

    values: list[Rate] | None = Field(None, max_length=MOST_VALUES)
    predict: ToPredict | None = Field(None, description="as the body of POST /v1/value/predict")
    rates: list[Rate | None] | None = Field(
        None, max_length=MOST_VALUES, description="the last epoch's; null where a prompt had no rollouts"
    )
    total: int = Field(ge=0, le=MOST_VALUES * MOST_ROLLOUTS)
    method: Literal["greedy", "envelope", "uniform", "variance", "knapsack"] = "greedy"
    low: Rollouts = LOW
    high: Rollouts = HIGH

    @model_validator(mode="after")
    def _one_of_three(self) -> ToBudget:
        if (self.values, self.predict, self.rates).count(None) != 2:
            raise ValueError("exactly one of values, predict and rates is needed")
        return self


class RuleOf(Strict):
    """How baselines come about: `shrinkage` is V0.5's."""

    name: Literal["shrinkage", "mixture"] = "shrinkage"
    cost: float | None = Field(
        default=None, ge=LEAST_COST, le=1e6, description="of a rollout; without one the rule's own"
    )
    reward_range: list[Number] = Field(default=[-1.0, 1.0], min_length=2, max_length=2)

    @field_validator("reward_range")
    @classmethod
    def _ordered(cls, value: list[float]) -> list[float]:
        return ordered(value)

    def rule(self) -> Rule:
        """The library's rule."""
        rewards = Rewards(*self.reward_range)
        rule = {"shrinkage": Shrinkage, "mixture": RobustMixture}[self.name]
        return rule(rewards=rewards) if self.cost is None else rule(cost=self.cost, rewards=rewards)


class LimitsOf(Strict):
    """The library's `Limits`."""

    start: Rollouts = Limits.start
    multiple: Rollouts = Limits.multiple
    cap: Rollouts = Limits.cap
    halt_share: Rate = Limits.halt_share
    rounds: Rollouts | None = Limits.rounds


class ToContinue(Strict):
    """A run of rounds from its beginning: priors, and what every round's rollouts earned, prompt by prompt."""

    priors: list[Rate] = Field(min_length=1, max_length=4096)
    reports: list[list[list[Number]]] = Field(default=[], max_length=MOST_ROLLOUTS)
    rule: RuleOf = RuleOf()
    limits: LimitsOf = LimitsOf()


@api.post("/v1/schedule/budget", openapi_extra=asked_for(ToBudget) | replied(BUDGETED))
async def budget(request: Request, built: PoliciesOf, turn: GateOf, _key: Caller) -> Response:
    """Rollouts of each prompt, `total` together, and what they are worth by V0's Eq. 9."""
    sent = read_body(ToBudget, await raw_body(request))
    prediction = await predicted(built, sent.predict) if sent.predict else None
    given = sent.rates if sent.values is None else sent.values
    values = filled(np.array(given, dtype=float)) if prediction is None else prediction.values.astype(float)
    shown = {} if prediction is None else {"prediction": prediction_of(prediction)}
    async with turn.passing():
        return _json(await asyncio.to_thread(_budget, values, sent, shown))


@api.post("/v1/schedule/rounds", openapi_extra=asked_for(ToContinue) | replied(CONTINUED))
async def rounds(request: Request, turn: GateOf, _key: Caller) -> Response:
    """
    The next allocation after these reports; baselines always, advantages once all is done.

    The caller carries the state, which is its own priors and rewards: nothing to keep, expire, sign or trust.
    """
    sent = read_body(ToContinue, await raw_body(request))
    async with turn.passing():
        return _json(await asyncio.to_thread(_continued, sent))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _budget(values: NDArray[np.float64], sent: ToBudget, shown: dict[str, Any]) -> bytes:
    try:
        budgets = POLICIES[sent.method](values, sent.total, low=sent.low, high=sent.high)
    except ValueError as error:
        param = "low" if sent.low > sent.high else "total"
        raise BadRequest(f"{param}: {error}", param=param) from None
    answer = {
        "budgets": budgets.tolist(),
        "total": sent.total,
        "method": sent.method,
        "utility": float(utility(values, budgets).sum()),
        **shown,
    }
    return orjson.dumps(answer)


def _continued(sent: ToContinue) -> bytes:
    try:
        limits = Limits(**sent.limits.model_dump())
    except ValueError as error:
        raise BadRequest(f"limits: {error}", param="limits") from None
    state: Rounds = start(sent.priors, sent.rule.rule(), limits)
    for i, rewards in enumerate(sent.reports):
        try:
            state = state.report(rewards)
        except ValueError as error:
            raise BadRequest(f"reports.{i}: {error}", param=f"reports.{i}") from None
    answer = {
        "allocation": state.allocation.tolist(),
        "done": state.done,
        "baselines": state.baselines.tolist(),
        "advantages": [each.tolist() for each in state.advantages()] if state.done else None,
    }
    return orjson.dumps(answer)
