"""Budgets keep the total and the bounds, are V0's greedy rollout by rollout, and the best where that is the best."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.schedule import budget
from router.schedule.budget import POLICIES, PreviousEpoch, envelope, greedy, knapsack, uniform, utility

GRID = st.sampled_from([0.0, 0.01, 0.03, 0.1, 0.25, 1 / 3, 0.4, 0.5, 0.75, 0.9, 1.0])
RATES = st.lists(st.one_of(GRID, st.floats(0, 1)), min_size=1, max_size=5)


def by_heap(values, total, low, high):
    """The paper's words: one rollout at a time to the largest marginal utility, ties to the earlier prompt."""
    gains = budget._marginals(np.asarray(values, dtype=float), low, high)
    budgets = np.full(len(values), low)
    heap = [(-gains[0, i], i) for i in range(len(values))] if high > low else []
    heapq.heapify(heap)
    for _ in range(total - low * len(values)):
        _, i = heapq.heappop(heap)
        budgets[i] += 1
        if budgets[i] < high:
            heapq.heappush(heap, (-gains[budgets[i] - low, i], i))
    return budgets


def best_utility(values, total, low, high):
    """The largest utility of any allocation, prompt by prompt over every total so far."""
    best = np.full(total + 1, -np.inf)
    best[0] = 0
    for value in values:
        counts = np.arange(low, min(high, total) + 1)
        gains = utility(np.full(len(counts), value), counts)
        later = np.full(total + 1, -np.inf)
        for count, gain in zip(counts, gains, strict=True):
            later[count:] = np.maximum(later[count:], best[: total + 1 - count] + gain)
        best = later
    return best[total]


@st.composite
def problems(draw, rates=RATES, highest=14, lowest=1):
    values = draw(rates)
    low = draw(st.integers(lowest, 3))
    high = draw(st.integers(low, highest))
    return values, draw(st.integers(low * len(values), high * len(values))), low, high


def test_utility_is_the_expected_failures_that_have_a_success_beside_them():
    rng = np.random.default_rng(0)
    successes = rng.random((200_000, 5)) < 0.3
    failures = (~successes).sum(axis=1) * successes.any(axis=1)
    assert utility(0.3, 5) == pytest.approx(failures.mean(), rel=0.01)


def test_marginals_are_differences_of_the_utility():
    values = np.array([0.0, 0.02, 0.3, 0.5, 0.97, 1.0])
    counts = np.arange(2, 129)[:, None]
    np.testing.assert_allclose(
        budget._marginals(values, 2, 128), np.diff(utility(values, counts), axis=0), atol=1e-12
    )


def test_the_utility_turns_concave_at_twice_the_odds_of_failure():
    values = np.linspace(0.01, 0.99, 99)
    counts = np.arange(2, 127)[:, None]
    bend = np.diff(budget._marginals(values, 2, 128), axis=0)
    turns = 2 * (1 - values) / values
    assert (bend[counts < turns - 1e-9] > -1e-15).all()
    assert (bend[counts > turns + 1e-9] < 1e-15).all()
    assert (bend[:, values >= 0.5] < 1e-15).all()


@given(problems())
def test_greedy_is_the_heap_rollout_by_rollout(problem):
    values, total, low, high = problem
    assert greedy(values, total, low=low, high=high).tolist() == by_heap(values, total, low, high).tolist()


def test_greedy_is_the_heap_where_ranks_are_sought_in_a_sample():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.random(3_000), np.repeat([0.0, 0.2, 0.5, 0.8], 400)])
    np.testing.assert_array_equal(greedy(values, 30_000, high=12), by_heap(values, 30_000, 2, 12))


def test_a_sample_that_misleads_costs_time_not_truth():
    gains = np.zeros((3, 3 * budget.SAMPLE))
    gains[:, 1] = [5.0, 4.0, 3.0]  # never in the sample, nor between its quantiles
    assert [budget._largest(gains, rank) for rank in (1, 2, 3, 4, gains.size)] == [5, 4, 3, 0, 0]


@given(problems(rates=st.lists(st.floats(0.5, 1), min_size=1, max_size=5), lowest=2))
def test_greedy_and_envelope_are_the_best_where_the_utility_is_concave(problem):
    values, total, low, high = problem
    best = best_utility(values, total, low, high)
    for policy in (greedy, envelope):
        assert utility(values, policy(values, total, low=low, high=high)).sum() == pytest.approx(
            best, abs=1e-9
        )


