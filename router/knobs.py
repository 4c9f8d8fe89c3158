"""
`min_success`: a target for success, kept over traffic at the least cost.

A request takes the cheapest candidate whose predicted success reaches a bar. Left at the target the bar would buy more
than was asked for, since whoever reaches it is above it, or less, since whoever seems to reach it is chosen for seeming
so. So the bar moves after every decision t by

    bar ← bar + η_t·(target − (p_t + b)),   b: the mean of (outcome − p) where the outcome came in, and 50 zeros

where p_t is what was predicted of the chosen model; once its outcome comes in, that takes the place of p_t + b in the
sum. The sum telescopes: over T decisions the mean of what is known (outcomes, p + b for the rest) is within about
1/(η_T·T) of the target wherever the fleet can reach it (adaptive conformal inference, Gibbs and Candès, arXiv
2106.00170, equation 2, with success for coverage; steps that shrink, as in Angelopoulos, Barber and Bates, arXiv
2402.01139, though not to nothing, since fleets change). The first steps are large, to be there soon; later ones small,
since a bar that wanders with every outcome buys dearly above the target what it saves below. Without outcomes it is
V0's calibration that counts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

FIRST_STEP: Final = 0.05  # η_0
LEAST_STEP: Final = 0.005
STEADY: Final = 50  # decisions after which the steps shrink
SHRINK: Final = 0.7  # by this power of how many there were
PRIOR: Final = 50  # outcomes' worth of belief that V0 is right, before there are any
MEMORY: Final = 1000  # outcomes that b remembers
TARGETS_KEPT: Final = 1024
PENDING_KEPT: Final = 50_000  # decisions that may still get an outcome


@dataclass
class _Bar:
    """Where one target's bar stands after so many decisions, and b with how many outcomes it is made of."""

    level: float
    decisions: int = 0
    bias: float = 0.0
    outcomes: int = 0

    @property
    def step(self) -> float:
        """η of the next decision."""
        return max(LEAST_STEP, FIRST_STEP / (1 + self.decisions / STEADY) ** SHRINK)

    def move(self, step: float, short: float) -> None:
        """By a step, for so much success less than the target."""
        self.level = min(1.0, max(0.0, self.level + step * short))


class _Pending(NamedTuple):
    """A decision that may still get its outcome: p, p + b as it was assumed, and the step that it moved the bar by."""

    bar: _Bar
    predicted: float
    assumed: float
    step: float


class Bars:
    """The bars of all targets; each `scope` (a key, a preset) has its own. Use it from one event loop."""

    def __init__(self) -> None:
        self._bars: OrderedDict[tuple[Hashable, float], _Bar] = OrderedDict()
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    def bar(self, scope: Hashable, target: float) -> float:
        """The predicted success to ask for now."""
        return self._of(scope, target).level

    def decided(self, scope: Hashable, target: float, predicted: float, decision_id: str | None) -> None:
        """A model of this predicted success was chosen for a request with the target."""
        bar = self._of(scope, target)
        assumed = predicted + bar.bias
        step = bar.step
        bar.move(step, target - assumed)
        bar.decisions += 1
        if decision_id is not None:
            self._pending[decision_id] = _Pending(bar, predicted, assumed, step)
            while len(self._pending) > PENDING_KEPT:
                self._pending.popitem(last=False)

    def outcome(self, decision_id: str, score: float) -> None:
        """A decision's outcome came in; those of other decisions are ignored, and so is a second one."""
        found = self._pending.pop(decision_id, None)
        if found is not None:
            bar = found.bar
            bar.move(found.step, found.assumed - score)
            bar.outcomes += 1
            bar.bias += (score - found.predicted - bar.bias) / min(bar.outcomes + PRIOR, MEMORY)

    def _of(self, scope: Hashable, target: float) -> _Bar:
        key = scope, target
        bar = self._bars.get(key)
        if bar is None:
            bar = self._bars[key] = _Bar(target)
            while len(self._bars) > TARGETS_KEPT:
                self._bars.popitem(last=False)
        self._bars.move_to_end(key)
        return bar
