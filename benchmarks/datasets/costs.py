"""What a pair cost: recorded, else tokens × price, else the parameter ratio × tokens, else nothing.

The first kind that covers every model is taken; failing that, the one that covers most models, if it covers half of
them, and the other models are left out, since a router cannot weigh a cost that nobody knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.outcomes import Exclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import CostKind, ModelFacts

CHARACTERS_PER_TOKEN = 4
PER_TOKEN = 1e-6  # of a price per million tokens


@dataclass(frozen=True)
class Priced:
    """`costs` (P, M), NaN where not observed; `kept` are the models that have a cost."""

    costs: NDArray[np.float64]
    kind: CostKind
    kept: list[int]
    notes: list[Exclusion]


@dataclass
class _Dollars:
    costs: NDArray[np.float64]
    recorded: int = 0
    pairs: int = 0
    covered: list[int] = field(default_factory=list)
    filled: dict[str, int] = field(default_factory=dict)


def price(
    models: Sequence[ModelFacts],
    scores: NDArray[np.float32],
    recorded: NDArray[np.float64],
    input_tokens: NDArray[np.float32],
    output_tokens: NDArray[np.float32],
    texts: Sequence[str],
) -> Priced:
    """
    Cost every observed pair; all matrices are (P, M), `recorded` in USD, prices in USD per million tokens.

    Recorded costs and tokens × price are both dollars and complete each other. A missing output length is the
    model's median, a missing input length a quarter of the text's characters, and the notes say how many.
    """
    observed = ~np.isnan(scores)
    wanted = np.flatnonzero(observed.any(axis=0)).tolist()
    dollars = _in_dollars(models, observed, recorded, input_tokens, output_tokens, texts)
    sized = [m for m in wanted if models[m].parameters]
    if len(dollars.covered) == len(wanted) or (
        len(sized) < len(wanted) and len(dollars.covered) >= max(len(sized), math.ceil(len(wanted) / 2))
    ):
        notes = [
            Exclusion("costs of pairs, filled in", why, count)
            for why, count in dollars.filled.items()
            if count
        ]
        left = [m for m in wanted if m not in dollars.covered]
        notes += _left_out(models, left, "they have neither a recorded cost nor tokens and prices")
        mostly = 2 * dollars.recorded >= dollars.pairs
        return Priced(dollars.costs, "recorded" if mostly else "tokens x price", dollars.covered, notes)
    if len(sized) >= math.ceil(len(wanted) / 2):
        ratios, kind = _by_parameters(models, observed, output_tokens)
        left = [m for m in wanted if m not in sized]
        return Priced(ratios, kind, sized, _left_out(models, left, "their number of parameters is unknown"))
    note = Exclusion(
        "costs", "too few models have a recorded cost, prices or sizes: every cost is 0", len(wanted)
    )
    return Priced(np.where(observed, 0.0, np.nan), "none", wanted, [note])


def _in_dollars(
    models: Sequence[ModelFacts],
    observed: NDArray[np.bool_],
    recorded: NDArray[np.float64],
    input_tokens: NDArray[np.float32],
    output_tokens: NDArray[np.float32],
    texts: Sequence[str],
) -> _Dollars:
    result = _Dollars(np.full(observed.shape, np.nan))
    guesses = np.array([-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts], dtype=np.float64)
    filled = dict.fromkeys(
        (
            "output tokens missing: the model's median",
            "input tokens missing: a quarter of the characters",
            "recorded cost missing: tokens × price",
            "recorded cost missing: the model's median cost",
        ),
        0,
    )
    no_output, no_input, by_price, by_median = filled
    for m, model in enumerate(models):
        seen = observed[:, m]
        known = seen & ~np.isnan(recorded[:, m])
        open_ = seen & ~known
        lengths = output_tokens[seen, m]
        lengths = lengths[~np.isnan(lengths)]
        cost = np.where(seen, recorded[:, m], np.nan)
        if model.input_price is not None and model.output_price is not None and len(lengths):
            blank_in, blank_out = np.isnan(input_tokens[:, m]), np.isnan(output_tokens[:, m])
            inputs = np.where(blank_in, guesses, input_tokens[:, m])
            outputs = np.where(blank_out, np.median(lengths), output_tokens[:, m])
            charged = (inputs * model.input_price + outputs * model.output_price) * PER_TOKEN
            cost[open_] = charged[open_]
            filled[no_output] += int((open_ & blank_out).sum())
            filled[no_input] += int((open_ & blank_in).sum())
            filled[by_price] += int(open_.sum()) if known.any() else 0
        elif known.any():
            cost[open_] = np.median(recorded[known, m])
            filled[by_median] += int(open_.sum())
        else:
            continue
        if seen.any():
            result.costs[:, m] = cost
            result.covered.append(m)
            result.recorded += int(known.sum())
            result.pairs += int(seen.sum())
    result.filled = filled
    return result


def _by_parameters(
    models: Sequence[ModelFacts], observed: NDArray[np.bool_], output_tokens: NDArray[np.float32]
) -> tuple[NDArray[np.float64], CostKind]:
    """Eq. 56 of V0 (arXiv 2602.03584): parameters over the largest model's, times the model's mean output tokens."""
    sizes = np.array([model.parameters or np.nan for model in models], dtype=np.float64)
    if np.isnan(sizes).all():
        return np.full(observed.shape, np.nan), "none"
    ratios = sizes / np.nanmax(sizes)
    counted = observed & ~np.isnan(output_tokens)
    kind: CostKind = "parameter ratio"
    lengths_known = np.asarray(counted.any(axis=0))
    if lengths_known[~np.isnan(sizes)].all():
        totals = np.where(counted, output_tokens, 0).sum(axis=0, dtype=np.float64)
        ratios = ratios * totals / np.maximum(counted.sum(axis=0), 1)
        kind = "parameter ratio x tokens"
    return np.where(observed, ratios, np.nan), kind


def _left_out(models: Sequence[ModelFacts], left: list[int], why: str) -> list[Exclusion]:
    if not left:
        return []
    return [Exclusion("models " + ", ".join(models[m].name for m in left), f"no cost: {why}", len(left))]
