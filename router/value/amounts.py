"""What an answer will cost or how long it will be, foretold as success is: V0's second output.

An amount (USD, output tokens) is read as an outcome: its logarithm, scaled to [0, 1] between the rows' extremes, is a
label like any other, and a fleet's amounts are read together. Of each reading only the part that is linear in the
prompt is kept: kernels would double the time of a decision. What comes out is the logarithm's expectation; the factor
between it and the amounts' own mean is taken from the rows' left-out predictions (Duan, 1983: smearing).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from router.value.heads.icl import straight

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
    kept, scales = [], []
    for embeddings, amounts in histories:
        known = np.isfinite(amounts) & (amounts > 0)
        logs = np.log(amounts[known])
        enough = known.sum() >= LEAST_ROWS and np.ptp(logs) > 0
        scales.append((float(logs.min()), float(np.ptp(logs))) if enough else None)
        if enough:
            kept.append(
                (embeddings[known], ((logs - logs.min()) / np.ptp(logs)).astype(np.float32), amounts[known])
            )
    contexts = straight(value_model.fit_fleet([(rows, labels) for rows, labels, _ in kept]))
    pairs = iter(zip(contexts, kept, strict=True))
    return [None if scale is None else _amounts(value_model, *next(pairs), *scale) for scale in scales]


def _amounts(
    value_model: V0, context: Context, kept: tuple[Any, Any, NDArray[np.floating]], low: float, span: float
) -> Amounts:
    plain = Amounts(context, low, span, 1.0)
    ratio = float(kept[2].mean() / plain.expected(value_model.foretold(context)).mean())
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
