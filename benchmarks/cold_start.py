"""`router-bench cold-start`: how well a router knows a NEW model, by the number of its outcomes that it was shown.

Split "models": a quarter of the models is left out of training and then introduced with 0, 8, 32, … outcomes each on
training prompts, the fewer among the more, up to as many as there are. What is measured is on test prompts and on the
left-out models alone.
"""

from __future__ import annotations

import copy
import csv
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from benchmarks import cells, metrics, results, summary, sweep
from benchmarks.baselines.base import cost_scale
from benchmarks.outcomes import OutcomesError
from benchmarks.results import Entry, Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from benchmarks.baselines.base import Router, Table
    from benchmarks.cells import Material
    from benchmarks.settings import Settings
    from benchmarks.splits import Split

SIZES = (0, 8, 32, 64, 128, 256, 512, 1024)
NEAR = 0.01  # "enough outcomes": AUC within this of that with the most
COLD_START = "cold_start.json"


class ColdPoint(Entry):
    """Means over the seeds with this many outcomes of each new model."""

    outcomes: int
    shown: float = Field(
        description="what a new model really had: some have fewer outcomes than are asked for"
    )
    auc: float | None = Field(description="intra-context, of the new models")
    auc_interval: Interval | None = Field(description="95%, bootstrap over test prompts")
    mse: float | None
    accuracy: float | None = Field(description="routing at β = 1 over the new models alone")
    seconds: float = Field(description="taking the new models in, or fitting again")


class ColdRouter(Entry):
    """One router; `points` has one entry, with the most outcomes, where it has to be fitted again."""

    takes_new_models: bool
    points: list[ColdPoint]
    outcomes_needed: int | None = Field(
        description="the fewest with which AUC is within 0.01 of that with the most"
    )
    errors: dict[str, str] = Field(
        default_factory=dict, description="by number of outcomes: why there is no figure"
    )


class ColdStart(Entry):
    """cold_start.json."""

    schema_version: Literal[1] = 1
    provenance: results.Provenance
    seeds: list[int]
    new_models: dict[str, int] = Field(description="left out under each seed, by dataset")
    data: dict[str, dict[str, ColdRouter]] = Field(description="by dataset and router")


@dataclass(frozen=True)
class Trial:
    """One router under one seed with one number of outcomes."""

    shown: float  # outcomes of a new model
    auc: NDArray[np.float64]  # (R,): measured, then redraws
    mse: NDArray[np.float64]
    accuracy: float
    seconds: float


def measure(
    settings: Settings,
    dataset: sweep.Dataset,
    sizes: Sequence[int],
    console: Console,
    found: dict[str, ColdRouter],
) -> None:
    """Every router on one dataset, added to `found` when it is done."""
    routers = sweep.router_names(settings)
    material = sweep.embed(dataset.outcomes, dataset.path, settings, routers)
    sizes = possible(dataset, sizes)
    factories = sweep.factories(settings)
    for name in routers:
        takes, trials, errors = False, defaultdict(list), {}
        for divided in dataset.splits:
            started = time.perf_counter()
            router = factories[name]()
            takes = router.takes_new_models
            try:
                for size, trial in _trials(router, material, divided, sizes):
                    if isinstance(trial, Trial):
                        trials[size].append(trial)
                    else:
                        errors[str(size)] = trial
            except Exception as error:  # one router must not end the others: it is listed
                errors["fit"] = f"{type(error).__name__}: {error}"
            seconds = time.perf_counter() - started
            console.print(
                f"{dataset.outcomes.name} · {name} · seed {divided.seed}: {seconds:.1f} s", highlight=False
            )
        points = [_point(size, trials[size]) for size in sizes if len(trials[size]) == len(dataset.splits)]
        found[name] = ColdRouter(
            takes_new_models=takes,
            points=points,
            outcomes_needed=_needed(points) if takes else None,
            errors=errors,
        )


def possible(dataset: sweep.Dataset, sizes: Sequence[int]) -> list[int]:
    """The sizes that there are outcomes for; in place of larger ones, all that a new model has."""
    observed = ~np.isnan(dataset.outcomes.scores)
    most = min(
        int(observed[np.ix_(divided.train, divided.test_models)].sum(axis=0).max())
        for divided in dataset.splits
    )
    return sorted({min(size, most) for size in sizes})


def _trials(
    router: Router, material: Material, divided: Split, sizes: Sequence[int]
) -> Iterator[tuple[int, Trial | str]]:
    """One trial for each size, or the message of what went wrong; for one that must be fitted again, the largest."""
    train, validation = material.table(divided.train), material.table(divided.validation)
    if not router.takes_new_models:
        fitted = cells.introduce(router, train, validation, divided, max(sizes))
        seen = cells.shown(train, divided, max(sizes))
        columns = fitted.order[divided.test_models]
        yield max(sizes), _trial(router, material, divided, columns, seen, fitted.fit_s)
        return
    known = divided.train_models
    router.fit(train.take(models=known), validation.take(models=known), divided.seed)
    columns = np.arange(len(known), len(known) + len(divided.test_models))
    for size in sizes:
        seen = cells.shown(train, divided, size)
        introduced = copy.deepcopy(router)
        started = time.perf_counter()
        try:
            introduced.add_models(cells.context_of(seen, divided.test_models))
            seconds = time.perf_counter() - started
            yield size, _trial(introduced, material, divided, columns, seen, seconds)
        except Exception as error:  # one size must not end the others: it is listed without a figure
            yield size, f"{type(error).__name__}: {error}"


