"""A prompt's baseline from a predicted value and a few rollouts, and how many more are worth their price.

V0.5 (Zhang et al. 2026, arXiv:2603.10848), Eq. 6–12. Prior V is the predicted mean reward, r̄ the mean of k rollouts:

    v̂ = R²/4k           what r̄ may vary by at most, R being the rewards' range          (6)
    b̂² = max(0, (r̄ − V)² − v̂)     what is left of their distance: the prior's fault      (7)
    ŵ = b̂²/(b̂² + v̂),   B = ŵ·r̄ + (1 − ŵ)·V                                              (8, 9)
    N* = ⌈1/√c − R²/4b̂²⌉          where a rollout stops repaying its price c             (12)

The paper's text is not at hand: these are rebuilt from its proofs, and the tests hold them against its theorems.

Every function takes NumPy arrays or torch tensors of any shapes that broadcast, or numbers, and answers in kind; torch
is imported by whoever has tensors. Tensors carry gradients through, but a baseline should be detached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = Any  # NDArray or torch.Tensor: what both do alike is all that is asked of them

COST = 1 / 576  # of a rollout, in squared half ranges of the reward; N* is then at most 24, the cap
LEAST_DEVIATION = 0.1


@dataclass(frozen=True)
class Rewards:
    """What a rollout can earn: from `low` (failure) to `high` (success)."""

    low: float
    high: float

    @property
    def most_variance(self) -> float:
        """R²/4: no reward between the two varies more; 1 for ±1."""
        return (self.high - self.low) ** 2 / 4

    def mean_at(self, rate: Array) -> Array:
        """The mean reward at a success rate: 2p − 1 for ±1."""
        return self.low + rate * (self.high - self.low)

    def rate_at(self, mean: Array) -> Array:
        """The success rate at a mean reward."""
        return (mean - self.low) / (self.high - self.low)


SIGNED = Rewards(-1.0, 1.0)
BINARY = Rewards(0.0, 1.0)


class Rule(Protocol):
    """How a prior and rollouts become a baseline. `mean`, `prior` in units of reward; `count` ≥ 1 rollouts."""

    @property
    def rewards(self) -> Rewards:
        """What a rollout can earn."""
        ...

    def baseline(self, mean: Array, prior: Array, count: Array) -> Array:
        """The expected reward, as far as is known."""
        ...

    def wanted(self, mean: Array, prior: Array, count: Array) -> Array:
        """How many rollouts a prompt should have in all, as floats; no more than `count` says: enough."""
        ...


@dataclass(frozen=True)
class Shrinkage:
    """V0.5's rule. `cost` is c, the price of a rollout in units of R²/4."""

    cost: float = COST
    rewards: Rewards = SIGNED

    def __post_init__(self) -> None:
        """Raises `ValueError` for a cost that is not positive."""
        if not self.cost > 0:
            raise ValueError(f"a rollout must cost something, not {self.cost}")

    def baseline(self, mean: Array, prior: Array, count: Array) -> Array:
        """B = ŵ·r̄ + (1 − ŵ)·V (Eq. 9); never farther from r̄ than √v̂."""
        _, (mean, prior, count) = arrays(mean, prior, count)
        weight = weight_of_mean(mean, prior, count, self.rewards)
        return weight * mean + (1 - weight) * prior

    def wanted(self, mean: Array, prior: Array, count: Array) -> Array:
        """N* (Eq. 12, Step 4); 0 where the prior is within √v̂ of the mean and is trusted (Step 3)."""
        return best_count(squared_bias(mean, prior, count, self.rewards), self.cost, self.rewards)


def sampling_variance(count: Array, rewards: Rewards = SIGNED) -> Array:
    """v̂ = R²/4k (Eq. 6): the most by which the mean of `count` rollouts can vary."""
    _, (count,) = arrays(count)
    return rewards.most_variance / count


def squared_bias(mean: Array, prior: Array, count: Array, rewards: Rewards = SIGNED) -> Array:
    """b̂² = max(0, (r̄ − V)² − v̂) (Eq. 7): the distance from prior to mean that chance does not explain."""
    library, (mean, prior, count) = arrays(mean, prior, count)
    return library.clip((mean - prior) ** 2 - sampling_variance(count, rewards), 0, None)


def weight_of_mean(mean: Array, prior: Array, count: Array, rewards: Rewards = SIGNED) -> Array:
    """ŵ = b̂²/(b̂² + v̂) in [0, 1) (Eq. 8)."""
    _, (mean, prior, count) = arrays(mean, prior, count)
    bias = squared_bias(mean, prior, count, rewards)
    return bias / (bias + sampling_variance(count, rewards))


def risk(count: Array, bias: Array, cost: float = COST, rewards: Rewards = SIGNED) -> Array:
    """
    b²/(1 + k·b²) + c·k in units of R²/4 (Eq. 11): error left after `count` rollouts, and their price.

    `bias` is the squared distance of the prior from the truth, in squared units of reward.
    """
    _, (count, bias) = arrays(count, bias)
    bias = bias / rewards.most_variance
    return bias / (1 + count * bias) + cost * count


def best_count(bias: Array, cost: float = COST, rewards: Rewards = SIGNED) -> Array:
    """N* = ⌈1/√c − R²/4b̂²⌉ (Eq. 12): the rollouts after which `risk` falls no more; 0 where one is too many."""
    library, (bias,) = arrays(bias)
    unbiased = bias <= 0
    bias = library.where(unbiased, library.ones_like(bias), bias) / rewards.most_variance
    count = library.clip(library.ceil(cost**-0.5 - 1 / bias), 0, None)
    return library.where(unbiased, library.zeros_like(count), count)


def advantages(
    earned: Array, baseline: Array, rewards: Rewards = SIGNED, least_deviation: float = LEAST_DEVIATION
) -> Array:
    """
    A = (r − B)/σ̂ with σ̂ = √((high − B)(B − low)), for ±1 √(1 − B²) (Eq. 10).

    A baseline at an end has σ̂ = 0, although it may be the prior's and wrong. So σ̂ is at least `least_deviation`
    half ranges (ours: the paper's remedy is not known), which keeps |A| ≤ 2/0.1.
    """
    library, (earned, baseline) = arrays(earned, baseline)
    variance = (rewards.high - baseline) * (baseline - rewards.low)
    least = least_deviation**2 * rewards.most_variance
    return (earned - baseline) / library.sqrt(library.clip(variance, least, None))


def arrays(*given: Array) -> tuple[Any, tuple[Array, ...]]:
    """The library of the arrays and the arrays in it, as floats: torch where one is a tensor, else NumPy."""
    tensors = [one for one in given if type(one).__module__.partition(".")[0] == "torch"]
    if not tensors:
        return np, tuple(np.asarray(one, dtype=np.float64) for one in given)
    import torch

    floating = [one.dtype for one in tensors if one.is_floating_point()]
    dtype = floating[0] if floating else torch.get_default_dtype()
    return torch, tuple(torch.as_tensor(one, dtype=dtype, device=tensors[0].device) for one in given)
