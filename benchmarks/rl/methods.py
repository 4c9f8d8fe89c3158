"""How a training step gets its rollouts and their advantages: the methods that `router-bench rl` compares.

A method asks for rollouts of prompts, as often as it likes, and answers what the step learns from. Rewards are ±1.
`Gather` is what the loop lends it: fresh prompts of the pool, epoch after epoch, and rollouts of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from router.schedule import budget
from router.schedule.fusion import Shrinkage
from router.schedule.own import Remembering
from router.schedule.robust import RobustMixture
from router.schedule.rounds import DEFAULT_LIMITS, Limits, start
from router.schedule.support import CAPACITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from router.schedule.fusion import Rule
    from router.value.model import V0

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]
    Counts = NDArray[np.int64]

GROUP = 16  # GRPO's rollouts of a prompt
SMALL_GROUP = 4
LEAST_STD = 1e-4
MOST_DRAWS = 4  # of batches, to fill one with prompts that have a gradient
BUDGET_HIGH = 16  # rollouts of one prompt: four times the average, V0's 128 are eight times its own
UNIFORM = Limits(start=SMALL_GROUP, rounds=1)


@dataclass(frozen=True)
class Learned:
    """
    What a step learns from: N prompts of the pool, their baselines (N,), each one's rewards and advantages.

    `priors` (N,) are the success rates that were predicted, None where nothing was.
    """

    prompts: Rows
    baselines: Floats
    rewards: Sequence[Floats]
    advantages: Sequence[Floats]
    priors: Floats | None = None


class Gather(Protocol):
    """What a method may ask for."""

    def fresh(self, count: int) -> Rows:
        """The next prompts of the epoch, none twice."""
        ...

    def roll_out(self, prompts: Rows, counts: NDArray[np.int64]) -> list[Floats]:
        """The rewards of so many new rollouts of each prompt."""
        ...


class Values(Protocol):
    """Success rates of the pool's prompts, predicted before rollouts; it hears of every step's outcomes."""

    def predict(self, prompts: Rows) -> Floats:
        """Chances of success (N,)."""
        ...

    def report(self, prompts: Rows, rates: Floats, counts: Counts) -> None:
        """What was observed in so many rollouts of each."""
        ...


class Method(Protocol):
    """One way to spend about `rollouts` of them on a step."""

    def step(self, gather: Gather, rollouts: int) -> Learned:
        """Gather, and say what is learnt."""
        ...


def standardised(rewards: Sequence[Floats]) -> list[Floats]:
    """GRPO's advantages: less the group's mean, over its standard deviation; 0 where all are equal."""
    return [(one - one.mean()) / (one.std(ddof=1) + LEAST_STD) for one in rewards]


@dataclass
class Grpo:
    """A group of `group` rollouts for each prompt."""

    group: int

    def step(self, gather: Gather, rollouts: int) -> Learned:
        """As `Method`."""
        prompts = gather.fresh(rollouts // self.group)
        rewards = gather.roll_out(prompts, np.full(len(prompts), self.group))
        return _by_group(prompts, rewards)


@dataclass
class DynamicSampling:
    """
    DAPO's: groups whose rewards are all equal are dropped, and others drawn until the batch is full.

    Every rollout counts. After `MOST_DRAWS` batches the step goes on with what it has.
    """

    group: int = GROUP

    def step(self, gather: Gather, rollouts: int) -> Learned:
        """As `Method`."""
        wanted = rollouts // self.group
        prompts: list[int] = []
        rewards: list[Floats] = []
        for _ in range(MOST_DRAWS):
            asked = gather.fresh(wanted)
            earned = gather.roll_out(asked, np.full(len(asked), self.group))
            mixed = [i for i, one in enumerate(earned) if one.min() < one.max()]
            prompts += asked[mixed].tolist()
            rewards += [earned[i] for i in mixed]
            if len(prompts) >= wanted:
                break
        # a batch's gradient is a mean over rollouts: what is beyond the batch is kept out, as DAPO does
        return _by_group(np.array(prompts[:wanted], dtype=np.intp), rewards[:wanted])


@dataclass
class Budget:
    """`average` rollouts a prompt, allocated by V0's greedy budget on predicted success; GRPO's advantages."""

    values: Values
    average: int = SMALL_GROUP

    def step(self, gather: Gather, rollouts: int) -> Learned:
        """As `Method`."""
        prompts = gather.fresh(rollouts // self.average)
        priors = self.values.predict(prompts)
        counts = budget.greedy(priors, rollouts, high=BUDGET_HIGH)
        rewards = gather.roll_out(prompts, counts)
        self.values.report(prompts, rates(rewards), counts)
        return _by_group(prompts, rewards, priors)


@dataclass
class Fused:
    """
    V0.5: a few rollouts of every prompt, more where prior and rollouts disagree, and the fused baseline.

    How many prompts a step has follows from what the ones before it took each.
    """

    values: Values
    rule: Rule
    limits: Limits = DEFAULT_LIMITS
    taken: float = field(init=False)  # rollouts a prompt, lately

    def __post_init__(self) -> None:
        self.taken = self.limits.start * (1.0 if self.limits == UNIFORM else 2.0)

    def step(self, gather: Gather, rollouts: int) -> Learned:
        """As `Method`."""
        prompts = gather.fresh(round(rollouts / self.taken))
        priors = self.values.predict(prompts)
        rounds = start(priors, self.rule, self.limits)
        while not rounds.done:
            rounds = rounds.report(gather.roll_out(prompts, rounds.allocation))
        self.taken = 0.8 * self.taken + 0.2 * float(rounds.counts.mean())
        self.values.report(prompts, rounds.rates, rounds.counts)
        return Learned(prompts, rounds.baselines, rounds.rewards, rounds.advantages(), priors)


def rates(rewards: Sequence[Floats]) -> Floats:
    """Success rates (N,) from rewards of ±1."""
    return np.array([(1 + one.mean()) / 2 for one in rewards])


def _by_group(prompts: Rows, rewards: Sequence[Floats], priors: Floats | None = None) -> Learned:
    means = np.array([one.mean() for one in rewards])
    return Learned(prompts, means, rewards, standardised(rewards), priors)


class PreviousEpoch:
    """What each prompt's rollouts earned the last time; the mean of what is known where it had none, or ½."""

    def __init__(self, pool: int) -> None:
        self._rates = np.full(pool, np.nan)

    def predict(self, prompts: Rows) -> Floats:
        """As `Values`."""
        return budget.filled(self._rates)[prompts]

    def report(self, prompts: Rows, rates: Floats, counts: Counts) -> None:  # noqa: ARG002
        """As `Values`; every outcome counts alike."""
        self._rates[prompts] = rates