def _trial(
    router: Router,
    material: Material,
    divided: Split,
    columns: NDArray[np.intp],
    seen: Table,
    seconds: float,
) -> Trial:
    outcomes, models = material.outcomes, divided.test_models
    prediction = router.predict(material.queries(divided.test)).take(columns)
    scores = outcomes.scores[np.ix_(divided.test, models)].astype(np.float64)
    drawn = metrics.resamples(divided.test, summary.QUALITY_REDRAWS, seed=0)
    weights = np.concatenate([np.ones((1, len(divided.test))), drawn])
    quality = metrics.prediction_quality(prediction.success, scores, weights)
    complete = summary.complete_rows(outcomes, divided.test, models)
    right = metrics.picked(scores, router.route(prediction, 1.0, cost_scale(seen)))[complete]
    shown = float(seen.observed[:, models].sum(axis=0).mean())
    return Trial(shown, quality["auc"], quality["mse"], float(right.mean()), seconds)


def _point(size: int, trials: Sequence[Trial]) -> ColdPoint:
    auc = np.mean([trial.auc for trial in trials], axis=0)
    return ColdPoint(
        outcomes=size,
        shown=float(np.mean([trial.shown for trial in trials])),
        auc=results.known(float(auc[0])),
        auc_interval=results.known_interval(metrics.interval(auc[1:])),
        mse=results.known(float(np.mean([trial.mse[0] for trial in trials]))),
        accuracy=results.known(float(np.mean([trial.accuracy for trial in trials]))),
        seconds=float(np.mean([trial.seconds for trial in trials])),
    )


def _needed(points: Sequence[ColdPoint]) -> int | None:
    known = [(point.outcomes, point.auc) for point in points if point.auc is not None]
    return next((size for size, auc in known if auc >= known[-1][1] - NEAR), None)


def write(found: ColdStart, folder: Path) -> None:
    """cold_start.json, cold_start.csv, and a picture for each dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COLD_START).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    with (folder / "cold_start.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("data", "router", "takes_new_models", "outcomes", "shown", "auc", "auc_low", "auc_high", "mse",
                       "accuracy", "seconds"))  # fmt: skip
        for data, routers in found.data.items():
            for name, router in routers.items():
                for point in router.points:
                    ends = point.auc_interval or ("", "")
                    rows.writerow((data, name, router.takes_new_models, point.outcomes, point.shown, point.auc, *ends,
                                   point.mse, point.accuracy, point.seconds))  # fmt: skip
    from benchmarks import plots

    plots.cold_start(found, folder)


def run(settings: Settings, sizes: Sequence[int], command: str, console: Console) -> ColdStart:
    """Measure every dataset and write what was found. Raises `OutcomesError` and `SettingsError`."""
    if not sizes or min(sizes) < 0:
        raise OutcomesError("sizes: whole numbers from 0 on are needed")
    sweep.choose_device(settings.device)
    started = time.perf_counter()
    datasets = [sweep.prepare(settings, path) for path in settings.data]
    data: dict[str, dict[str, ColdRouter]] = {dataset.outcomes.name: {} for dataset in datasets}
    with cells.peak_memory() as peak:
        try:
            for dataset in datasets:
                measure(settings, dataset, sorted(set(sizes)), console, data[dataset.outcomes.name])
        except KeyboardInterrupt:
            console.print("interrupted: writing what is finished")
    from benchmarks.output import provenance

    found = ColdStart(
        provenance=provenance(command, time.perf_counter() - started, peak[0], settings.device),
        seeds=list(settings.seeds),
        new_models={dataset.outcomes.name: len(dataset.splits[0].test_models) for dataset in datasets},
        data=data,
    )
    write(found, settings.out)
    return found


def command(options: Mapping[str, Any], sizes: str | None) -> None:
    """Cold-start from the command line's options; a failure is a message and exit status 1."""
    import shlex
    import sys

    import typer
    from rich.console import Console

    from benchmarks.settings import SettingsError, settings

    console = Console()
    try:
        chosen = settings({**options, "split": "models"})
        counts = SIZES if sizes is None else tuple(int(size) for size in sizes.split(","))
        found = run(chosen, counts, shlex.join(["router-bench", *sys.argv[1:]]), console)
    except (OutcomesError, SettingsError, OSError, ValueError) as error:
        for line in str(error).splitlines():
            typer.echo(f"router-bench: {line}", err=True)
        raise typer.Exit(1) from None
    show(found, console)
    failed = any(router.errors for routers in found.data.values() for router in routers.values())
    console.print(f"see {chosen.out / 'cold_start.csv'} and the picture beside it", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def show(found: ColdStart, console: Console) -> None:
    """AUC by number of outcomes, one row a router, and what failed."""
    from rich.markup import escape
    from rich.table import Column, Table

    for data, routers in found.data.items():
        sizes = sorted({point.outcomes for router in routers.values() for point in router.points})
        heads = [Column("", no_wrap=True), *(Column(str(size)) for size in sizes), Column("s", no_wrap=True)]
        title = escape(f"{data}: AUC by outcomes of each new model, seconds with the most")
        table = Table(*heads, title=title, title_justify="left", box=None, pad_edge=False)
        for name, router in routers.items():
            auc = {point.outcomes: point.auc for point in router.points}
            seconds = f"{router.points[-1].seconds:.2f}" if router.points else "–"
            table.add_row(
                name,
                *("–" if auc.get(size) is None else f"{auc[size]:.3f}" for size in sizes),
                seconds if router.takes_new_models else f"{seconds} refit",
            )
        console.print(table)
        for name, router in routers.items():
            for size, error in router.errors.items():
                what = "fit" if size == "fit" else f"{size} outcomes"
                console.print(f"[red]failed[/red]: {name}, {what}: {escape(error)}", soft_wrap=True)
