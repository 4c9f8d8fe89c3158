"""What a prompt earned before, beside what is predicted of it."""

from __future__ import annotations

import numpy as np
import pytest

from router.schedule.own import Remembering, informed


class Fixed:
    """Predicts the same of every prompt; remembers what it is told."""

    def __init__(self, value):
        self.value, self.told = value, []

    def predict(self, prompts):
        return [self.value] * len(prompts)

    def report(self, prompts, rates, counts):
        self.told.append((prompts, rates, counts))


def test_a_prediction_counts_as_its_strength_in_rollouts():
    assert informed([0.8, 0.8], [0.0, np.nan], [2, 0], strength=2) == pytest.approx([0.4, 0.8])
    assert informed([], [], []).shape == (0,)


def test_no_estimate_is_better_where_predictions_are_right_on_average():
    """p ~ Beta(m·V, m(1 − V)): the posterior mean beats the prediction, the plain mean, and other strengths."""
    draw = np.random.default_rng(0)
    values = draw.uniform(0.05, 0.95, 40_000)
    rates = draw.beta(2 * values, 2 * (1 - values))
    seen = draw.binomial(4, rates) / 4

    def error(estimate):
        return float(((estimate - rates) ** 2).mean())

    best = error(informed(values, seen, np.full(len(values), 4), strength=2))
    others = [informed(values, seen, np.full(len(values), 4), strength=m) for m in (0.5, 8)]
    assert best < min(map(error, [values, seen, *others]))


def test_what_a_prompt_earned_is_kept_and_fades_when_it_comes_again():
    inner = Fixed(0.5)
    values = Remembering(inner, strength=2, fade=0.5)
    assert values.predict(["a", "b"]) == pytest.approx([0.5, 0.5])
    values.report(["a"], [1.0], [4])
    assert values.predict(["a", "b"]) == pytest.approx([(1 + 4) / 6, 0.5])
    values.report(["b"], [0.0], [4])
    assert values.predict(["a"]) == pytest.approx([5 / 6])  # another prompt's outcome fades nothing
    values.report(["a"], [0.0], [4])
    assert values.predict(["a", "b"]) == pytest.approx([(1 + 2) / 8, 1 / 6])
    assert inner.told == [(["a"], [1.0], [4]), (["b"], [0.0], [4]), (["a"], [0.0], [4])]


def test_a_prompt_without_rollouts_is_told_and_changes_nothing():
    values = Remembering(Fixed(0.5))
    values.report(["a"], [1.0], [4])
    before = values.predict(["a"])
    values.report(["a", "b"], [np.nan, np.nan], [0, 0])
    assert values.predict(["a"]) == pytest.approx(before)
    assert values.predict(["b"]) == pytest.approx([0.5])


def test_a_prompt_may_be_a_number():
    values = Remembering(Fixed(0.5), strength=4, fade=1)
    values.report(np.array([3, 5]), np.array([1.0, 0.0]), np.array([4, 4]))
    assert values.predict(np.array([5, 3])) == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("wrong", [{"strength": 0}, {"fade": 1.5}, {"fade": -0.1}])
def test_no_prediction_is_worth_nothing_and_nothing_grows_with_age(wrong):
    with pytest.raises(ValueError, match="strength must be positive, fade from 0 to 1"):
        Remembering(Fixed(0.5), **wrong)
