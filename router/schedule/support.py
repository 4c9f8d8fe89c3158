"""Which rows of a policy's support buffer V0 reads: the newest, or a seeded draw that prefers them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAPACITY = 512  # V0's: rows that a buffer keeps
SAMPLE = 256  # V0's: rows that a prediction reads
HALF_LIFE = 128.0

How = Literal["newest", "weighted"]


@dataclass(frozen=True)
class Sampling:
    """
    `newest` takes the last `size` rows. `weighted` draws `size` without replacement, a row weighing half of one that
    is `half_life` rows newer; the same buffer and `seed` draw the same rows.

    Hashable, so that it can name a fitted context. `ValueError` where a number is out of range.
    """

    size: int = SAMPLE
    how: How = "newest"
    half_life: float = HALF_LIFE
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError`; see above."""
        if self.size < 0 or self.half_life <= 0 or self.seed < 0:
            raise ValueError(f"size and seed must not be negative, half_life must be positive: {self}")

    def rows(self, count: int) -> NDArray[np.int64]:
        """Indices (min(size, count),) into `count` rows ordered from the oldest to the newest, ascending."""
        size = min(self.size, count)
        if self.how == "newest" or size == count:
            return np.arange(count - size, count)
        ages = np.arange(count)[::-1]
        # the `size` largest of log-weight + Gumbel noise are a weighted draw without replacement
        keys = -ages / self.half_life * np.log(2) + np.random.default_rng(self.seed).gumbel(size=count)
        return np.sort(np.argsort(-keys)[:size])
