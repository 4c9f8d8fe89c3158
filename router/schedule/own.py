"""A prompt's own earlier rollouts beside what is predicted of it: once a prompt comes again, nothing tells more.

V0 reads a prompt's own outcomes like any other row, as far as its buffer of 512 still has them. `Remembering` keeps
every prompt's, and takes a prediction for so many rollouts more:

    V ← (m·V + n·r̄)/(m + n)        the mean of Beta(m·V, m·(1 − V)) after n rollouts of mean r̄

Whenever a prompt comes again, what it earned before counts `fade` as much as it did: the policy has learnt since. How
m and `fade` were chosen: docs/scheduler.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

STRENGTH = 2.0  # rollouts that a prediction is worth
FADE = 0.5


class Values(Protocol):
    """Success rates before rollouts, from what it is told of those made. A prompt is a text, or what stands for it."""

    def predict(self, prompts: Any) -> ArrayLike:
        """Chances of success in [0, 1], one for each of N prompts."""
        ...

    def report(self, prompts: Any, rates: Any, counts: Any) -> None:
        """Observed success rates (N,), and of how many rollouts each (N,)."""
        ...


def informed(values: ArrayLike, rates: ArrayLike, counts: ArrayLike, strength: float = STRENGTH) -> Floats:
    """Predicted success rates (N,) with those of `counts` (N,) earlier rollouts; as predicted where there are none."""
    counts = np.asarray(counts, dtype=float)
    known = counts * np.where(counts > 0, np.asarray(rates, dtype=float), 0)
    return (strength * np.asarray(values, dtype=float) + known) / (strength + counts)


class Remembering:
    """`values`, informed by what each prompt earned before: some 100 bytes a prompt, in the trainer's memory."""

    def __init__(self, values: Values, strength: float = STRENGTH, fade: float = FADE) -> None:
        """Raises `ValueError` where a prediction is to be worth nothing, or the past more than it was."""
        if not (strength > 0 and 0 <= fade <= 1):
            raise ValueError(f"strength must be positive, fade from 0 to 1, not {strength} and {fade}")
        self._values, self._strength, self._fade = values, strength, fade
        self._earned: dict[
            Hashable, tuple[float, float]
        ] = {}  # prompt → success rate, rollouts that it counts as

    def predict(self, prompts: Any) -> Floats:
        """As `Values`."""
        own = np.array([self._earned.get(prompt, (0.0, 0.0)) for prompt in prompts]).reshape(-1, 2)
        return informed(self._values.predict(prompts), own[:, 0], own[:, 1], self._strength)

    def report(self, prompts: Any, rates: Any, counts: Any) -> None:
        """As `Values`."""
        for prompt, rate, count in zip(prompts, rates, counts, strict=True):
            before, old = self._earned.get(prompt, (0.0, 0.0))
            faded = self._fade * old
            if count:
                together = (faded * before + count * float(rate)) / (faded + count)
                self._earned[prompt] = (together, faded + float(count))
        self._values.report(prompts, rates, counts)
