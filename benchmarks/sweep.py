"""`router-bench sweep`: every router under every seed on every dataset. A cell that is done is not done again.

OUT/cells holds one file for each router × seed × split; everything else in OUT is made from those files.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import queue
import signal
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import cells, summary
from benchmarks.baselines.registry import ON_V0, REGISTRY, on_v0, with_tabpfn
from benchmarks.cache import cache_root
from benchmarks.cells import Material
from benchmarks.familiar import NothingUnseenError, familiar
from benchmarks.outcomes import Exclusion, OutcomesError, read
from benchmarks.settings import REFERENCES, SettingsError, pick
from benchmarks.splits import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.queues import Queue

    from rich.console import Console

    from benchmarks.baselines.base import Router
    from benchmarks.outcomes import Outcomes
    from benchmarks.settings import Settings
    from benchmarks.splits import Split

CELL_VERSION = 2


@dataclass(frozen=True)
class Task:
    """One cell to be done."""

    router: str
    split: Split
    path: Path

    @property
    def label(self) -> str:
        """Router and seed."""
        return f"{self.router} · seed {self.split.seed}"


@dataclass(frozen=True)
class Done:
    """What became of a cell: its seconds, or why it failed."""

    task: Task
    seconds: float
    error: str | None = None


@dataclass
class Dataset:
    """One dataset of the sweep with its splits and cells."""

    path: str
    outcomes: Outcomes
    splits: list[Split]
    tasks: list[Task]
    resumed: int
    failures: list[tuple[Task, str]] = field(default_factory=list)

    @property
    def finished(self) -> list[Task]:
        """Cells that are on disk."""
        return [task for task in self.tasks if task.path.is_file()]

    @cached_property
    def digest(self) -> str:
        """What the outcomes are, whatever their file is called."""
        return digest(self.outcomes)


def prepare(settings: Settings, path: str) -> Dataset:
    """Read a dataset, divide it, and list its cells. Raises `OutcomesError` and `SettingsError`."""
    outcomes = read(path)
    if settings.models:
        names = pick(settings.models, outcomes.model_names, f"model of {outcomes.name}")
        outcomes = outcomes.take(models=[outcomes.model_names.index(name) for name in names])
    if len(outcomes.models) < 2:
        raise OutcomesError(f"{outcomes.name}: there is nothing to choose with {len(outcomes.models)} model")
    routers = router_names(settings)
    try:
        splits, unseen = _splits_unseen(settings, outcomes)
    except NothingUnseenError as reason:
        splits = [split(outcomes, settings.split, settings.test_size, seed) for seed in settings.seeds]
        others = [name for name in routers if not is_v0(name)]
        why = f"{reason.message}; --weights takes others"
        unseen = [Exclusion("routers that read V0's weights", why, len(routers) - len(others))]
        routers = others
    outcomes = replace(outcomes, exclusions=(*outcomes.exclusions, *unseen))
    for divided in splits:
        summary.check(outcomes, divided)
    key = digest(outcomes)
    tasks = [
        Task(router, divided, _cell_path(settings, outcomes.name, key, divided, router))
        for divided in splits
        for router in routers
    ]
    return Dataset(path, outcomes, splits, tasks, sum(task.path.is_file() for task in tasks))


def _splits_unseen(settings: Settings, outcomes: Outcomes) -> tuple[list[Split], list[Exclusion]]:
    """A split for each seed without what V0's weights were trained on, and what that left out."""
    seen = familiar(outcomes, settings.weights)
    splits = [split(outcomes, settings.split, settings.test_size, seed, seen) for seed in settings.seeds]
    count = int(seen.prompts.sum())
    why = "V0's weights were trained on them: in no validation or test part"
    return splits, [Exclusion("prompts", why, count)] if count else []


def router_names(settings: Settings) -> list[str]:
    """The routers that were asked for, after the references, which are always there."""
    known = list(factories(settings))
    usual = [name for name in known if ON_V0 not in name]  # the others are asked for by their names
    asked = {
        name
        for pattern in settings.routers
        for name in pick([pattern], known if ON_V0 in pattern else usual, "router")
    }
    return [*REFERENCES, *(name for name in known if name in asked and name not in REFERENCES)]


def factories(settings: Settings) -> dict[str, Callable[[], Router]]:
    """Every router by name; V0 with the weights that were asked for."""
    known = {**REGISTRY, **on_v0(), **({} if settings.tabpfn is None else with_tabpfn(settings.tabpfn))}
    if settings.weights is None:
        return known
    return {
        name: partial(make, weights=settings.weights) if is_v0(name) else make for name, make in known.items()
    }


def is_v0(router: str) -> bool:
    """Any of V0's variants, or a baseline that reads its embedding."""
    return router.startswith("v0") or router.endswith(ON_V0)


def run(settings: Settings, dataset: Dataset, console: Console) -> None:
    """Do the cells that are not on disk yet; one that fails is noted and the others go on."""
    pending = [task for task in dataset.tasks if not task.path.is_file()]
    if dataset.resumed:
        console.print(
            f"{dataset.outcomes.name}: {dataset.resumed} of {len(dataset.tasks)} cells are here already"
        )
    if not pending:
        return
    choose_device(settings.device)
    material = embed(dataset.outcomes, dataset.path, settings, [task.router for task in pending])
    with _progress(dataset, pending, console) as advance:
        workers = _parallel if settings.jobs > 1 else _serial
        for done in workers(pending, material, settings):
            advance(done)
            if done.error is not None:
                dataset.failures.append((done.task, done.error))


