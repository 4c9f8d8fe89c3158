"""
`min_success`: a target for success, kept over traffic at the least cost.

A request takes the cheapest candidate whose predicted success reaches a bar. Left at the target the bar would buy more
than was asked for, since whoever reaches it is above it, or less, since whoever seems to reach it is chosen for seeming
so. So the bar moves after every decision t by

    bar ← bar + η·(target − (p_t + b)),   b: the mean of (outcome − p) where the outcome came in, and 50 zeros

where p_t is what was predicted of the chosen model; once its outcome comes in, that takes the place of p_t + b in the
sum. The sum telescopes: over T decisions the mean of what is known (outcomes, p + b for the rest) is within 1/(η·T) of
the target wherever the fleet can reach it (adaptive conformal inference, Gibbs and Candès, arXiv 2106.00170,
equation 2, with success for coverage). Without outcomes it is V0's calibration that counts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

STEP: Final = 0.02  # η
PRIOR: Final = 50  # outcomes' worth of belief that V0 is right, before there are any
MEMORY: Final = 1000  # outcomes that b remembers
TARGETS_KEPT: Final = 1024
PENDING_KEPT: Final = 50_000  # decisions that may still get an outcome


@dataclass
class _Bar:
    """Where one target's bar stands, and b with how many outcomes it is made of."""

    level: float
    bias: float = 0.0
    outcomes: int = 0

    def move(self, short: float) -> None:
        """By a step, for so much success less than the target."""
        self.level = min(1.0, max(0.0, self.level + STEP * short))


class Bars:
    """The bars of all targets; each `scope` (a key, a preset) has its own. Use it from one event loop."""

    def __init__(self) -> None:
        self._bars: OrderedDict[tuple[Hashable, float], _Bar] = OrderedDict()
        self._pending: OrderedDict[str, tuple[_Bar, float, float]] = OrderedDict()  # with p, and p + b

    def bar(self, scope: Hashable, target: float) -> float:
        """The predicted success to ask for now."""
        return self._of(scope, target).level

    def decided(self, scope: Hashable, target: float, predicted: float, decision_id: str | None) -> None:
        """A model of this predicted success was chosen for a request with the target."""
        bar = self._of(scope, target)
        assumed = predicted + bar.bias
        bar.move(target - assumed)
        if decision_id is not None:
            self._pending[decision_id] = bar, predicted, assumed
            while len(self._pending) > PENDING_KEPT:
                self._pending.popitem(last=False)

    def outcome(self, decision_id: str, score: float) -> None:
        """A decision's outcome came in; those of other decisions are ignored, and so is a second one."""
        bar, predicted, assumed = self._pending.pop(decision_id, (None, 0.0, 0.0))
        if bar is not None:
            bar.move(assumed - score)
            bar.outcomes += 1
            bar.bias += (score - predicted - bar.bias) / min(bar.outcomes + PRIOR, MEMORY)

    def _of(self, scope: Hashable, target: float) -> _Bar:
        key = scope, target
        bar = self._bars.get(key)
        if bar is None:
            bar = self._bars[key] = _Bar(target)
            while len(self._bars) > TARGETS_KEPT:
                self._bars.popitem(last=False)
        self._bars.move_to_end(key)
        return bar
