"""Feedback from outside: what is a score and what is not."""

from __future__ import annotations

import pytest

from router.outcomes import LONGEST_COMMENT, InvalidFeedback, feedback, score_of
from router.store.rows import FeedbackRow


@pytest.mark.parametrize(
    ("said", "score"), [(True, 1.0), (False, 0.0), (0, 0.0), (1, 1.0), (0.25, 0.25), (1.0, 1.0)]
)
def test_numbers_from_0_to_1_and_booleans_are_scores(said, score):
    found = score_of(said)
    assert found == score
    assert type(found) is float


@pytest.mark.parametrize(
    "said", [-0.01, 1.01, 2, float("nan"), float("inf"), "1", "true", None, [1], {"score": 1}, 10**400]
)
def test_nothing_else_is_a_score(said):
    with pytest.raises(InvalidFeedback, match="score must be a number from 0 to 1") as caught:
        score_of(said)
    assert caught.value.field == "score"


def test_feedback_is_a_row_for_the_writer():
    row = feedback(" dec_1 ", True, source="verifier", comment="", now=5.0)
    assert row == FeedbackRow("dec_1", 1.0, "verifier", created_at=5.0, comment=None)
    assert feedback("dec_1", 0).source == "feedback"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("id", {"reference": "  "}),
        ("source", {"source": "import"}),
        ("source", {"source": "me"}),
        ("comment", {"comment": "x" * (LONGEST_COMMENT + 1)}),
        ("score", {"score": 3}),
    ],
)
def test_invalid_feedback_names_its_field(field, arguments):
    with pytest.raises(InvalidFeedback) as caught:
        feedback(**({"reference": "dec_1", "score": 1} | arguments))
    assert caught.value.field == field
