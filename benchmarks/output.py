"""OUT, from the finished cells: results.json, frontier.csv, decisions.parquet, the pictures and the report."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import cells, parts, results, summary
from benchmarks.outcomes import OutcomesError
from benchmarks.sweep import torch_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cells import Fleet
    from benchmarks.outcomes import Outcomes
    from benchmarks.parts import Measured
    from benchmarks.settings import Settings
    from benchmarks.sweep import Dataset, Task

PACKAGES = ("v0-router", "numpy", "torch", "scikit-learn", "tabpfn", "pandas")
FLEET_TITLES: dict[Fleet, str] = {"all": "all models", "left-out": "left-out models"}


def write(
    settings: Settings,
    datasets: Sequence[Dataset],
    off_policy: Mapping[str, results.LoggedTraffic],
    command: str,
    wall_s: float,
    peak_mb: float,
) -> results.Results:
    """Write everything that the finished cells allow. Raises `OutcomesError` when none allows anything."""
    from benchmarks import plots, report

    measured = {
        dataset.outcomes.name: found for dataset in datasets if (found := _measure(dataset)) is not None
    }
    if datasets and not measured:
        raise OutcomesError("no seed is far enough to be summed up")
    of_cells = [
        cell.peak_mb
        for of_fleet in measured.values()
        for each in of_fleet.values()
        for line in each.lines.values()
        for cell in line.cells
    ]
    main, others = _parts(measured) if measured else (_no_part(off_policy), {})
    resumed = any(dataset.resumed for dataset in datasets)
    made = results.Results(
        **dict(main),
        complete=all(len(dataset.finished) == len(dataset.tasks) for dataset in datasets),
        provenance=provenance(
            command,
            wall_s + (_earlier(settings.out) if resumed else 0.0),
            max([peak_mb, *of_cells]),
            settings.device,
        ),
        data=[data_entry(dataset) for dataset in datasets],
        split=settings.split,
        seeds=list(settings.seeds),
        betas=list(settings.betas),
        test_size=settings.test_size,
        context_size=settings.context_size,
        parts=others,
        failures=[
            results.Failure(data=dataset.outcomes.name, router=task.router, seed=task.split.seed, error=error)
            for dataset in datasets
            for task, error in dataset.failures
        ],
        off_policy=dict(off_policy),
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    results.write(made, settings.out)
    write_frontier(made, settings.out / "frontier.csv")
    if datasets:
        write_decisions(datasets, settings.out / results.DECISIONS)
        plots.frontier(made, settings.out)
    report.write(made, settings.out)
    return made


def _measure(dataset: Dataset) -> dict[Fleet, Measured] | None:
    """Every fleet of a dataset; None where no seed has its best single model yet."""
    loaded = [cells.load(task.path) for task in dataset.finished]
    every: list[Fleet] = ["all", "left-out"] if dataset.splits[0].kind == "models" else ["all"]
    found: dict[Fleet, Measured] = {}
    for fleet in every:
        lines, grounds = summary.gather(dataset.outcomes, dataset.splits, loaded, fleet)
        if not grounds:
            return None
        title = f"{dataset.outcomes.name}, {FLEET_TITLES[fleet]}"
        found[fleet] = parts.measure(title, dataset.outcomes, lines, grounds)
    return found


def _parts(measured: Mapping[str, Mapping[Fleet, Measured]]) -> tuple[results.Part, dict[str, results.Part]]:
    """The part that stands at the top, and the others by title."""
    several = {
        fleet: {name: of_fleet[fleet] for name, of_fleet in measured.items() if fleet in of_fleet}
        for fleet in FLEET_TITLES
    }
    others = [parts.to_part(each) for fleet in FLEET_TITLES for each in several[fleet].values()]
    if len(measured) == 1:
        return others[0], {part.title: part for part in others[1:]}
    means = [
        parts.mean_part(f"mean of {len(measured)} datasets, {title}", several[fleet])
        for fleet, title in FLEET_TITLES.items()
        if several[fleet]
    ]
    return means[0], {part.title: part for part in (*means[1:], *others)}


def _no_part(stores: Mapping[str, results.LoggedTraffic]) -> results.Part:
    """Logged traffic alone: nothing was routed anew."""
    return results.Part(
        title=", ".join(stores),
        fleet=[],
        cost_kind="recorded",
        cost_unit=parts.cost_unit("recorded"),
        cost_range=(0.0, 0.0),
        test_prompts=[],
        few_solve=[],
        v0=None,
        routers={},
        references={},
    )


def provenance(command: str, wall_s: float, peak_mb: float, device: str) -> results.Provenance:
    """Where and with what the figures were made."""
    return results.Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        git_commit=_git_commit(),
        versions={"python": platform.python_version(), **_versions()},
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "cores": str(os.cpu_count() or 1),
            "device": torch_device(device),
        },
        wall_s=wall_s,
        peak_mb=peak_mb,
    )


def data_entry(dataset: Dataset) -> results.DataEntry:
    """A dataset as results.json describes it."""
    outcomes = dataset.outcomes
    names, counts = np.unique(np.array(outcomes.datasets, dtype=object), return_counts=True)
    return results.DataEntry(
        name=outcomes.name,
        path=dataset.path,
        digest=dataset.digest,
        prompts=len(outcomes.texts),
        datasets={str(name): int(count) for name, count in zip(names, counts, strict=True)},
        models=[_model_entry(outcomes, m) for m in range(len(outcomes.models))],
        cost_kind=outcomes.cost_kind,
        exclusions=[
            results.Excluded(what=each.what, why=each.why, count=each.count) for each in outcomes.exclusions
        ],
    )


def write_frontier(made: results.Results, path: Path) -> None:
    """Every operating point of every line, one row each."""
    columns = (
        "part", "name", "kind", "beta", "accuracy", "accuracy_low", "accuracy_high", "cost", "cost_low", "cost_high",
        "cost_unit", "regret",
    )  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        for part in (made, *made.parts.values()):
            for kind, lines in (("router", part.routers), ("reference", part.references)):
                for name, line in lines.items():
                    for point in line.points:
                        rows.writerow(
                            (part.title, name, kind, point.beta, point.accuracy, *(point.accuracy_interval or ("", "")),
                             point.cost, *(point.cost_interval or ("", "")), part.cost_unit, point.regret)
                        )  # fmt: skip


def write_decisions(datasets: Sequence[Dataset], path: Path) -> None:
    """Which model every router gave every test prompt at every β, what it had predicted, and what came of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            ("data", word), ("fleet", word), ("router", word), ("seed", pa.int32()), ("beta", pa.float32()),
            ("prompt_id", word), ("dataset", word), ("model", word), ("predicted", pa.float32()),
            ("score", pa.float32()), ("cost", pa.float64()), ("complete", pa.bool_()),
        ]
    )  # fmt: skip
    unfinished = path.with_name(path.name + ".unfinished")
    with pq.ParquetWriter(unfinished, schema, compression="zstd") as file:
        for dataset in datasets:
            for task in dataset.finished:
                cell = cells.load(task.path)
                for fleet in cell.choices:
                    file.write_table(pa.table(_decisions(dataset.outcomes, task, cell, fleet), schema=schema))
    unfinished.replace(path)


