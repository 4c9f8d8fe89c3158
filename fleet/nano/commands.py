"""What `router fleet …` does: train, measure and serve the nano fleet."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fleet.nano.roster import Recipe
    from fleet.nano.train import Progress


def shipped() -> Path:
    """Where the models in the package are."""
    return Path(str(files("fleet.nano") / "models"))


def serve(models: Path | None, host: str, port: int, threads: int, device: str, rows: int) -> None:
    """Serve the models in a folder, else the shipped ones."""
    from fleet.nano.serve import serve as run

    with _complaints():
        run(models or shipped(), host, port, threads=threads, device=device, rows=rows)


def section(models: Path | None, url: str) -> None:
    """Print the fleet section of router.yaml for a served nano fleet."""
    from fleet.nano.network import CONFIG, NetworkError, shape_of
    from fleet.nano.prices import fleet_models, fleet_section

    folder = models or shipped()
    with _complaints():
        shapes = {
            path.parent.name: shape_of(json.loads(path.read_text(encoding="utf-8")))
            for path in sorted(folder.glob(f"*/{CONFIG}"))
        }
        if not shapes:
            raise NetworkError(f"{folder}: no folder in it has a {CONFIG}")
        parameters = {name: shape.parameters() for name, shape in shapes.items()}
        window = min(shape.window for shape in shapes.values())
        typer.echo(fleet_section(fleet_models(parameters, window, url)), nl=False)


def measure(
    models: Path | None,
    split: str,
    count: int,
    samples: int,
    temperature: float,
    seed: int,
    grade: Callable[[str, str, str], float],
) -> None:
    """Print the table of accuracies, and how far apart oracle, best single and cheapest are."""
    from fleet.nano.engine import load_fleet
    from fleet.nano.measure import measure as run
    from fleet.nano.measure import table, verdict
    from fleet.tasks import generate

    with _complaints():
        fleet = load_fleet(models or shipped())
        tasks = generate(count, seed, split)  # type: ignore[arg-type]
    measured = run(
        fleet,
        tasks,
        grade,
        samples=samples,
        temperature=temperature,
        advance=lambda name: typer.echo(f"{name} has answered", err=True),
    )
    typer.echo(f"{table(measured)}\n\n{verdict(measured)}")


def train(out: Path, only: Sequence[str], jobs: int, threads: int, device: str) -> None:
    """Train the recipes that are not trained yet, `jobs` at once, the longest first."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from fleet.nano.roster import RECIPES
    from fleet.nano.train import tokenizer_for

    unknown = [name for name in only if name not in RECIPES]
    if unknown:
        typer.echo(f"no model is called {', '.join(unknown)}; there are {', '.join(RECIPES)}", err=True)
        raise typer.Exit(2)
    recipes = sorted((RECIPES[name] for name in only or RECIPES), key=_work, reverse=True)
    tokenizer_for(out)
    context = multiprocessing.get_context("spawn")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with (
        _complaints(),
        context.Manager() as shared,
        Bars(*columns) as bars,
        ProcessPoolExecutor(jobs, context, _begin, (threads,)) as processes,
    ):
        reports: Any = shared.Queue()
        rows = {r.name: bars.add_task(r.name, total=r.tokens, note="waits", start=False) for r in recipes}
        runs = [processes.submit(_train_one, recipe, out, device, reports) for recipe in recipes]
        for run in runs:
            run.add_done_callback(lambda _: reports.put(None))
        remaining = len(runs)
        try:
            while remaining:
                progress: Progress | None = reports.get()
                if progress is None:
                    remaining -= 1
                else:
                    bars.start_task(rows[progress.name])
                    note = f"loss {progress.loss:.3f}, {progress.tokens_per_s:,.0f} tokens/s"
                    bars.update(rows[progress.name], completed=progress.tokens, note=note)
            for run in runs:
                run.result()
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise
    typer.echo(f"trained into {out}; `router fleet measure-nano --models {out}` measures them")


def _work(recipe: Recipe) -> float:
    """About proportional to a recipe's training time."""
    return (
        recipe.tokens * recipe.width * recipe.layers * (recipe.width + 64)
    )  # small widths are slower than their size


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _train_one(recipe: Recipe, out: Path, device: str, reports: Any) -> None:
    from fleet.nano.train import train as run

    run(recipe, out, reports.put, device=device)


@contextmanager
def _complaints() -> Iterator[None]:
    from fleet.nano.network import NetworkError
    from fleet.nano.train import TrainingError

    try:
        yield
    except (NetworkError, TrainingError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
