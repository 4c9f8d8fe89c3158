"""POST /v1/value/predict, and the policies whose values it predicts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from router.api.body import read_body
from router.api.describe import (
    BOOLEAN,
    EVENT,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    always,
    asked_for,
    fields,
    many,
    maybe,
    replied,
)
from router.api.progress import Telling
from router.api.request import Caller, raw_body
from router.errors import BadRequest
from router.policies import Outcome, Policies, Prediction, untold
from router.schedule.support import CAPACITY, HALF_LIFE, SAMPLE, Sampling
from router.store.policies import PolicyRow

if TYPE_CHECKING:
    from router.api.progress import Tell
    from router.policies import Progress

api = APIRouter(tags=["value"])

MOST_PROMPTS = 1024
MOST_STEPS = 2**53  # beyond it JSON's readers round
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")

Step = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
NARROWEST = 1e-6


POLICY = fields(
    id=STRING,
    object=always("policy"),
    size=INTEGER,
    capacity=INTEGER,
    step=maybe(INTEGER),
    mean_reward=maybe(NUMBER),
    revision=STRING,
    created=INTEGER,
    updated=INTEGER,
)
PREDICTION = fields(
    values=many(NUMBER), version=STRING, context_size=INTEGER, revision=maybe(STRING), timings_ms=OBJECT
)
TOLD = {
    **EVENT,
    "description": "`data` is value.progress, with prompts embedded as `done` of `total`, until it is the answer as "
    "without a stream; then [DONE]. After an error there is neither",
}
PREDICTED = replied(PREDICTION)
PREDICTED["responses"]["200"]["content"]["text/event-stream"] = {"schema": TOLD}


def policies(request: Request) -> Policies:
    """The policies of the app that this request came to."""
    built: Policies = request.app.state.policies
    return built


PoliciesOf = Annotated[Policies, Depends(policies)]


class Strict(BaseModel):
    """No field that we do not know, no string for a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Earned(Strict):
    """A reward on a prompt."""

    prompt: str
    reward: Number
    step: Step | None = None


def ordered(bounds: list[float]) -> list[float]:
    """The bounds of a range. Raises `ValueError` where there is next to nothing between them."""
    if bounds[1] - bounds[0] < NARROWEST:
        raise ValueError(f"must be [low, high], {NARROWEST} apart at least")
    return bounds


class Rewarded(Strict):
    """Bodies with rewards in a declared range: [0, 1], [-1, 1] or another."""

    reward_range: list[Number] = Field(default=[0.0, 1.0], min_length=2, max_length=2)

    @field_validator("reward_range")
    @classmethod
    def _ordered(cls, value: list[float]) -> list[float]:
        return ordered(value)

    def outcomes_of(self, earned: list[Earned], field: str) -> list[Outcome]:
        """The rewards as success rates. Raises `BadRequest` for one outside the range."""
        low, high = self.reward_range
        for i, each in enumerate(earned):
            if not low <= each.reward <= high:
                param = f"{field}.{i}.reward"
                raise BadRequest(
                    f"{param}: {each.reward} is not in reward_range {low} to {high}", param=param
                )
        return [Outcome(each.prompt, (each.reward - low) / (high - low), each.step) for each in earned]


class Outcomes(Rewarded):
    """What a policy earned."""

    outcomes: list[Earned] = Field(min_length=1, max_length=MOST_PROMPTS)


class Sample(Strict):
    """Which rows of the buffer are read."""

    size: int = Field(default=SAMPLE, ge=0, le=CAPACITY)
    how: Literal["newest", "weighted"] = "newest"
    half_life: float = Field(default=HALF_LIFE, gt=0, allow_inf_nan=False, description="in rows")
    seed: int = Field(default=0, ge=0, le=MOST_STEPS)