def _decisions(outcomes: Outcomes, task: Task, cell: cells.Cell, fleet: Fleet) -> dict[str, Any]:
    import pyarrow as pa

    rows, choices = task.split.test, cell.choices[fleet]  # (P,), (K, P)
    columns = cells.fleets(task.split, len(outcomes.models))[fleet]
    beta_count, prompts = choices.shape

    def words(index: Any, names: Sequence[str]) -> Any:
        return pa.DictionaryArray.from_arrays(
            pa.array(np.asarray(index, dtype=np.int32)), pa.array(names, pa.string())
        )

    same = np.zeros(choices.size)
    datasets = sorted(set(outcomes.datasets))
    position = {name: d for d, name in enumerate(datasets)}
    picked = np.arange(prompts), choices
    return {
        "data": words(same, [outcomes.name]),
        "fleet": words(same, [fleet]),
        "router": words(same, [cell.router]),
        "seed": np.full(choices.size, cell.seed, dtype=np.int32),
        "beta": np.repeat(np.array(cell.betas, dtype=np.float32), prompts),
        "prompt_id": words(
            np.tile(np.arange(prompts), beta_count), [outcomes.prompt_ids[row] for row in rows]
        ),
        "dataset": words(np.tile([position[outcomes.datasets[row]] for row in rows], beta_count), datasets),
        "model": words(choices.ravel(), outcomes.model_names),
        "predicted": cell.success[picked].ravel(),
        "score": pa.array(outcomes.scores[rows][picked].ravel(), pa.float32(), from_pandas=True),
        "cost": pa.array(outcomes.costs[rows][picked].ravel(), pa.float64(), from_pandas=True),
        "complete": np.tile(summary.complete_rows(outcomes, rows, columns), beta_count),
    }


def _model_entry(outcomes: Outcomes, m: int) -> results.ModelEntry:
    facts, scores, costs = outcomes.models[m], outcomes.scores[:, m], outcomes.costs[:, m]
    seen, paid = ~np.isnan(scores), ~np.isnan(costs)
    return results.ModelEntry(
        name=facts.name,
        input_price=facts.input_price,
        output_price=facts.output_price,
        parameters=facts.parameters,
        outcomes=int(seen.sum()),
        mean_score=float(scores[seen].mean()) if seen.any() else None,
        mean_cost=float(costs[paid].mean()) if paid.any() else None,
    )


def _earlier(out: Path) -> float:
    """Seconds that the runs took whose cells are taken up."""
    try:
        return results.read(out).provenance.wall_s
    except OutcomesError:
        return 0.0


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """The commit of this program's checkout, marked where files differ from it; None outside of one."""
    git, here = shutil.which("git"), Path(__file__).parent
    if git is None:
        return None

    def said(*arguments: str) -> str:
        ran = subprocess.run(  # noqa: S603 (its arguments are below)
            [git, *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        return ran.stdout.strip()

    try:
        commit, changed = said("rev-parse", "HEAD"), said("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit} with changes" if changed else commit
