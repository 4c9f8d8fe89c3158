"""One cell of a sweep: a router fitted on one split under one seed, its predictions and its decisions, kept on disk.

P test prompts by M models by K values of β. Decisions are kept for each fleet: "all" the models, and under split
"models" those that were left out of training alone, "left-out".
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.baselines.base import Queries, Table, cost_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.baselines.base import Prediction, Router
    from benchmarks.outcomes import Outcomes
    from benchmarks.splits import Split

Fleet = Literal["all", "left-out"]


@dataclass(frozen=True)
class Material:
    """What every cell of one dataset works on: row i of the embeddings belongs to prompt i."""

    outcomes: Outcomes
    embeddings: NDArray[np.float32]  # (prompts, D)
    value_embeddings: NDArray[np.float32] | None = None  # (prompts, V0.dim); None: no V0 is among the routers

    def table(self, rows: NDArray[np.intp]) -> Table:
        """Prompts with their outcomes."""
        return Table.of(self.outcomes.take(rows), self.embeddings[rows], self._value_embeddings(rows))

    def queries(self, rows: NDArray[np.intp]) -> Queries:
        """Prompts without their outcomes."""
        return Queries.of(self.outcomes.take(rows), self.embeddings[rows], self._value_embeddings(rows))

    def _value_embeddings(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        return None if self.value_embeddings is None else self.value_embeddings[rows]


@dataclass(frozen=True)
class Cell:
    """What one router did under one seed. Choices are columns of the data's models, int16."""

    router: str
    seed: int
    betas: tuple[float, ...]
    learns: bool
    takes_new_models: bool
    success: NDArray[np.float32]  # (P, M) predicted, of all models and all test prompts
    choices: Mapping[Fleet, NDArray[np.int16]]  # (K, P) on the test prompts
    validation: Mapping[Fleet, NDArray[np.int16]]  # (K, V) on the validation prompts: β is chosen there
    cost_scale: float
    fit_s: float
    new_models_s: float | None  # taking in the left-out models; None where none were left out
    refitted: bool
    context_size: int  # outcomes of each left-out model that the router was given
    decide_us: float
    peak_mb: float


def fleets(split: Split, models: int) -> dict[Fleet, NDArray[np.intp]]:
    """The fleets that are routed over, as columns of the data's models."""
    both: dict[Fleet, NDArray[np.intp]] = {"all": np.arange(models)}
    if split.kind == "models":
        both["left-out"] = split.test_models
    return both


def run(
    name: str,
    router: Router,
    material: Material,
    split: Split,
    betas: Sequence[float],
    context_size: int,
) -> Cell:
    """Fit, take in the left-out models, predict and decide; `name` is the router's in the registry."""
    train, validation = material.table(split.train), material.table(split.validation)
    test, choosing = material.queries(split.test), material.queries(split.validation)
    with peak_memory() as peak:
        fitted = introduce(router, train, validation, split, context_size)
        router.predict(_head(test))  # what is done once is not what a decision costs
        started = time.perf_counter()
        prediction = router.predict(test).take(fitted.order)
        router.route(prediction, betas[-1], fitted.cost_scale)
        decide_s = time.perf_counter() - started
        on_validation = router.predict(choosing).take(fitted.order)
        of = fleets(split, len(train.models))
        choices = {
            fleet: decide(router, prediction, columns, betas, fitted.cost_scale)
            for fleet, columns in of.items()
        }
        chosen_on_validation = {
            fleet: decide(router, on_validation, columns, betas, fitted.cost_scale)
            for fleet, columns in of.items()
        }
    return Cell(
        router=name,
        seed=split.seed,
        betas=tuple(betas),
        learns=router.learns,
        takes_new_models=router.takes_new_models,
        success=prediction.success.astype(np.float32),
        choices=choices,
        validation=chosen_on_validation,
        cost_scale=fitted.cost_scale,
        fit_s=fitted.fit_s,
        new_models_s=fitted.new_models_s,
        refitted=fitted.refitted,
        context_size=context_size,
        decide_us=1e6 * decide_s / max(1, len(test.texts)),
        peak_mb=peak[0],
    )


@dataclass(frozen=True)
class Fitted:
    """How a router came to know every model. `order` brings its columns into the order of the data."""

    order: NDArray[np.intp]
    cost_scale: float
    fit_s: float
    new_models_s: float | None
    refitted: bool