@given(problems())
def test_envelope_is_within_one_prompt_of_the_best(problem):
    values, total, low, high = problem
    found = utility(values, envelope(values, total, low=low, high=high)).sum()
    best = best_utility(values, total, low, high)
    each = utility(values, np.arange(low, high + 1)[:, None])
    widest = 0.0  # the largest distance of any prompt's utility from its concave majorant
    for line in each.T:
        majorant = [
            max(
                line[i] + (line[j] - line[i]) * (at - i) / max(j - i, 1)
                for i in range(at + 1)
                for j in range(at, len(line))
            )
            for at in range(len(line))
        ]
        widest = max(widest, float((majorant - line).max()))
    assert best - widest - 1e-9 <= found <= best + 1e-9


def test_greedy_starves_hard_prompts_that_envelope_serves():
    values = np.array([0.05, 0.45])
    assert greedy(values, 130).tolist() == [2, 128]
    assert envelope(values, 130).tolist() == [128, 2]
    assert utility(values, [128, 2]).sum() > 1.7 * utility(values, [2, 128]).sum()


@given(problems(highest=9))
def test_knapsack_is_the_best_for_its_own_utility(problem):
    values, total, low, high = problem
    p = np.asarray(values)

    def worth(budgets):
        return float(((1 - p**budgets - (1 - p) ** budgets) * p * (1 - p) ** 2).sum())

    found = knapsack(values, total, low=low, high=high)
    best = {0: 0.0}
    for value in p:
        later = {}
        for spent, so_far in best.items():
            for count in range(low, high + 1):
                gain = (1 - value**count - (1 - value) ** count) * value * (1 - value) ** 2
                later[spent + count] = max(later.get(spent + count, -1.0), so_far + gain)
        best = later
    assert worth(found) == pytest.approx(best[total], abs=1e-12)


@settings(max_examples=50)
@given(problems(rates=st.lists(st.floats(0, 1), min_size=1, max_size=40), highest=128))
def test_every_policy_keeps_the_total_and_the_bounds(problem):
    values, total, low, high = problem
    last = PreviousEpoch(np.array([np.nan, *values[1:]]))
    for policy in (*POLICIES.values(), last):
        found = policy(values, total, low=low, high=high)
        assert (found.sum(), found.dtype) == (total, np.int64)
        assert low <= found.min() <= found.max() <= high


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_no_prompts_need_no_rollouts(policy):
    assert policy([], 0).tolist() == []


@pytest.mark.parametrize("policy", [*POLICIES.values(), PreviousEpoch(np.full(2, 0.5))])
@pytest.mark.parametrize(
    ("values", "total", "low", "high", "says"),
    [
        ([0.5, 0.5], 3, 2, 128, "take 4 to 256, not 3"),
        ([0.5, 0.5], 257, 2, 128, "take 4 to 256, not 257"),
        ([0.5, float("nan")], 8, 2, 128, "success rate 1 is nan"),
        ([-0.1, 0.5], 8, 2, 128, r"success rate 0 is -0.1, not in \[0, 1\]"),
        ([0.5, 1.1], 8, 2, 128, "success rate 1 is 1.1"),
        ([[0.5, 0.5]], 8, 2, 128, "one-dimensional"),
        ([0.5, 0.5], 8.5, 2, 128, "whole number"),
        ([0.5, 0.5], 8, 0, 128, "1 ≤ low ≤ high"),
        ([0.5, 0.5], 8, 5, 4, "1 ≤ low ≤ high"),
    ],
)
def test_what_cannot_be_allocated_is_refused(policy, values, total, low, high, says):
    with pytest.raises(ValueError, match=says):
        policy(values, total, low=low, high=high)


def test_uniform_gives_the_remainder_to_the_first():
    assert uniform([0.1, 0.2, 0.3], 8).tolist() == [3, 3, 2]


def test_variance_is_followed_as_far_as_the_bounds_allow():
    assert POLICIES["variance"]([0.5, 0.9, 0.1], 43, low=2).tolist() == [25, 9, 9]  # 25 : 9 : 9
    assert POLICIES["variance"]([0.5, 0.0, 1.0], 24, low=2, high=16).tolist() == [16, 4, 4]


def test_the_last_epoch_decides_and_predictions_do_not():
    last = PreviousEpoch(np.array([0.5, np.nan, 0.9]), knapsack)
    assert last([0.0, 0.0, 0.0], 30).tolist() == knapsack([0.5, 0.7, 0.9], 30).tolist()
    unseen = PreviousEpoch(np.full(3, np.nan))
    assert unseen([0.0, 0.5, 1.0], 30).tolist() == greedy([0.5, 0.5, 0.5], 30).tolist()
    with pytest.raises(ValueError, match="3 prompts, but rates"):
        PreviousEpoch(np.array([0.5]))([0.1, 0.2, 0.3], 30)
