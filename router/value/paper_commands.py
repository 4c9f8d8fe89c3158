"""What `router ablate` and `router evaluate --protocol` do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import typer

from router.value import checkpoint as checkpoints
from router.value.ablation import PLAIN, AblationConfig, Study, ablate, results
from router.value.backbone import Backbone
from router.value.commands import complaints
from router.value.corpus import CorpusError, fingerprints
from router.value.protocol_tables import (
    KINDS,
    ablation_tables,
    gradient_table,
    of_kind,
    policies_table,
    predictors_table,
    shortcut_table,
)
from router.value.protocols import (
    Protocol,
    held_prompts,
    policies,
    sequential_trials,
    steps,
    strict_trials,
    value_plainly,
    value_trials,
)
from router.value.train import TrainConfig, load_corpus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.checkpoint import Checkpoint
    from router.value.diagnostics import Valued
    from router.value.episodes import Corpus
    from router.value.protocols import Trial

SEEDS = (0, 1, 2)  # of the contexts, with weights that are there already
MAX_TOKENS = 256


def run_ablation(
    data: Path,
    out: Path,
    cache: Path,
    protocol: str,
    study: str,
    seeds: int,
    budget: AblationConfig,
) -> None:
    """Run what is missing below `out`, then print the tables and write them to out/ablation.md."""
    import torch
    from rich.progress import Progress

    with complaints():
        protocols = _names(protocol, "both", get_args(Protocol), "--protocol")
        studies = _names(study, "all", get_args(Study), "--study")
        torch.set_num_threads(1)  # the tensors are small: more threads only wait for one another
        config = TrainConfig(sources=(data.name,), most_prompts=budget.most_prompts)
        corpus = load_corpus(data, config, Backbone.load(device="cpu"), cache)[0]
        with Progress() as progress:
            bar = progress.add_task("ablate", total=None)
            for done, total, name in ablate(data, corpus, out, budget, range(seeds), protocols, studies):
                progress.update(bar, total=total, completed=done, description=name)
        found = results(out, budget)
        tables = ablation_tables(found)
        seconds = sum(result.seconds for result in found)
        text = f"{len(found)} runs, {seconds:.0f} s in all, budget {budget}\n\n{tables}"
        (out / "ablation.md").write_text(text, encoding="utf-8")
        typer.echo(text)


def evaluate_protocol(data: Path, weights: Path | None, cache: Path, protocol: str) -> None:
    """Weights as they are on one source by one protocol (or `both`); what they were trained on is never asked."""
    with complaints():
        protocols = _names(protocol, "both", get_args(Protocol), "--protocol")
        checkpoint, corpus, seen = weights_and_source(data, weights, cache)
        typer.echo(_provenance(checkpoint, corpus, seen, weights))
        for name in protocols:
            runs: dict[str, list[list[Valued]]] = {key: [] for key in ("v0", *PLAIN)}
            for seed in SEEDS:
                trials = _trials(data, corpus, name, seed, seen)
                for key, valued in _values(checkpoint, corpus, trials).items():
                    runs[key].append(valued)
            for kind, title in KINDS.items():
                named = {key: of_kind(found, kind) for key, found in runs.items()}
                if not named["v0"]:
                    continue
                typer.echo(f"## {title[0].upper()}{title[1:]}\n\n{policies_table(named['v0'])}")
                typer.echo(predictors_table(named))
                typer.echo(f"The shortcut:\n\n{shortcut_table(named)}")
                typer.echo(f"Gradient in the shortcut's span:\n\n{gradient_table(named['v0'])}")


def _provenance(checkpoint: Checkpoint, corpus: Corpus, seen: NDArray[np.bool_], weights: Path | None) -> str:
    """Which weights, and what of the source they were trained on."""
    source = corpus.source
    known = set(checkpoint.training.get("models", {}).get(source.name, ())) & set(source.models)
    lines = [f"weights {weights or 'of the package'}, SHA-256 {checkpoints.digest(weights)}"]
    if seen.any():
        lines.append(
            f"{int(seen.sum())} of {len(seen)} prompts were trained on: never asked about, only context"
        )
    if known:
        names = ", ".join(sorted(known))
        lines.append(
            f"{len(known)} of {len(source.models)} policies were trained on, by such prompts: {names}"
        )
    return "\n".join(lines) + "\n"


def weights_and_source(
    data: Path, weights: Path | None, cache: Path
) -> tuple[Checkpoint, Corpus, NDArray[np.bool_]]:
    """
    Weights (default: those in the package), a source as they read it, and which prompts (P,) trained them.

    Raises `CorpusError`, also for a folder of sources.
    """
    within = sorted(path.parent for path in data.glob("*/prompts.parquet"))
    if within and not (data / "prompts.parquet").is_file():
        raise CorpusError(f"{data} is no source; --protocol takes one, such as {within[0]}")
    checkpoint = checkpoints.load(weights)
    config = TrainConfig(sources=(data.name,), most_prompts=10**9, adapter=checkpoint.network.adapter.config)
    corpus = load_corpus(data, config, Backbone.load(checkpoint.backbone), cache)[0]
    return checkpoint, corpus, np.isin(fingerprints(corpus.source.texts), checkpoint.trained_on)


def _trials(data: Path, corpus: Corpus, protocol: str, seed: int, seen: NDArray[np.bool_]) -> list[Trial]:
    source = corpus.source
    if protocol == "strict":
        return strict_trials(source, held_prompts(data, source, seed, allowed=~seen), seed)
    return [
        trial
        for step in steps(policies(source))
        for trial in sequential_trials(source, step, seed, allowed=~seen)
    ]


def _values(checkpoint: Checkpoint, corpus: Corpus, trials: Sequence[Trial]) -> dict[str, list[Valued]]:
    found = {"v0": value_trials(checkpoint.network, corpus, trials, MAX_TOKENS)}
    return found | {name: value_plainly(predictor, corpus, trials) for name, predictor in PLAIN.items()}


def _names(given: str, every: str, known: tuple[Any, ...], option: str) -> list[Any]:
    if given == every:
        return list(known)
    if given not in known:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(known)}, {every}", param_hint=option)
    return [given]
