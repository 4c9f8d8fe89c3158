"""`router-bench tables`: OUT folders to Markdown. Figures are read; what pairs two lines is redrawn from the cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from benchmarks import cells, output, parts, results, summary, sweep, tables
from benchmarks.outcomes import OutcomesError
from benchmarks.settings import Settings, SettingsError
from benchmarks.tables import Swept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.cells import Fleet
    from benchmarks.results import DataEntry, Part, Results
    from benchmarks.splits import Kind


@dataclass(frozen=True)
class Section:
    """One dataset of one OUT folder: what it is, and its fleets."""

    name: str
    about: str
    fleets: list[Swept]


def read(out: Path, weights: Path | None) -> list[Section]:
    """
    Every dataset of an OUT folder. The data is read again from where the sweep had it.

    Raises `OutcomesError` and `SettingsError`: also where data or weights are not those of the sweep.
    """
    result = results.read(out)
    found = {part.title: part for part in (result, *result.parts.values())}
    if not result.data:
        raise OutcomesError("holds no dataset", out)
    return [_section(out, weights, result, entry, found) for entry in result.data]


def _section(
    out: Path, weights: Path | None, result: Results, entry: DataEntry, found: dict[str, Part]
) -> Section:
    fleets: list[Fleet] = ["all", "left-out"] if result.split == "models" else ["all"]
    titles = {fleet: f"{entry.name}, {output.FLEET_TITLES[fleet]}" for fleet in fleets}
    if any(title not in found for title in titles.values()):
        raise OutcomesError(f"{entry.name}: has no figures yet; `sweep` goes on where it stopped", out)
    in_parts = {fleet: found[title] for fleet, title in titles.items()}
    settings = Settings(
        out=out,
        routers=tuple(in_parts["all"].routers),
        models=tuple(model.name for model in entry.models),
        betas=tuple(result.betas),
        split=cast("Kind", result.split),
        context_size=result.context_size,
        seeds=tuple(result.seeds),
        test_size=result.test_size,
        weights=weights,
    )
    dataset = sweep.prepare(settings, entry.path)
    loaded = [cells.load(task.path) for task in dataset.finished]
    name = entry.name if result.split == "prompts" else f"{entry.name}, split {result.split}"
    of_fleets = []
    for fleet, part in in_parts.items():
        lines, grounds = summary.gather(dataset.outcomes, dataset.splits, loaded, fleet)
        redrawn = parts.measure(part.title, dataset.outcomes, lines, grounds).averaged
        for router, line in part.routers.items():
            if router not in redrawn or redrawn[router].seeds != tuple(line.seeds):
                raise OutcomesError(
                    f"{entry.name}: has no cells of {router} for this data and these weights", out
                )
        of_fleets.append(Swept(name if fleet == "all" else f"{name}, left-out models", part, redrawn))
    whole = in_parts["all"]
    return Section(name, tables.about(entry, whole, result.provenance.peak_mb), of_fleets)


def markdown(sections: Sequence[Section]) -> str:
    """All tables, each under what it is called; those that compare V0 first, of all datasets together."""
    return "\n\n".join(_blocks(sections)) + "\n"


def _blocks(sections: Sequence[Section]) -> Iterator[str]:
    sweeps = [swept for section in sections for swept in section.fleets]
    if any(swept.v0 for swept in sweeps):
        yield "## What the head earns, and what the embedding"
        yield from ("AIQ:", tables.earned(sweeps, "aiq"))
        yield from ("Accuracy at β=1:", tables.earned(sweeps, "accuracy"))
        yield from ("The embedding alone:", tables.embedding(sweeps))
        yield "## Beside the best baseline and the best single model"
        yield from ("Gap closed:", tables.gaps(sweeps))
        yield from ("Accuracy at β=1, V0 less the best single model:", tables.beside_single(sweeps))
        yield from ("Significantly ahead of / behind:", tables.counts(sweeps))
    for section in sections:
        yield from (f"## {section.name}", section.about)
        for swept in section.fleets:
            yield from ([f"### {swept.part.title}"] if len(section.fleets) > 1 else [])
            yield tables.routers(swept.part)


def run(outs: Sequence[Path], weights: Path | None) -> None:
    """Print the tables; a failure is one message and exit status 1."""
    import typer

    try:
        sections = [section for out in outs for section in read(out, weights)]
    except (OutcomesError, SettingsError, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(markdown(sections), nl=False)
