"""Rollouts in rounds: a few for every prompt, more where prior and rollouts disagree (V0.5, Steps 1–5). Pure.

    rounds = start(priors)                        every prompt gets 4
    while not rounds.done:
        rounds = rounds.report(roll_out(rounds.allocation))
    rounds.baselines, rounds.advantages()

A state is immutable, so it can be stored between two rounds and reported to twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from router.schedule import fusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Limits:
    """
    How rollouts are dispatched.

    Every prompt gets `start` rollouts, later ones in multiples of `multiple`, `cap` in all at most. All ends after
    `rounds` rounds (2 is the paper's: a start and one extension), or when less than `halt_share` of the prompts want
    more. `ValueError` where these contradict each other.
    """

    start: int = 4
    multiple: int = 4
    cap: int = 24
    halt_share: float = 0.0
    rounds: int | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError`; see above."""
        if not 1 <= self.start <= self.cap:
            raise ValueError(f"rollouts must be 1 ≤ start ≤ cap, not {self.start} and {self.cap}")
        if self.multiple < 1 or (self.rounds is not None and self.rounds < 1):
            raise ValueError(f"multiple and rounds must be at least 1: {self}")
        if not 0 <= self.halt_share <= 1:
            raise ValueError(f"halt_share must be in [0, 1], not {self.halt_share}")

    def more(self, wanted: Floats, count: Counts) -> Counts:
        """What prompts that have `count` rollouts and want `wanted` in all get next, halting aside."""
        short = np.maximum(np.ceil(wanted).astype(np.int64) - count, 0)
        return np.minimum(-(-short // self.multiple) * self.multiple, self.cap - count)


DEFAULT_RULE = fusion.Shrinkage()
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Rounds:
    """Where N prompts stand between two rounds. Made by `start`."""

    priors: Floats  # (N,) predicted success rates
    allocation: Counts  # (N,) rollouts to make now; zeros when done
    rule: fusion.Rule
    limits: Limits
    rewards: tuple[Floats, ...] = field(default=())  # (N,) of what each prompt's rollouts earned, in order
    reports: int = 0

    @property
    def done(self) -> bool:
        """Whether no rollouts are left to make."""
        return not self.allocation.any()

    @property
    def counts(self) -> Counts:
        """Rollouts reported so far, (N,)."""
        return np.array([len(one) for one in self.rewards], dtype=np.int64)

    @property
    def rates(self) -> Floats:
        """Observed success rates, (N,), after the first report."""
        rates: Floats = self.rule.rewards.rate_at(self._means())
        return rates

    @property
    def baselines(self) -> Floats:
        """Expected rewards, (N,), by the rule: the prior before the first report."""
        prior = self.rule.rewards.mean_at(self.priors)
        return self.rule.baseline(self._means(), prior, self.counts) if self.reports else prior

    def advantages(self) -> list[Floats]:
        """Of each prompt's rollouts, in the order of the reports (Eq. 10)."""
        return [
            fusion.advantages(earned, baseline, self.rule.rewards)
            for earned, baseline in zip(self.rewards, self.baselines, strict=True)
        ]

    def report(self, rewards: Sequence[ArrayLike]) -> Rounds:
        """
        The state after the allocated rollouts earned `rewards`: a sequence for each prompt, empty where it had none.

        Raises `ValueError` where their number is not the allocated, or where one is outside the rule's rewards.
        """
        earned = [np.asarray(one, dtype=np.float64).reshape(-1) for one in rewards]
        self._check(earned)
        before = self.rewards or (np.zeros(0),) * len(self.priors)
        together = tuple(np.concatenate(pair) for pair in zip(before, earned, strict=True))
        state = replace(self, rewards=together, reports=self.reports + 1)
        return replace(state, allocation=state._next())

    def _next(self) -> Counts:
        counts = self.counts
        prior = self.rule.rewards.mean_at(self.priors)
        more = self.limits.more(self.rule.wanted(self._means(), prior, counts), counts)
        last = self.limits.rounds is not None and self.reports >= self.limits.rounds
        return np.zeros_like(more) if last or np.mean(more > 0) < self.limits.halt_share else more

    def _means(self) -> Floats:
        return np.array([one.mean() for one in self.rewards])

    def _check(self, earned: list[Floats]) -> None:
        if self.done:
            raise ValueError("all rollouts are reported already")
        found = [len(one) for one in earned]
        if found != self.allocation.tolist():
            if len(found) != len(self.allocation):
                raise ValueError(f"{len(self.allocation)} prompts, but rewards of {len(found)}")
            wrong = next(i for i, count in enumerate(found) if count != self.allocation[i])
            raise ValueError(
                f"prompt {wrong} was to have {self.allocation[wrong]} rollouts, not {found[wrong]}"
            )
        low, high = self.rule.rewards.low, self.rule.rewards.high
        for i, one in enumerate(earned):
            outside = one[~((one >= low) & (one <= high))]
            if len(outside):
                raise ValueError(f"prompt {i} earned {outside[0]}, not from {low} to {high}")


def start(priors: ArrayLike, rule: fusion.Rule = DEFAULT_RULE, limits: Limits = DEFAULT_LIMITS) -> Rounds:
    """
    The state before the first round: `limits.start` rollouts for each of the N prompts.

    `priors` (N,) are predicted success rates, whatever the rewards. Raises `ValueError` where one is not in [0, 1].
    """
    rates = np.array(priors, dtype=np.float64)
    if rates.ndim != 1:
        raise ValueError(f"priors must be one-dimensional, not of shape {rates.shape}")
    outside = ~((rates >= 0) & (rates <= 1))
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(f"prior {first} is {rates[first]}, not in [0, 1]")
    return Rounds(rates, np.full(len(rates), limits.start, dtype=np.int64), rule, limits)
