"""What `router fleet …` does: train, measure and serve the nano fleet."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from fleet.nano.roster import Recipe
    from fleet.nano.train import Progress


def shipped() -> Path:
    """Where the models in the package are."""
    return Path(str(files("fleet.nano") / "models"))


def serve(
    models: Path | None, host: str, port: int, threads: int, device: str, rows: int, temperature: float
) -> None:
    """Serve the models in a folder, else the shipped ones."""
    from fleet.nano.serve import serve as run

    with _complaints():
        run(
            models or shipped(),
            host,
            port,
            threads=threads,
            device=device,
            rows=rows,
            temperature=temperature,
        )


def section(models: Path | None, url: str) -> None:
    """Print the fleet section of router.yaml for a served nano fleet."""
    from fleet.nano.prices import fleet_section, models_in

    with _complaints():
        typer.echo(fleet_section(models_in(models or shipped(), url)), nl=False)


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
    """Train the recipes that are not trained yet, `jobs` at once, what others go on from and the longest first."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from fleet.nano.roster import RECIPES
    from fleet.nano.train import tokenizer_for

    unknown = [name for name in only if name not in RECIPES]
    if unknown:
        typer.echo(f"no model is called {', '.join(unknown)}; there are {', '.join(RECIPES)}", err=True)
        raise typer.Exit(2)
    recipes = _in_order(only or list(RECIPES), RECIPES)
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
        runs: dict[str, Future[None]] = {}

        def begin(start: str | None) -> None:
            for name in [r.name for r in recipes if r.start == start]:
                runs[name] = processes.submit(_train_one, RECIPES[name], out, device, reports)
                runs[name].add_done_callback(partial(_tell, reports, name))

        begin(None)
        remaining = len(recipes)
        try:
            while remaining:
                progress: Progress | str = reports.get()
                if isinstance(progress, str):
                    runs[progress].result()
                    begin(progress)
                    remaining -= 1
                else:
                    bars.start_task(rows[progress.name])
                    note = f"loss {progress.loss:.3f}, {progress.tokens_per_s:,.0f} tokens/s"
                    bars.update(rows[progress.name], completed=progress.tokens, note=note)
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise
    typer.echo(f"trained into {out}; `router fleet measure-nano --models {out}` measures them")


def _in_order(names: Sequence[str], recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """The recipes of these names and what they go on from: first what others wait for, then by length."""
    wanted = {name: recipes[name] for name in names}
    wanted |= {each.start: recipes[each.start] for each in list(wanted.values()) if each.start}
    starts = {each.start for each in wanted.values()}
    return sorted(wanted.values(), key=lambda each: (each.name in starts, _work(each)), reverse=True)


def _work(recipe: Recipe) -> float:
    """About proportional to a recipe's training time."""
    return (
        recipe.tokens * recipe.width * recipe.layers * (recipe.width + 64)
    )  # small widths are slower than their size


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _tell(reports: Any, name: str, _: Future[None]) -> None:
    reports.put(name)


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