def embed(outcomes: Outcomes, path: str, settings: Settings, routers: Sequence[str]) -> Material:
    """The prompts as the routers see them; kept on disk by what computed them."""
    from benchmarks.embeddings import of_value_model, pooled
    from benchmarks.fetch import folder_of
    from router.value.backbone import Backbone
    from router.value.model import V0

    device = torch_device(settings.device)
    folder = Path(path).expanduser()
    if not folder.exists():
        folder = folder_of(path)
    cache = cache_root() / "embeddings"
    backbone = Backbone.load(device=device)
    embeddings = pooled(outcomes, backbone, cache, folder if folder.is_dir() else folder.parent)
    if not any(map(is_v0, routers)):
        return Material(outcomes, embeddings)
    value_model = V0.load(settings.weights, device=device)
    return Material(outcomes, embeddings, of_value_model(outcomes, value_model, cache))


def choose_device(device: str) -> None:
    """Keep torch, here and in child processes, off accelerators that were not asked for. Raises `SettingsError`."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "cuda" and torch_device(device) != "cuda":
        raise SettingsError("device: cuda was asked for and torch finds none")


def torch_device(device: str) -> str:
    """ "auto" as what is there."""
    import torch

    found = "cuda" if torch.cuda.is_available() else "cpu"
    return found if device in ("auto", "cuda") else "cpu"


def digest(outcomes: Outcomes) -> str:
    """Of prompts, models, scores and costs: the same data has the same digest."""
    found = hashlib.sha256()
    for name in (*outcomes.prompt_ids, *outcomes.datasets, *outcomes.model_names):
        found.update(name.encode("utf-8", "surrogatepass") + b"\0")
    found.update(outcomes.scores.tobytes())
    found.update(outcomes.costs.tobytes())
    return found.hexdigest()[:16]


def _cell_path(settings: Settings, name: str, key: str, divided: Split, router: str) -> Path:
    decides = {
        "version": CELL_VERSION,
        "data": key,
        "split": [divided.kind, divided.seed, settings.test_size, _rows(divided)],
        "context_size": settings.context_size if divided.kind == "models" else None,
        "betas": settings.betas,
        "weights": _weights(settings, router) if is_v0(router) else None,
    }
    fingerprint = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]
    folder = settings.out / "cells" / name / f"{divided.kind}-seed-{divided.seed}"
    return folder / f"{router}-{fingerprint}.npz"


def _rows(divided: Split) -> str:
    """What is tested and chosen by, by content."""
    found = hashlib.sha256()
    for rows in (divided.test, divided.validation, divided.test_models):
        found.update(rows.astype("<i8").tobytes() + b"|")
    return found.hexdigest()[:16]


def _weights(settings: Settings, router: str) -> str:
    """V0's weights by their content: other weights are another router."""
    from importlib.resources import files

    from router.value.checkpoint import SHIPPED

    if "tabpfn" in router and settings.tabpfn is not None:
        stat = settings.tabpfn.stat()
        return f"{settings.tabpfn.name} {stat.st_size} {stat.st_mtime_ns}"
    shipped = files("router.value") / "weights" / SHIPPED
    return hashlib.sha256((settings.weights or shipped).read_bytes()).hexdigest()


def _serial(pending: Sequence[Task], material: Material, settings: Settings) -> Iterator[Done]:
    for task in pending:
        yield _work(task, material, settings)


def _parallel(pending: Sequence[Task], material: Material, settings: Settings) -> Iterator[Done]:
    """Cells in processes of their own. A process that dies ends the sweep; the finished cells stay."""
    context = multiprocessing.get_context("spawn")
    todo: Queue[Task | None] = context.Queue()
    done: Queue[Done] = context.Queue()
    for task in (*pending, *[None] * settings.jobs):
        todo.put(task)
    workers = [
        context.Process(target=_worker, args=(material, settings, todo, done), daemon=True)
        for _ in range(settings.jobs)
    ]
    try:
        for worker in workers:
            worker.start()
        left = len(pending)
        while left:
            try:
                yield done.get(timeout=1)
                left -= 1
            except queue.Empty:
                if any(worker.exitcode for worker in workers):
                    raise OutcomesError(
                        "a worker process died (out of memory?); what is finished is kept, and fewer --jobs need less"
                    ) from None
    finally:
        for worker in workers:
            worker.terminate()


def _worker(material: Material, settings: Settings, todo: Queue[Task | None], done: Queue[Done]) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.jobs))
    while (task := todo.get()) is not None:
        done.put(_work(task, material, settings))


def _work(task: Task, material: Material, settings: Settings) -> Done:
    started = time.perf_counter()
    try:
        cell = cells.run(
            task.router,
            factories(settings)[task.router](),
            material,
            task.split,
            settings.betas,
            settings.context_size,
        )
        cells.save(cell, task.path)
    except Exception as error:  # one router must not end the others: it is listed as a failure
        task.path.parent.mkdir(parents=True, exist_ok=True)
        task.path.with_suffix(".error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        return Done(task, time.perf_counter() - started, f"{type(error).__name__}: {error}")
    return Done(task, time.perf_counter() - started)


@contextmanager
def _progress(dataset: Dataset, pending: Sequence[Task], console: Console) -> Iterator[Callable[[Done], Any]]:
    """A bar over the cells, and a line for each that is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        total = bar.add_task(dataset.outcomes.name, total=len(dataset.tasks), completed=dataset.resumed)

        def advance(done: Done) -> None:
            bar.advance(total)
            said = f"{done.seconds:.1f} s" if done.error is None else f"[red]failed[/red]: {done.error}"
            console.print(f"{dataset.outcomes.name} · {done.task.label}: {said}", highlight=False)

        if len(pending) < len(dataset.tasks):
            bar.refresh()
        yield advance
