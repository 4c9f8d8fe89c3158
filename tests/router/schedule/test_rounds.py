"""Rounds dispatch what the rule wants, within the limits, and end with baselines and advantages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.schedule.fusion import BINARY, Shrinkage, advantages
from router.schedule.robust import RobustMixture
from router.schedule.rounds import Limits, start


def earned(successes, count):
    return [1.0] * successes + [-1.0] * (count - successes)


def test_the_first_round_is_the_same_for_all():
    rounds = start([0.9, 0.5])
    assert (rounds.allocation.tolist(), rounds.done) == ([4, 4], False)
    assert rounds.baselines.tolist() == pytest.approx([0.8, 0.0])


def test_a_prior_that_agrees_is_done_and_one_that_does_not_gets_what_the_paper_says():
    first = start([0.9, 0.9, 0.9])
    second = first.report([earned(3, 4), earned(1, 4), earned(0, 4)])
    assert second.allocation.tolist() == [0, 20, 20]  # N* = 24, of which 4 are done
    assert second.baselines[0] == pytest.approx(0.8)
    third = second.report([[], earned(5, 20), earned(15, 20)])
    assert third.done
    assert third.counts.tolist() == [4, 24, 24]
    expected = Shrinkage().baseline(np.array([-0.5, 0.25]), 0.8, 24)
    np.testing.assert_allclose(third.baselines[1:], expected)
    np.testing.assert_allclose(third.advantages()[1], advantages(third.rewards[1], expected[0]))
    assert third.rewards[1].tolist() == earned(1, 4) + earned(5, 20)
    assert first.rewards == ()  # a state does not change


def test_extensions_are_padded_to_the_multiple():
    for multiple, expected in ((1, 10), (4, 12), (8, 12)):  # N* = ⌈16 − 1/0.56⌉ = 15, hence 11 − 1
        limits = Limits(multiple=multiple, cap=16)
        rule = Shrinkage(cost=1 / 225)
        found = start([0.95], rule, limits).report([earned(2, 4)]).allocation
        assert found.tolist() == [expected]


def test_the_cap_is_hard():
    limits = Limits(multiple=4, cap=7)
    rounds = start([0.9], limits=limits).report([earned(0, 4)])
    assert rounds.allocation.tolist() == [3]
    assert rounds.report([earned(0, 3)]).done


def test_all_stop_when_too_few_want_more():
    rewards = [earned(0, 4), *[earned(4, 4)] * 9]
    for share, expected in ((0.1, 20), (0.11, 0)):
        rounds = start([0.9] * 10, limits=Limits(halt_share=share)).report(rewards)
        assert rounds.allocation[0] == expected
        assert rounds.done == (expected == 0)


def test_two_rounds_are_the_paper_s():
    limits = Limits(cap=64, rounds=2)
    second = start([0.9], Shrinkage(cost=1 / 400), limits).report([earned(2, 4)])
    assert second.allocation.tolist() == [16]
    assert second.report([earned(0, 16)]).done
    assert start([0.9], limits=Limits(rounds=1)).report([earned(0, 4)]).done


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12),
    st.sampled_from([Shrinkage(), Shrinkage(cost=1 / 4096), RobustMixture()]),
    st.builds(Limits, multiple=st.integers(1, 8), cap=st.integers(4, 40), halt_share=st.floats(0, 0.5)),
    st.integers(0, 2**31),
)
def test_rounds_end_within_the_cap_whatever_is_earned(prompts, rule, limits, seed):
    rng = np.random.default_rng(seed)
    priors, rates = np.array(prompts).T
    rounds, reports = start(priors, rule, limits), 0
    while not rounds.done:
        rounds = rounds.report(
            [2.0 * (rng.random(n) < rate) - 1 for n, rate in zip(rounds.allocation, rates, strict=True)]
        )
        reports += 1
        assert reports <= limits.cap
    assert rounds.counts.min() >= 4
    assert rounds.counts.max() <= limits.cap
    assert np.abs(rounds.baselines).max() <= 1
    assert [len(one) for one in rounds.advantages()] == rounds.counts.tolist()


def test_binary_rewards_give_the_same_allocations():
    signed = start([0.9, 0.2]).report([earned(1, 4), earned(4, 4)])
    binary = start([0.9, 0.2], Shrinkage(rewards=BINARY)).report([[1, 0, 0, 0], [1, 1, 1, 1]])
    assert signed.allocation.tolist() == binary.allocation.tolist()
    np.testing.assert_allclose(signed.baselines, 2 * binary.baselines - 1)
    np.testing.assert_allclose(signed.advantages(), binary.advantages())


@pytest.mark.parametrize(
    ("rewards", "says"),
    [
        ([[1, 1, 1, 1]], "2 prompts, but rewards of 1"),
        ([[1, 1, 1, 1], [1, 1, 1]], "prompt 1 was to have 4 rollouts, not 3"),
        ([[1, 1, 1, 2], [1, 1, 1, 1]], "prompt 0 earned 2.0, not from -1.0 to 1.0"),
        ([[1, 1, 1, 1], [1, float("nan"), 1, 1]], "prompt 1 earned nan"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(rewards, says):
    with pytest.raises(ValueError, match=says):
        start([0.5, 0.5]).report(rewards)


def test_nothing_can_be_reported_when_done():
    with pytest.raises(ValueError, match="reported already"):
        start([0.5]).report([earned(2, 4)]).report([[]])


@pytest.mark.parametrize("prior", [-0.1, 1.1, float("nan")])
def test_a_prior_is_a_success_rate(prior):
    with pytest.raises(ValueError, match="prior 1 is"):
        start([0.5, prior])


@pytest.mark.parametrize(
    "broken",
    [{"start": 0}, {"start": 5, "cap": 4}, {"multiple": 0}, {"rounds": 0}, {"halt_share": 1.1}],
)
def test_limits_that_contradict_each_other_are_refused(broken):
    with pytest.raises(ValueError, match="must be"):
        Limits(**broken)


def test_no_prompts_are_done_at_once():
    assert start([]).done
