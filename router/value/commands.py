"""What `router train` and `router evaluate` do, with bad input told in one line and exit code 2."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import typer

from router.value import card as cards
from router.value import checkpoint as checkpoints
from router.value.backbone import BackboneError
from router.value.checkpoint import SHIPPED, CheckpointError
from router.value.corpus import CorpusError
from router.value.leave_out import leave_out as leave_each_out
from router.value.leave_out import tables as left_tables
from router.value.train import RecipeError, read_recipe
from router.value.train import train as run_training

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHIPPED_RECIPE = "v0-minilm.yaml"


def train(data: Path, out: Path, recipe: Path | None, cache: Path, device: str) -> None:
    """Train by a recipe into `out`."""
    with complaints(), as_file(files("router.value") / "weights" / SHIPPED_RECIPE) as shipped:
        weights = run_training(read_recipe(recipe or shipped), data, cache, out, device)
    typer.echo(f"weights: {weights}; `router evaluate --data {data} --weights {weights}` measures them")


def evaluate(data: Path, weights: Path | None, card: Path | None, cache: Path) -> None:
    """Measure weights on the sources they name, as far as these lie below `data`."""
    with complaints(), as_file(files("router.value") / "weights" / SHIPPED) as shipped:
        path = weights or shipped
        config = cards.training_config(checkpoints.load(path))
        folders = [data / name for name in (*config.sources, *config.left_out)]
        absent = [folder.name for folder in folders if not folder.is_dir()]
        if absent:
            typer.echo(f"not below {data}, so not measured: {', '.join(absent)}", err=True)
        measured = cards.measure(path, [folder for folder in folders if folder.is_dir()], cache)
        typer.echo(cards.tables(measured))
        if card is not None:
            card.write_text(cards.render(path, measured), encoding="utf-8")
            typer.echo(f"wrote {card}")


def leave_out(data: Path, out: Path, recipe: Path | None, cache: Path, sources: str, seeds: int) -> None:
    """Leave sources out of the recipe one by one; the tables grow in out/leave-out.md with every source."""
    chosen = [name.strip() for name in sources.split(",") if name.strip()]
    with complaints(), as_file(files("router.value") / "weights" / SHIPPED_RECIPE) as shipped:
        config, found = read_recipe(recipe or shipped), []
        for left in leave_each_out(config, data, cache, out, chosen, seeds, typer.echo):
            found.append(left)
            text = left_tables(found)
            (out / "leave-out.md").write_text(text, encoding="utf-8")
        typer.echo(text)


@contextmanager
def complaints() -> Iterator[None]:
    """Errors that the user can mend, told in one line; exit code 2."""
    try:
        yield
    except (BackboneError, CheckpointError, CorpusError, RecipeError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
