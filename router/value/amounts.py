"""What an answer will cost or how long it will be, foretold as success is: V0's second output.

An amount (USD, output tokens) is read as an outcome: its logarithm, scaled to [0, 1] between the rows' extremes, is a
label like any other, and a fleet's amounts are read together. Of each reading only the part that is linear in the
prompt is kept: kernels would double the time of a decision. What comes out is the logarithm's expectation; the factor
between it and the amounts' own mean is what that part makes of the rows themselves (Duan, 1983: smearing).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.value.heads.contexts import straight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.value.model import V0, Context

LEAST_ROWS = 16  # of known amounts; below, their mean says as much
FACTORS = (0.25, 4.0)  # what the smearing factor is held between


@dataclass(frozen=True)
class Amounts:
    """One model's amounts, read: V0's context of their logarithms, and the way back."""

    context: Context
    low: float  # logarithm that stands at 0
    span: float  # of logarithms between 0 and 1
    factor: float

    def expected(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Amounts that values of the context stand for, of any shape."""
        return np.asarray(self.factor * np.exp(self.low + self.span * np.asarray(values, dtype=np.float64)))


def fit_amounts(
    value_model: V0, histories: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]
) -> list[Amounts | None]:
    """
    Read each model's rows (N, dim) with amounts (N,), positive or NaN where unknown. None where fewer than sixteen are
    known, or all are the same.
    """
    known = [_known(*history) for history in histories]
    pairs = [(each.rows, each.labels) for each in known if each is not None]
    contexts = iter(straight(value_model.fit_fleet(pairs)))
    return [None if each is None else _read(value_model, each, next(contexts)) for each in known]


class _Known(NamedTuple):
    """One model's known amounts (N,) with their rows (N, dim), and what they are scaled to labels by."""

    rows: NDArray[np.floating]
    amounts: NDArray[np.floating]
    low: float
    span: float

    @property
    def labels(self) -> NDArray[np.float32]:
        return ((np.log(self.amounts) - self.low) / self.span).astype(np.float32)


def _known(rows: NDArray[np.floating], amounts: NDArray[np.floating]) -> _Known | None:
    known = np.isfinite(amounts) & (amounts > 0)
    logs = np.log(amounts[known])
    if len(logs) < LEAST_ROWS or not np.ptp(logs):
        return None
    return _Known(rows[known], amounts[known], float(logs.min()), float(np.ptp(logs)))


def _read(value_model: V0, known: _Known, context: Context) -> Amounts:
    plain = Amounts(context, known.low, known.span, 1.0)
    ratio = float(known.amounts.mean() / plain.expected(value_model.value(known.rows, [context])).mean())
    return replace(plain, factor=min(max(ratio, FACTORS[0]), FACTORS[1]))


def expected_amounts(
    value_model: V0, embeddings: NDArray[np.floating], fitted: Sequence[Amounts | None]
) -> NDArray[np.float64]:
    """Expected amounts (B, M) of prompts (B, dim); NaN in the columns of models without a reading."""
    expected = np.full((len(embeddings), len(fitted)), np.nan)
    read = [(column, each) for column, each in enumerate(fitted) if each is not None]
    values = value_model.value(embeddings, [each.context for _, each in read])
    for (column, each), value in zip(read, values.T, strict=True):
        expected[:, column] = each.expected(value)
    return expected
