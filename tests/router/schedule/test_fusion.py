"""V0.5's formulas, rebuilt from its proofs, against its theorems; in NumPy and torch, for ±1 and 0/1."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from router.schedule.fusion import (
    BINARY,
    SIGNED,
    Rewards,
    Shrinkage,
    advantages,
    best_count,
    risk,
    sampling_variance,
    squared_bias,
    weight_of_mean,
)
from router.schedule.robust import RobustMixture

RATE = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
COUNT = st.integers(1, 200)


@st.composite
def rollouts(draw):
    """A mean and a prior of ±1 rewards, and how many rollouts made the mean."""
    count = draw(COUNT)
    return 2 * draw(st.integers(0, count)) / count - 1, 2 * draw(RATE) - 1, count


def bias_of_baseline(count, rate, prior):
    """E[B] − μ, exactly, over every number of successes."""
    successes = np.arange(count + 1)
    baselines = Shrinkage().baseline(2 * successes / count - 1, prior, count)
    return float(binom.pmf(successes, count, rate) @ baselines - (2 * rate - 1))


def test_a_case_by_hand():
    mean, prior, count = -0.5, 0.8, 4  # one success of four where nine of ten were foretold
    assert sampling_variance(count) == 0.25
    assert squared_bias(mean, prior, count) == pytest.approx(1.69 - 0.25)
    assert weight_of_mean(mean, prior, count) == pytest.approx(1.44 / 1.69)
    assert Shrinkage().baseline(mean, prior, count) == pytest.approx(-0.5 * 1.44 / 1.69 + 0.8 * 0.25 / 1.69)
    assert Shrinkage().wanted(mean, prior, count) == 24  # ⌈24 − 1/1.44⌉
    assert Shrinkage(cost=1 / 256).wanted(mean, prior, count) == 16  # ⌈16 − 1/1.44⌉
    assert Shrinkage(cost=1 / 64).wanted(mean, prior, count) == 8  # ⌈8 − 1/1.44⌉
    assert advantages(1.0, 0.6) == pytest.approx(0.4 / 0.8)


@given(rollouts())
def test_the_baseline_is_never_farther_from_the_mean_than_one_by_root_k(given_):
    mean, prior, count = given_
    baseline = float(Shrinkage().baseline(mean, prior, count))
    assert abs(baseline - mean) <= count**-0.5 + 1e-12
    assert min(mean, prior) - 1e-12 <= baseline <= max(mean, prior) + 1e-12


@given(st.integers(1, 40), RATE, RATE)
def test_the_bias_is_at_most_one_by_root_k(count, rate, predicted):
    assert abs(bias_of_baseline(count, rate, 2 * predicted - 1)) <= count**-0.5 + 1e-12


@pytest.mark.parametrize(("rate", "predicted"), [(0.5, 0.9), (0.3, 0.8), (0.8, 0.4), (0.6, 0.0)])
def test_the_bias_of_a_wrong_prior_decays_as_one_by_k(rate, predicted):
    distance = 2 * (predicted - rate)
    counts = np.array([64, 256, 1024, 4096])
    scaled = np.array([k * bias_of_baseline(k, rate, 2 * predicted - 1) for k in counts])
    assert abs(scaled[-1] * distance - 1) < 0.02  # k·bias → 1/(V − μ)
    assert np.all(np.diff(np.abs(scaled * distance - 1)) < 0)


def test_from_four_rollouts_on_a_certain_prior_survives_one_failure():
    accepted = [bool(squared_bias(1 - 2 / k, 1.0, k) == 0) for k in range(1, 20)]
    assert accepted == [k >= 4 for k in range(1, 20)]
    binary = [bool(squared_bias(1 - 1 / k, 1.0, k, BINARY) == 0) for k in range(1, 20)]
    assert binary == accepted


@given(st.floats(1e-3, 4), st.integers(1, 100))
def test_one_more_rollout_returns_at_least_the_theorem_s_bound(bias, count):
    returned = risk(count, bias, cost=1e-3) - risk(count + 1, bias, cost=1e-3) + 1e-3
    assert returned >= bias**2 / (1 + (count + 1) * bias) ** 2 - 1e-12


@given(st.floats(1e-3, 4), st.floats(1e-4, 0.5))
def test_the_stopping_rule_regrets_no_more_than_its_start_costs(bias, cost):
    chosen = max(4, int(best_count(bias, cost)))
    regret = float(risk(chosen, bias, cost)) - min(float(risk(k, bias, cost)) for k in range(1, 110))
    assert -1e-12 <= regret <= 4 * cost


@given(st.floats(1e-3, 4), st.floats(1e-4, 1 / 64))
def test_the_chosen_count_is_the_best_but_for_rounding(bias, cost):
    chosen = int(best_count(bias, cost))
    risks = [float(risk(k, bias, cost)) for k in range(110)]
    assert risks[chosen] - min(risks) <= cost
    assert chosen <= np.ceil(cost**-0.5)


def test_a_trusted_prior_wants_nothing_more():
    assert Shrinkage().wanted(0.5, 0.9, 4) == 0
    assert Shrinkage().baseline(0.5, 0.9, 4) == 0.9


@pytest.mark.parametrize("rule", [Shrinkage, RobustMixture])
@given(rollouts())
def test_other_rewards_are_only_another_unit(rule, given_):
    mean, prior, count = given_
    for rewards in (BINARY, Rewards(-3.0, 7.0)):
        other = [rewards.mean_at(SIGNED.rate_at(one)) for one in (mean, prior)]
        baseline = rule().baseline(mean, prior, count)
        assert rewards.rate_at(rule(rewards=rewards).baseline(*other, count)) == pytest.approx(
            SIGNED.rate_at(baseline), abs=1e-9
        )
        assert advantages(rewards.high, rewards.mean_at(SIGNED.rate_at(baseline)), rewards) == pytest.approx(
            float(advantages(1.0, baseline)), rel=1e-6
        )


@pytest.mark.parametrize("rewards", [SIGNED, BINARY])
def test_wanted_does_not_depend_on_the_unit(rewards):
    means, priors = np.array([0.0, 0.25, 0.5, 1.0]), np.array([0.85, 0.55, 0.3, 0.1])
    found = Shrinkage(rewards=rewards).wanted(rewards.mean_at(means), rewards.mean_at(priors), 4)
    assert found.tolist() == [24, 15, 0, 24]  # b̂² of ±1: 2.64, 0.11, 0, 2.99


@pytest.mark.parametrize("rule", [Shrinkage(), RobustMixture(), RobustMixture(rewards=BINARY)])
def test_torch_and_numpy_agree(rule):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 20, 64)
    rates = rng.binomial(counts, 0.4) / counts
    mean, prior = rule.rewards.mean_at(rates), rule.rewards.mean_at(rng.random(64))
    tensors = torch.tensor(mean), torch.tensor(prior), torch.tensor(counts)
    for method in (rule.baseline, rule.wanted):
        found = method(*tensors)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), method(mean, prior, counts), atol=1e-9)
    baseline = rule.baseline(mean, prior, counts)
    np.testing.assert_allclose(
        advantages(tensors[0], torch.tensor(baseline), rule.rewards).numpy(),
        advantages(mean, baseline, rule.rewards),
    )


def test_tensors_keep_their_precision_beside_numbers_and_counts():
    found = Shrinkage().baseline(torch.tensor([0.5, -1.0]), 0.9, torch.tensor([4, 4]))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([0.9, -1.0 + 1.9 * 0.25 / 3.61])


def test_importing_the_library_does_not_import_torch():
    code = "import router.schedule.rounds, router.schedule.robust, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_advantage_is_bounded_where_the_prior_was_certain_and_wrong():
    found = advantages(np.array([-1.0, 1.0]), 1.0)
    assert found.tolist() == pytest.approx([-20, 0])
    assert advantages(-1.0, 1.0, least_deviation=0.5) == pytest.approx(-4)


def test_group_advantages_have_unit_variance_around_the_group_s_own_mean():
    earned = np.array([1.0, 1.0, -1.0, 1.0])
    found = advantages(earned, earned.mean())
    assert (found.mean(), found.std()) == (pytest.approx(0), pytest.approx(1))


@given(rollouts())
def test_the_mixture_lies_between_its_prior_and_a_smoothed_mean(given_):
    mean, prior, count = given_
    rate = RobustMixture().baseline(mean, prior, count) / 2 + 0.5
    successes = round(count * (mean + 1) / 2)
    ends = np.clip(prior / 2 + 0.5, 0.005, 0.995), (successes + 1) / (count + 2), successes / count
    assert min(ends) - 1e-9 <= rate <= max(ends) + 1e-9


def test_the_mixture_is_the_posterior_by_numeric_integration():
    grid = (np.arange(200_000) + 0.5) / 200_000
    density = (0.7 * beta.pdf(grid, 12 * 0.9, 12 * 0.1) + 0.3) * grid * (1 - grid) ** 3
    density /= density.sum()
    expected = density @ grid
    rule = RobustMixture(rewards=BINARY)
    assert rule.baseline(0.25, 0.9, 4) == pytest.approx(expected, rel=1e-4)
    variance = density @ (grid - expected) ** 2
    wanted = 4 + np.ceil(np.sqrt(4 * 256 * expected * (1 - expected)) - expected * (1 - expected) / variance)
    assert rule.wanted(0.25, 0.9, 4) == wanted


def test_the_mixture_forgets_a_prior_that_rollouts_refute():
    assert RobustMixture(rewards=BINARY).baseline(0.0, 0.9, 16) == pytest.approx(1 / 18, abs=0.01)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Shrinkage(cost=0),
        lambda: RobustMixture(strength=0),
        lambda: RobustMixture(doubt=1),
        lambda: RobustMixture(cost=-1),
    ],
)
def test_parameters_that_mean_nothing_are_refused(broken):
    with pytest.raises(ValueError, match="must"):
        broken()
