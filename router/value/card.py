"""The model card: what the weights were trained on, and what they do on what they never saw (`router evaluate`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from router.value import checkpoint as checkpoints
from router.value.adapter import AdapterConfig
from router.value.backbone import Backbone
from router.value.episodes import EpisodeConfig
from router.value.evaluate import KEPT_CONTEXT, RIVALS, evaluate
from router.value.protocol_tables import shortcut_table
from router.value.readers import ReaderConfig
from router.value.train import TrainConfig, load_corpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from router.value.checkpoint import Checkpoint
    from router.value.diagnostics import Valued
    from router.value.evaluate import Score

CONTEXTS = (32, 64, 128, 256, 512, 1024)
SEEDS = (0, 1, 2)
MOST_MODELS = 12  # of a source that was left out whole
PREDICTORS = ("v0", "v0-fleet", "ridge", "knn", "mean")
OURS = 2  # of them; the others are what ours are compared with
TITLES = {
    "auc": "Intra-context AUC (higher is better)",
    "pairwise": "Pairwise accuracy, soft, ties lost (higher is better)",
    "pairwise_strict": "Pairwise accuracy, strict: above 0.5 and below it (higher is better)",
    "mse": "Calibration MSE, mean (V − r)² (lower is better)",
    "ece": "Expected calibration error, 10 bins (lower is better)",
}


@dataclass(frozen=True)
class Measured:
    """Scores with the sources they come from: trained on (other prompts and models of it), or left out whole."""

    trained: list[Score]
    left_out: list[Score]


def measure(
    weights: Path,
    folders: Sequence[Path],
    cache: Path,
    contexts: Sequence[int] = CONTEXTS,
    seeds: Sequence[int] = SEEDS,
) -> Measured:
    """Score the weights on each source's held-out prompts × test models; on all of a source not trained on."""
    from rich.progress import track

    checkpoint = checkpoints.load(weights)
    config = training_config(checkpoint)
    backbone = Backbone.load(checkpoint.backbone)
    trained: list[Score] = []
    left_out: list[Score] = []
    for folder in track(folders, description="evaluate"):
        corpus, part = load_corpus(folder, config, backbone, cache)
        if corpus.source.name in config.sources:
            _check_split(checkpoint, corpus.source.name, [corpus.source.models[i] for i in part.test_models])
            prompts, models = part.held_prompts, part.test_models
            target = trained
        else:
            prompts = np.arange(len(corpus.source.texts))
            models = some_models(len(corpus.source.models))
            target = left_out
        target += evaluate(checkpoint.network, corpus, prompts, [int(m) for m in models], contexts, seeds)
    return Measured(trained, left_out)


def some_models(count: int) -> NDArray[np.intp]:
    """Up to `MOST_MODELS` of so many models, spread evenly."""
    return np.unique(np.linspace(0, count - 1, MOST_MODELS).round().astype(np.intp))


def training_config(checkpoint: Checkpoint) -> TrainConfig:
    """The configuration saved in a checkpoint."""
    saved: dict[str, Any] = {
        key: value for key, value in checkpoint.training.items() if key not in ("held", "models")
    }
    saved["sources"], saved["left_out"] = tuple(saved["sources"]), tuple(saved["left_out"])
    saved["episodes"] = EpisodeConfig(**saved["episodes"])
    saved["reader"] = ReaderConfig(**saved["reader"])
    saved["adapter"] = AdapterConfig(**saved["adapter"])
    return TrainConfig(**saved)


def _check_split(checkpoint: Checkpoint, source: str, models: list[str]) -> None:
    """The split is drawn anew; it must be the one that training held out."""
    if checkpoint.training["held"][source]["test_models"] != models:
        raise checkpoints.CheckpointError(
            f"{source}: its files are not the ones these weights were trained on"
        )


def tables(measured: Measured) -> str:
    """Markdown tables of every metric by context size, means over sources, then the AUC source by source."""
    parts = []
    groups = {
        "unseen prompts of unseen models, in sources that were trained on": measured.trained,
        "sources left out of training altogether": measured.left_out,
    }
    for group, scores in groups.items():
        if not scores:
            continue
        parts.append(f"## On {group}\n")
        for metric, title in TITLES.items():
            parts.append(f"### {title}\n\n{_by_context(scores, metric)}")
        parts.append(f"### AUC by source, N=256\n\n{_by_source(scores, 'auc', 256)}")
        if any(score.valued is not None for score in scores):
            parts.append(f"### The shortcut I(Y;C), N={KEPT_CONTEXT}\n\n{_shortcut(scores)}")
    return "\n".join(parts)


def _by_context(scores: Iterable[Score], metric: str) -> str:
    by_size: dict[int, list[Score]] = defaultdict(list)
    for score in scores:
        by_size[score.context].append(score)
    lines = [
        f"| N | sources | {' | '.join(PREDICTORS)} | v0 − best other, 95% | v0-fleet − best other |",
        "|---|---|" + "---|" * (len(PREDICTORS) + OURS),
    ]
    for size, group in sorted(by_size.items()):
        sources = len({score.source for score in group})
        lines.append(f"| {size} | {sources} | {_row(group, metric)} |")
    return "\n".join(lines) + "\n"


