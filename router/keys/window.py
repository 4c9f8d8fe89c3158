"""A sliding window: how much was taken in the last so many seconds, to the second and the unit. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Taken:
    """What was taken at a time; `Window.correct` changes its amount while it counts."""

    at: float
    amount: float


class Window:
    """
    At most so much in any `span_s` seconds. Times are of a monotonic clock and never go back.

    Exact, unlike a counter that starts anew every minute, which lets twice the limit pass around the turn.
    """

    def __init__(self, span_s: float = 60.0) -> None:
        self._span_s = span_s
        self._taken: deque[Taken] = deque()
        self._sum = 0.0

    def used(self, now: float) -> float:
        """What was taken in the span that ends now."""
        while self._taken and self._taken[0].at <= now - self._span_s:
            self._sum -= self._taken.popleft().amount
        if not self._taken:
            self._sum = 0.0  # no rounding is carried on
        return self._sum

    def wait(self, now: float, amount: float, limit: float) -> float:
        """Seconds until `amount` fits under `limit`: 0 if it does now, infinity if it never will."""
        if amount > limit:
            return math.inf
        excess = self.used(now) + amount - limit
        if excess <= 1e-9:
            return 0.0
        for each in self._taken:
            excess -= each.amount
            if excess <= 1e-9:
                return max(0.0, each.at + self._span_s - now)
        return self._span_s  # unreachable but for rounding

    def take(self, now: float, amount: float) -> Taken:
        """Count an amount from now on."""
        self.used(now)  # forgets what is past, also where nobody asks
        taken = Taken(now, amount)
        self._taken.append(taken)
        self._sum += amount
        return taken

    def correct(self, taken: Taken, amount: float, now: float) -> None:
        """Set what was really taken, if it still counts."""
        self.used(now)
        if self._taken and self._taken[0].at <= taken.at:
            self._sum += amount - taken.amount
            taken.amount = amount

    def reset_s(self, now: float) -> float:
        """Seconds until nothing counts any more."""
        self.used(now)
        return max(0.0, self._taken[-1].at + self._span_s - now) if self._taken else 0.0