class ToPredict(Rewarded):
    """Prompts, and whose success on them: a named policy, or whoever earned `context`."""

    prompts: list[str] = Field(min_length=1, max_length=MOST_PROMPTS)
    policy: str | None = None
    context: list[Earned] | None = Field(None, max_length=CAPACITY)
    sample: Sample = Sample()
    until_step: Step | None = Field(None, description="rows of later steps are left out")

    @model_validator(mode="after")
    def _one_of_two(self) -> ToPredict:
        if (self.policy is None) == (self.context is None):
            raise ValueError("exactly one of policy and context is needed")
        if self.context is not None and {"sample", "until_step"} & self.model_fields_set:
            raise ValueError("sample and until_step choose from a policy's buffer: send a context as it is")
        return self


@api.post("/v1/value/policies/{name}/outcomes", openapi_extra=asked_for(Outcomes) | replied(POLICY))
async def outcomes(name: str, request: Request, built: PoliciesOf, _key: Caller) -> dict[str, Any]:
    """Add outcomes to a policy's buffer, of at most 512; the answer comes once they are on the disk."""
    if not NAME.fullmatch(name):
        raise BadRequest(
            "name: 1 to 128 letters, digits and . _ : @ -, first a letter or digit", param="name"
        )
    sent = read_body(Outcomes, await raw_body(request))
    earned = sent.outcomes_of(sent.outcomes, "outcomes")
    return {"added": len(earned), **_policy(await built.add(name, earned))}


@api.get("/v1/value/policies", openapi_extra=replied(fields(object=always("list"), data=many(POLICY))))
async def listed(built: PoliciesOf, _key: Caller) -> dict[str, Any]:
    """Every policy with its buffer's size, latest step, mean reward (of [0, 1]) and revision."""
    return {"object": "list", "data": [_policy(each) for each in await built.listed()]}


@api.delete(
    "/v1/value/policies/{name}",
    openapi_extra=replied(fields(id=STRING, object=always("policy"), deleted=BOOLEAN)),
)
async def delete(name: str, built: PoliciesOf, _key: Caller) -> dict[str, Any]:
    """Forget a policy and its buffer."""
    await built.delete(name)
    return {"id": name, "object": "policy", "deleted": True}


class Asked(ToPredict):
    """What is predicted, and whether the way there is told."""

    stream: bool = Field(default=False, description="progress in server-sent events, then the answer")


@api.post("/v1/value/predict", openapi_extra=asked_for(Asked) | PREDICTED)
async def predict(request: Request, built: PoliciesOf, _key: Caller) -> Response:
    """V0's success rate of each of 1 to 1,024 prompts, before any rollout. A stream tells how many are embedded."""
    sent = read_body(Asked, await raw_body(request))
    if not sent.stream:
        prediction = prediction_of(await predicted(built, sent))
        return Response(orjson.dumps(prediction), media_type="application/json")

    async def work(tell: Tell) -> dict[str, Any]:
        async def progress(done: int) -> None:
            await tell({"object": "value.progress", "done": done, "total": len(sent.prompts)})

        return prediction_of(await predicted(built, sent, progress))

    return Telling(work)


async def predicted(built: Policies, sent: ToPredict, progress: Progress = untold) -> Prediction:
    """What the request asks V0."""
    if sent.policy is None:
        earned = sent.outcomes_of(sent.context or [], "context")
        return await built.predict_from(earned, sent.prompts, progress)
    sampling = Sampling(**sent.sample.model_dump())
    return await built.predict(sent.policy, sent.prompts, sampling, sent.until_step, progress)


def prediction_of(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON; values with six digits, as float32 has no more."""
    return {
        "values": np.round(prediction.values.astype(np.float64), 6).tolist(),
        "version": prediction.version,
        "context_size": prediction.context_size,
        "revision": prediction.revision,
        "timings_ms": prediction.timings,
    }


def _policy(row: PolicyRow) -> dict[str, Any]:
    return {
        "id": row.name,
        "object": "policy",
        "size": row.size,
        "capacity": CAPACITY,
        "step": row.step,
        "mean_reward": row.mean_reward,
        "revision": row.revision,
        "created": int(row.created_at),
        "updated": int(row.updated_at),
    }