def _by_source(scores: Iterable[Score], metric: str, context: int) -> str:
    by_source: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if score.context == context:
            by_source[score.source].append(score)
    lines = [
        f"| source | models | {' | '.join(PREDICTORS)} | v0 − best other, 95% | v0-fleet − best other |",
        "|---|---|" + "---|" * (len(PREDICTORS) + OURS),
    ]
    for source, group in sorted(by_source.items()):
        lines.append(f"| {source} | {len({score.model for score in group})} | {_row(group, metric)} |")
    return "\n".join(lines) + "\n"


def _shortcut(scores: Iterable[Score]) -> str:
    """The diagnostics of `router.value.diagnostics`, source by source, for V0 and the context's mean."""
    runs: dict[str, dict[int, list[Valued]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        if score.valued is not None:
            runs[f"{score.source}, {score.predictor}"][score.seed].append(score.valued)
    return shortcut_table({name: list(seeds.values()) for name, seeds in sorted(runs.items())})


def _row(group: list[Score], metric: str) -> str:
    """Each predictor's mean (over sources, each the mean of its models and seeds) and the paired difference."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in group:
        if np.isfinite(score.metrics[metric]):
            cells[score.source, score.model][score.predictor].append(score.metrics[metric])
    policies = list(cells)
    table = np.array(
        [[np.mean(cells[key][p]) for p in PREDICTORS] for key in policies]
    )  # (models, predictors)
    sources = np.array([source for source, _ in policies])
    means = _mean_over_sources(table, sources)
    others = means[OURS:]
    best = OURS + int(others.argmin() if metric in {"mse", "ece"} else others.argmax())
    shown = []
    for ours in range(OURS):
        least, most = _interval(table[:, ours], sources)
        shown.append(f"{means[ours]:.3f} [{least:.3f}, {most:.3f}]")
    shown += [f"{mean:.3f}" for mean in others]
    for ours in range(OURS):
        low, high = _interval(table[:, ours] - table[:, best], sources)
        shown.append(f"{means[ours] - means[best]:+.3f} [{low:+.3f}, {high:+.3f}] vs {PREDICTORS[best]}")
    return " | ".join(shown)


def _mean_over_sources(table: np.ndarray[Any, Any], sources: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.mean([table[sources == name].mean(0) for name in np.unique(sources)], axis=0)


def _interval(
    differences: np.ndarray[Any, Any], sources: np.ndarray[Any, Any], draws: int = 2000
) -> tuple[float, float]:
    """Bootstrap 95% interval over policies within source."""
    rng = np.random.default_rng(0)
    means = [
        rng.choice(differences[sources == name], (draws, int((sources == name).sum()))).mean(1)
        for name in np.unique(sources)
    ]
    low, high = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    return float(low), float(high)


def render(weights: Path, measured: Measured) -> str:
    """The whole card in Markdown."""
    checkpoint = checkpoints.load(weights)
    config = training_config(checkpoint)
    parameters = sum(p.numel() for p in checkpoint.network.parameters())
    held = "\n".join(
        f"| {name} | {', '.join(models['validation_models']) or '–'} | {', '.join(models['test_models']) or '–'} |"
        for name, models in checkpoint.training["held"].items()
    )
    return CARD.format(
        parameters=f"{parameters / 1e6:.2f}",
        size=f"{weights.stat().st_size / 1e6:.1f}",
        backbone=checkpoint.backbone,
        version=checkpoint.backbone_version,
        head=checkpoint.network.head.config,
        connector=config.adapter.connector,
        rivals=RIVALS,
        steps=config.steps,
        seed=config.seed,
        note=config.note,
        episodes=config.episodes,
        held_prompts=f"{config.held_prompts:.0%}",
        sources=", ".join(config.sources),
        left_out=", ".join(config.left_out) or "none",
        held=held,
        tables=tables(measured),
    )


CARD = """# Model card: the V0 weights in this package

Written by `router evaluate --card`; every figure below was computed by that command on these weights.

- **What it is.** A generalist value model (arXiv 2602.03584): reads what a model did on N prompts and predicts
  its success on a new one. Backbone {backbone} ({version}), connector `{connector}`, `icl` head.
- **Size.** {parameters} M trained parameters, {size} MB on disk (float16). Apache-2.0.
- **Head.** {head}
- **Training.** {steps} steps, seed {seed}, composite loss (Eq. 8, α=0.25) and ranking across a fleet's models,
  averaged weights; {episodes}. {note}
- **Trained on.** Public outcome data: {sources}. Of each, {held_prompts} of the prompts and the models below
  were held out. Sources whose licence forbids commercial use were not trained on.
- **Left out whole.** {left_out}.
- **Limits.** English and some Chinese, short and medium prompts (256 tokens are read); outcomes of mixed kinds
  (exact match, test runs, judges); model names and prices are never seen. Values are calibrated on average over
  these sources, not on yours: give it outcomes of your own.

| source | models for validation | models for test |
|---|---|---|
{held}

Below, `v0` reads the N outcomes of the model alone, `v0-fleet` also those of up to {rivals} other models on the same
prompts, as the gateway does. `mean` is the context's mean outcome (a constant per context: AUC .5, pairwise
accuracy 0 by ties), `knn`
and `ridge` read the same context rows through the backbone's pooled embedding, with k and λ chosen by
leave-one-out error inside the context. Rows are means over sources, each the mean of its models and of 3 context
draws; intervals are bootstraps over models within source. A row covers the sources with enough prompts for it,
so rows of different N cover different sources.

{tables}"""
