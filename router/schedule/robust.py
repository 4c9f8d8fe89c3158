"""A baseline that doubts its prior: a mixture of what V0 predicts and of knowing nothing.

Not V0.5's rule, but an answer to where that one fails (docs/scheduler.md): it trusts a prior entirely that is off by
less than chance explains, and it takes the variance of a mean at its largest, wherever the success rate is.

The success rate has the prior (1 − ε)·Beta(m·p, m·(1 − p)) + ε·Beta(1, 1): with probability ε the prediction p says
nothing (a robust mixture prior: Schmidli et al. 2014, Biometrics 70:1023). The rollouts settle which; the baseline is
the posterior mean, and more rollouts are wanted while one reduces the posterior variance by more than its price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.schedule.fusion import SIGNED, Array, Rewards, arrays

if TYPE_CHECKING:
    from collections.abc import Callable

COST = 1 / 256  # V0.5's own price would buy half again as many rollouts, and nothing that is asked for
EDGE = 0.005  # a prediction is never nearer to 0 or 1 than this


@dataclass(frozen=True)
class RobustMixture:
    """
    `strength` m is how many rollouts a prediction is worth, `doubt` ε how often it is worth none, `cost` as V0.5's c.

    m = 12 stands for predictions that are off by 0.14 at p = ½ (standard deviation √(p(1 − p)/(m + 1))).
    """

    strength: float = 12.0
    doubt: float = 0.3
    cost: float = COST
    rewards: Rewards = SIGNED

    def __post_init__(self) -> None:
        """Raises `ValueError` for parameters that are no prior or no price."""
        if not (self.strength > 0 and 0 < self.doubt < 1 and self.cost > 0):
            raise ValueError(f"strength and cost must be positive, doubt between 0 and 1: {self}")

    def baseline(self, mean: Array, prior: Array, count: Array) -> Array:
        """The posterior mean reward."""
        return self.rewards.mean_at(self._posterior(mean, prior, count)[0])

    def wanted(self, mean: Array, prior: Array, count: Array) -> Array:
        """
        k + ⌈√(s²/c) − s²/v⌉ with s² = 1 − B² for ±1 and v the posterior variance.

        s²/v is what is known by now in rollouts, √(s²/c) what it pays to know: the paper's 1/√c − 1/b̂² with the
        variance that a rollout has, not the largest it could have.
        """
        library, (mean, prior, count) = arrays(mean, prior, count)
        rate, variance = self._posterior(mean, prior, count)
        of_one = rate * (1 - rate)
        known, worth_knowing = of_one / variance, library.sqrt(4 * of_one / self.cost)
        return count + library.clip(library.ceil(worth_knowing - known), 0, None)

    def _posterior(self, mean: Array, prior: Array, count: Array) -> tuple[Array, Array]:
        """Mean and variance of the success rate."""
        library, (mean, prior, count) = arrays(mean, prior, count)
        predicted = library.clip(self.rewards.rate_at(prior), EDGE, 1 - EDGE)
        successes = self.rewards.rate_at(mean) * count
        failures = count - successes
        one = library.ones_like(predicted)
        told = _Beta(library, self.strength * predicted, self.strength * (1 - predicted), successes, failures)
        untold = _Beta(library, one, one, successes, failures)
        odds = library.exp(untold.log_evidence - told.log_evidence) * self.doubt / (1 - self.doubt)
        doubt = odds / (1 + odds)
        rate = (1 - doubt) * told.mean + doubt * untold.mean
        apart = doubt * (1 - doubt) * (told.mean - untold.mean) ** 2
        return rate, (1 - doubt) * told.variance + doubt * untold.variance + apart


def _gammaln() -> Callable[[Array], Array]:
    from scipy.special import gammaln  # a fifth of what a gateway imports, and of its memory, for this alone

    return gammaln


class _Beta:
    """Beta(a, b) after successes and failures."""

    def __init__(self, library: Any, a: Array, b: Array, successes: Array, failures: Array) -> None:
        after_a, after_b = a + successes, b + failures
        total = after_a + after_b
        self.mean = after_a / total
        self.variance = self.mean * (1 - self.mean) / (total + 1)
        lgamma = library.lgamma if hasattr(library, "lgamma") else _gammaln()
        self.log_evidence = (
            lgamma(after_a) + lgamma(after_b) - lgamma(total) - lgamma(a) - lgamma(b) + lgamma(a + b)
        )
