"""Scores from outside, checked, with their source: what the writer makes outcomes of."""

from __future__ import annotations

import time

from router.store.rows import FeedbackRow, Source

SOURCES: tuple[Source, ...] = ("feedback", "verifier")  # what a caller may say it is
LONGEST_COMMENT = 4000  # characters


class InvalidFeedback(ValueError):  # noqa: N818
    """A field of somebody's feedback is not what it must be; says which and what, never what it was."""

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field} must be {expected}")
        self.field = field
        self.expected = expected


def score_of(value: object) -> float:
    """
    A score in [0, 1]: a number as it is, true as 1 and false as 0.

    Raises `InvalidFeedback` for anything else, NaN and numbers in quotes included.
    """
    if isinstance(value, (bool, int, float)) and 0 <= value <= 1:
        return float(value)
    raise InvalidFeedback("score", "a number from 0 to 1, or true or false")


def feedback(
    reference: str,
    score: object,
    *,
    source: str = "feedback",
    comment: str | None = None,
    now: float | None = None,
) -> FeedbackRow:
    """
    A score for the decision that `reference`, a decision id or completion id, names; ready for the writer.

    `source` is "feedback" (a person or an application) or "verifier" (a program that knows the answer). Each
    has its own outcome of a decision, and its latest score counts. `now` is in Unix seconds.
    Raises `InvalidFeedback`, which names the field.
    """
    if not reference.strip():
        raise InvalidFeedback("id", "the id of a decision or a completion")
    if source not in SOURCES:
        raise InvalidFeedback("source", " or ".join(SOURCES))
    if comment is not None and len(comment) > LONGEST_COMMENT:
        raise InvalidFeedback("comment", f"at most {LONGEST_COMMENT} characters long")
    return FeedbackRow(
        reference=reference.strip(),
        score=score_of(score),
        source=source,
        created_at=time.time() if now is None else now,
        comment=comment or None,
    )