def introduce(router: Router, train: Table, validation: Table, split: Split, context_size: int) -> Fitted:
    """
    Fit a router on the training models, then show it the left-out ones with `context_size` outcomes each.

    One that takes no new model is fitted again with all of them, of the new ones seeing those same outcomes.
    """
    models = len(train.models)
    if split.kind != "models":
        started = time.perf_counter()
        router.fit(train, validation, split.seed)
        fit_s = time.perf_counter() - started
        return Fitted(np.arange(models), cost_scale(train), fit_s, None, refitted=False)
    seen = shown(train, split, context_size)
    scale = cost_scale(seen)
    if router.takes_new_models:
        started = time.perf_counter()
        router.fit(
            train.take(models=split.train_models), validation.take(models=split.train_models), split.seed
        )
        fit_s = time.perf_counter() - started
        started = time.perf_counter()
        router.add_models(context_of(seen, split.test_models))
        new_models_s = time.perf_counter() - started
        order = np.argsort(np.concatenate([split.train_models, split.test_models]))
        return Fitted(order, scale, fit_s, new_models_s, refitted=False)
    started = time.perf_counter()
    router.fit(seen, _blank(validation, split.test_models), split.seed)
    fit_s = time.perf_counter() - started
    return Fitted(np.arange(models), scale, fit_s, fit_s, refitted=True)


def shown(train: Table, split: Split, context_size: int) -> Table:
    """
    The training table with all but `context_size` outcomes of each left-out model hidden.

    The prompts are drawn by the split's seed: those of a smaller size are among those of a larger one.
    """
    order = np.random.default_rng([split.seed, 0x5EED]).permutation(len(train.texts))
    scores, costs = train.scores.copy(), train.costs.copy()
    for column in split.test_models:
        observed = order[~np.isnan(train.scores[order, column])]
        hidden = np.setdiff1d(np.arange(len(order)), observed[:context_size])
        scores[hidden, column] = np.nan
        costs[hidden, column] = np.nan
    return replace(train, scores=scores, costs=costs)


def context_of(seen: Table, models: NDArray[np.intp]) -> Table:
    """Some models of a table, on the prompts where any of them has an outcome."""
    rows = np.flatnonzero((~np.isnan(seen.scores[:, models])).any(axis=1))
    return seen.take(rows, models)


def decide(
    router: Router,
    prediction: Prediction,
    columns: NDArray[np.intp],
    betas: Sequence[float],
    scale: float,
) -> NDArray[np.int16]:
    """The model that a fleet of these columns gives each prompt at each β: (K, P)."""
    of_fleet = prediction.take(columns)
    return np.stack([columns[router.route(of_fleet, beta, scale)] for beta in betas]).astype(np.int16)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """
    The largest resident memory of this process inside the block, MB, in a list that is filled at its end.

    Where the kernel cannot be asked to start counting anew, it is the largest since the process began.
    """
    peak: list[float] = []
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")
    except OSError:
        status = Path()
    yield peak
    if status.is_file():
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line)
        peak.append(int(kilobytes) / 1024)
    else:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def save(cell: Cell, path: Path) -> None:
    """Keep a cell; a file that exists is whole."""
    facts = {
        name: getattr(cell, name)
        for name in (
            "router", "seed", "betas", "learns", "takes_new_models", "cost_scale", "fit_s", "new_models_s",
            "refitted", "context_size", "decide_us", "peak_mb",
        )
    }  # fmt: skip
    arrays: dict[str, NDArray[np.generic]] = {"success": cell.success, "facts": np.array(json.dumps(facts))}
    for fleet, choices in cell.choices.items():
        arrays[f"choices {fleet}"] = choices
        arrays[f"validation {fleet}"] = cell.validation[fleet]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    unfinished.replace(path)


def load(path: Path) -> Cell:
    """Read a cell that `save` kept."""
    with np.load(path, allow_pickle=False) as arrays:
        facts = json.loads(str(arrays["facts"]))
        here: list[Fleet] = [fleet for fleet in ("all", "left-out") if f"choices {fleet}" in arrays]
        return Cell(
            success=arrays["success"],
            choices={fleet: arrays[f"choices {fleet}"] for fleet in here},
            validation={fleet: arrays[f"validation {fleet}"] for fleet in here},
            **{**facts, "betas": tuple(facts["betas"])},
        )


def _head(queries: Queries, count: int = 2) -> Queries:
    values = queries.value_embeddings
    return Queries(
        queries.embeddings[:count],
        queries.texts[:count],
        queries.datasets[:count],
        None if values is None else values[:count],
    )


def _blank(table: Table, models: NDArray[np.intp]) -> Table:
    scores, costs = table.scores.copy(), table.costs.copy()
    scores[:, models] = np.nan
    costs[:, models] = np.nan
    return replace(table, scores=scores, costs=costs)
