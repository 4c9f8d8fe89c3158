"""POST /v1/feedback: what an answer was worth."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from router import outcomes
from router.api.describe import INTEGER, NUMBER, STRING, asked_for, fields, maybe, replied
from router.api.request import Caller, ServicesOf, raw_body
from router.call import parse
from router.errors import BadRequest, DecisionNotFound, NotReady
from router.store.errors import RowRefused, StoreUnavailable, UnknownDecision

api = APIRouter(tags=["feedback"])

PATIENCE_S = 10.0  # how long feedback waits for a reply that has not ended
REFERENCES = ("decision_id", "completion_id", "id")


class Feedback(BaseModel):
    """A score for one answer, named by its decision or its completion."""

    model_config = ConfigDict(extra="forbid", strict=True)

    decision_id: str | None = Field(None, description="the header x-router-decision")
    completion_id: str | None = Field(None, description="the completion's `id`")
    id: str | None = Field(None, description="either of the two")
    score: float = Field(
        description="a number from 0 to 1, or true or false",
        json_schema_extra={"type": ["number", "boolean"], "minimum": 0, "maximum": 1},
    )
    comment: str | None = Field(None, max_length=2000)
    source: Literal["feedback", "verifier"] = "feedback"

    @field_validator("score", mode="before")
    @classmethod
    def _score(cls, value: object) -> float:
        return outcomes.score_of(value)

    @model_validator(mode="after")
    def _one_reference(self) -> Feedback:
        if len(self.references) != 1:
            raise ValueError(f"exactly one of {', '.join(REFERENCES)} is needed")
        return self

    @property
    def references(self) -> dict[str, str]:
        """Which of the three names came, and what it says."""
        return {name: value for name in REFERENCES if (value := getattr(self, name))}


TAKEN = replied(fields(id=INTEGER, decision_id=maybe(STRING), model=STRING, score=NUMBER))


@api.post("/v1/feedback", openapi_extra=asked_for(Feedback) | TAKEN)
async def feedback(request: Request, built: ServicesOf, _key: Caller) -> dict[str, Any]:
    """Record a score. The answer comes once it is on the disk, and the next decisions know it soon after."""
    sent = _read(await raw_body(request))
    [(param, reference)] = sent.references.items()
    try:
        score = outcomes.feedback(reference, sent.score, source=sent.source, comment=sent.comment)
    except outcomes.InvalidFeedback as error:
        param = param if error.field == "id" else error.field
        raise BadRequest(f"{param} must be {error.expected}", param=param) from None
    await built.gateway.ledger.settled(reference, param, PATIENCE_S)
    try:
        outcome = await built.writer.feedback(score)
    except UnknownDecision:
        raise DecisionNotFound(reference, param) from None
    except RowRefused:
        raise BadRequest("the store does not take this score") from None
    except StoreUnavailable:
        raise NotReady("the store cannot be written now") from None
    if outcome.decision_id is not None:
        built.gateway.bars.outcome(outcome.decision_id, outcome.score)
    valuation = built.gateway.loading.now()
    if valuation is not None:
        valuation.contexts.nudge()
    return {
        "id": outcome.id,
        "decision_id": outcome.decision_id,
        "model": outcome.model,
        "score": outcome.score,
    }


def _read(raw: bytes) -> Feedback:
    try:
        return Feedback.model_validate(parse(raw))
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"])) or "decision_id"
        message = first["msg"].removeprefix("Value error, ")
        raise BadRequest(f"{param}: {message}", param=param) from None
