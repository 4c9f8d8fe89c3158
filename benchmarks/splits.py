"""How outcomes are divided into what routers learn from, choose by, and are judged on.

- "prompts": at random within each dataset, so that every dataset is in each part.
- "models": as "prompts", and about a quarter of the models left out of training, spread over weak and strong ones.
- "datasets": whole datasets left out for the test.

What V0's weights were trained on (`Familiar`) is never validated or tested on, whichever routers take part.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from benchmarks.familiar import Familiar, NothingUnseenError
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Outcomes

Kind = Literal["prompts", "models", "datasets"]

VALIDATION_SIZE = 0.1  # of all prompts; of those not held out, when whole datasets are
LEFT_OUT_MODELS = 0.25


@dataclass(frozen=True)
class Split:
    """Index arrays into prompts and models. Train, validation and test prompts are disjoint and none is empty."""

    kind: Kind
    seed: int
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]
    train_models: NDArray[np.intp]  # models that routers may be fitted on
    test_models: NDArray[np.intp]  # "models": those left out of training; else the same as train_models
    held_datasets: tuple[str, ...] = ()  # "datasets": those that only the test has


def split(
    outcomes: Outcomes, kind: Kind, test_size: float = 0.2, seed: int = 0, seen: Familiar | None = None
) -> Split:
    """
    Divide the prompts (and models or datasets) of some outcomes; the same seed gives the same split.

    `test_size` is the share of prompts to test on, in (0, 0.9); what was `seen` is in the training part, or nowhere.
    Raises `OutcomesError` when a part would be empty, `NothingUnseenError` when it is for what was seen.
    """
    seen = seen or Familiar.none(outcomes)
    if kind not in get_args(Kind):
        raise OutcomesError(f"no split is called {kind!r}; there are {', '.join(get_args(Kind))}")
    if not 0 < test_size < 1 - VALIDATION_SIZE:
        raise OutcomesError(f"test size {test_size} is not between 0 and {1 - VALIDATION_SIZE}")
    rng = np.random.default_rng([seed, get_args(Kind).index(kind)])
    held: tuple[str, ...] = ()
    if kind == "datasets":
        held = _held_datasets(outcomes, test_size, rng, seen)
        is_held = np.isin(np.array(outcomes.datasets, dtype=object), held)
        inside = test_size + (1 - test_size) * _positions(outcomes.datasets, rng, seen)
        position = np.where(is_held, 0.0, inside)
        validation_end = test_size + (1 - test_size) * VALIDATION_SIZE
    else:
        position = _positions(outcomes.datasets, rng, seen)
        validation_end = test_size + VALIDATION_SIZE
    learnt = (position >= validation_end) | seen.prompts
    parts = {
        "train": np.flatnonzero(learnt),
        "validation": np.flatnonzero((position >= test_size) & ~learnt),
        "test": np.flatnonzero((position < test_size) & ~learnt),
    }
    for part, rows in parts.items():
        if not len(rows):
            kind_of = NothingUnseenError if seen.prompts.any() else OutcomesError
            raise kind_of(
                f"{outcomes.name}: the {part} part of split {kind!r} is empty "
                f"({len(outcomes.texts)} prompts, {seen.prompts.sum()} of them in V0's training, "
                f"test size {test_size}, seed {seed})"
            )
    every = np.arange(len(outcomes.models))
    left_out = _left_out_models(outcomes, parts["train"], rng, seen) if kind == "models" else every
    kept = np.setdiff1d(every, left_out) if kind == "models" else every
    return Split(kind, seed, parts["train"], parts["validation"], parts["test"], kept, left_out, held)


def _positions(datasets: Sequence[str], rng: np.random.Generator, seen: Familiar) -> NDArray[np.float64]:
    """
    A place in [0, 1) for every prompt, evenly spread within each dataset, what was seen behind the others: (P,).

    A random offset per dataset makes each share right on average even for datasets of one or two prompts.
    """
    positions = np.empty(len(datasets))
    names = np.array(datasets, dtype=object)
    for name in sorted(set(datasets)):
        rows = np.flatnonzero(names == name)
        order = rng.permutation(len(rows))
        order = order[np.argsort(seen.prompts[rows[order]], kind="stable")]
        positions[rows[order]] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return positions


def _held_datasets(
    outcomes: Outcomes, test_size: float, rng: np.random.Generator, seen: Familiar
) -> tuple[str, ...]:
    """Whole datasets, in random order, up to `test_size` of the prompts; at least one is held and one is kept."""
    datasets = outcomes.datasets
    sizes = Counter(datasets)
    if len(sizes) < 2:
        raise OutcomesError(f"split 'datasets' needs two datasets or more, here is {len(sizes)}")
    wanted = test_size * len(datasets)
    known = {name for name, here in zip(datasets, seen.prompts, strict=True) if here}
    order = [
        str(name) for name in rng.permutation(np.array(sorted(sizes), dtype=object)) if name not in known
    ]
    if not order:
        raise NothingUnseenError(f"{outcomes.name}: V0's training had prompts of every dataset")
    held: list[str] = []
    taken = 0
    for name in order:
        # a dataset that overshoots by more than it helps is passed over
        if len(held) < len(sizes) - 1 and taken + sizes[name] / 2 <= wanted:
            held.append(name)
            taken += sizes[name]
    return tuple(sorted(held or [min(order, key=lambda name: sizes[name])]))


def _left_out_models(
    outcomes: Outcomes, train: NDArray[np.intp], rng: np.random.Generator, familiar: Familiar
) -> NDArray[np.intp]:
    """A quarter of the models, two at least: one at random from each stratum of the mean score in training."""
    unseen = np.flatnonzero(~familiar.models)
    count = max(2, math.floor(LEFT_OUT_MODELS * len(outcomes.models) + 0.5))
    if len(outcomes.models) - count < 2:
        raise OutcomesError(f"split 'models' needs four models or more, here are {len(outcomes.models)}")
    if len(unseen) < 2:
        raise NothingUnseenError(
            f"{outcomes.name}: V0's training had outcomes of {familiar.models.sum()} of {len(familiar.models)} models"
        )
    seen = outcomes.scores[np.ix_(train, unseen)]
    observed = ~np.isnan(seen)
    means = np.where(observed, seen, 0).sum(0) / np.maximum(observed.sum(0), 1)
    strata = np.array_split(unseen[np.argsort(means, kind="stable")], min(count, len(unseen)))
    return np.sort(np.array([rng.choice(stratum) for stratum in strata], dtype=np.intp))