class V0Values:
    """V0, reading the policy's newest 512 outcomes."""

    def __init__(self, value_model: V0, embeddings: NDArray[np.float32]) -> None:
        """`embeddings` (pool, dim) are V0's own of the pool's prompts."""
        self._value_model, self._embeddings = value_model, embeddings
        self._buffer: deque[tuple[int, float]] = deque(maxlen=CAPACITY)

    def predict(self, prompts: Rows) -> Floats:
        """As `Values`."""
        rows = np.array([row for row, _ in self._buffer], dtype=np.intp)
        labels = np.array([rate for _, rate in self._buffer], dtype=np.float32)
        context = self._value_model.fit_context(self._embeddings[rows], labels)
        return self._value_model.value(self._embeddings[prompts], [context])[:, 0].astype(np.float64)

    def report(self, prompts: Rows, rates: Floats, counts: Counts) -> None:  # noqa: ARG002
        """As `Values`; every outcome counts alike."""
        self._buffer.extend(zip(prompts.tolist(), rates.tolist(), strict=True))


METHODS: Mapping[str, Callable[[Callable[[], Values], int], Method]] = {
    "grpo-16": lambda _v0, _pool: Grpo(GROUP),
    "grpo-4": lambda _v0, _pool: Grpo(SMALL_GROUP),
    "dapo-16": lambda _v0, _pool: DynamicSampling(),
    "v0.5-4": lambda v0, _pool: Fused(v0(), Shrinkage(), UNIFORM),
    "v0.5-4-own": lambda v0, _pool: Fused(Remembering(v0()), Shrinkage(), UNIFORM),
    "v0.5-own": lambda v0, _pool: Fused(Remembering(v0()), Shrinkage()),
    "mixture-own": lambda v0, _pool: Fused(Remembering(v0()), RobustMixture()),
    "budget-v0": lambda v0, _pool: Budget(v0()),
    "budget-own": lambda v0, _pool: Budget(Remembering(v0())),
    "budget-previous": lambda _v0, pool: Budget(PreviousEpoch(pool)),
}
"""Methods by name, made from V0's values, made where a method wants them, and the number of prompts in the pool."""
