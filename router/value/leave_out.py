"""Leave-one-source-out (`router leave-out`): for each source, weights trained without it, measured on it.

The recipe stays as it is but for the source, which is moved to `left_out`; a source that the recipe leaves out anyway
is measured on weights of the recipe as it is, trained once. Prompts that another source has too, and the weights so
have seen, are not asked about. Every source's scores have a file of their own, so that the command goes on where it
was stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from router.value import checkpoint as checkpoints
from router.value.backbone import Backbone
from router.value.card import some_models
from router.value.corpus import CorpusError, fingerprints
from router.value.evaluate import Score, evaluate
from router.value.train import RecipeError, load_corpus, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.train import TrainConfig

    Floats = NDArray[np.floating]

CONTEXTS = (32, 256, 1024)
OURS, BASELINES = ("v0", "v0-fleet"), ("ridge", "knn")
BARS = {256: 0.03, 1024: 0.02}  # by how much V0 beside the fleet is to lead the better baseline, in AUC
FEW, MANY = 32, 256  # outcomes with which V0 is to be as good as kNN, and kNN's
DRAWS = 2000


@dataclass(frozen=True)
class Left:
    """What weights that never saw a source do on it."""

    source: str
    prompts: int  # that were asked about or shown
    seen: int  # left out of it, because another source has them too
    weights: str  # SHA-256 of the weights' file
    scores: list[Score]


def leave_out(
    config: TrainConfig,
    root: Path,
    cache: Path,
    out: Path,
    names: Sequence[str] = (),
    seeds: int = 3,
    tell: Callable[[str], None] = print,
) -> Iterator[Left]:
    """
    Leave out each named source below `root` in turn, by default all that the recipe names and that are there.

    `seeds` draws of contexts; `tell` hears what is begun. Raises `CorpusError` for a source that is not there, and
    `RecipeError` where `out` holds something made by another recipe.
    """
    known = (*config.sources, *config.left_out)
    chosen = names or [name for name in known if (root / name).is_dir()]
    absent = [name for name in (*chosen, *config.sources) if not (root / name).is_dir()]
    if absent or not chosen:
        raise CorpusError(f"not below {root}: {', '.join(dict.fromkeys(absent or known))}")
    for number, name in enumerate(chosen, 1):
        recipe = without(config, name)
        folder = out / (name if name in config.sources else "as-it-is")
        scores = out / name / f"scores-{seeds}.json"
        _settle(folder, recipe)
        if not scores.is_file():
            tell(f"{number} of {len(chosen)}: {name} left out of {len(config.sources)} sources")
            weights = folder / "v0.safetensors"
            if not weights.is_file():
                train(recipe, root, cache, folder)
            _write(scores, measure(weights, recipe, root / name, cache, seeds))
        yield read(scores)


def without(config: TrainConfig, name: str) -> TrainConfig:
    """The recipe with one source moved to those left out; itself, where that is not among its sources."""
    if name not in config.sources:
        return config
    kept = tuple(source for source in config.sources if source != name)
    if not kept:
        raise RecipeError(f"without {name} the recipe has no source left")
    return replace(config, sources=kept, left_out=(*config.left_out, name))


def measure(weights: Path, config: TrainConfig, folder: Path, cache: Path, seeds: int) -> Left:
    """Score weights on the prompts of a source that they never saw, its models spread evenly."""
    checkpoint = checkpoints.load(weights)
    corpus, _ = load_corpus(folder, config, Backbone.load(checkpoint.backbone), cache)
    seen = np.isin(fingerprints(corpus.source.texts), checkpoint.trained_on)
    prompts = np.flatnonzero(~seen)
    models = some_models(len(corpus.source.models)).tolist()
    scores = evaluate(checkpoint.network, corpus, prompts, models, CONTEXTS, range(seeds))
    kept = [replace(score, valued=None) for score in scores]
    return Left(folder.name, len(prompts), int(seen.sum()), checkpoints.digest(weights), kept)


def tables(found: Sequence[Left]) -> str:
    """Markdown: AUC of every source by context size with V0's lead and the bars; calibration; how many reach them."""
    sizes = [f"N={size}: {' / '.join((*OURS, *BASELINES))}" for size in CONTEXTS]
    leads = [f"lead at N={size}, bar +{bar:.2f}" for size, bar in BARS.items()]
    few = f"N={FEW} less kNN's at {MANY}, bar 0"
    lines = _head(["left out", "prompts", "models", *sizes, *leads, few])
    compared: dict[str, list[tuple[float, float]]] = {title: [] for title in (*leads, few)}
    for left in found:
        auc = _by_predictor(left.scores, "auc")
        cells = [
            " / ".join(f"{_mean(auc[size, p]):.3f}" for p in (*OURS, *BASELINES))
            if (size, "v0") in auc
            else "–"
            for size in CONTEXTS
        ]
        for title, (size, bar) in zip(leads, BARS.items(), strict=True):
            better = max((auc.get((size, name)) for name in BASELINES), key=_mean)
            cells.append(_lead(auc.get((size, "v0-fleet")), better, bar, compared[title]))
        cells.append(_lead(auc.get((FEW, "v0-fleet")), auc.get((MANY, "knn")), 0.0, compared[few]))
        models = len({score.model for score in left.scores})
        lines.append(_line([left.source, f"{left.prompts:,}", str(models), *cells]))
    counted = []
    for title, pairs in compared.items():
        if pairs:
            mean = np.mean([lead for lead, _ in pairs])
            reached = sum(lead >= bar for lead, bar in pairs)
            counted.append(
                f"- {title}: reached on {reached} of {len(pairs)} sources, {mean:+.3f} on average."
            )
    return "\n\n".join("\n".join(part) for part in (lines, counted, _calibration(found)) if part) + "\n"


def read(path: Path) -> Left:
    """One source's scores, as `leave_out` wrote them."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    scores = [
        Score(**{**one, "metrics": {key: _number(value) for key, value in one["metrics"].items()}})
        for one in saved.pop("scores")
    ]
    return Left(**saved, scores=scores)


def _calibration(found: Sequence[Left]) -> list[str]:
    """MSE and ECE of every source that is large enough; nothing where none is."""
    shown = ("v0-fleet", "knn", "mean")
    lines: list[str] = []
    for left in found:
        measured = [_by_predictor(left.scores, metric) for metric in ("mse", "ece")]
        if (MANY, "v0-fleet") in measured[0]:
            cells = [" / ".join(f"{_mean(values[MANY, p]):.3f}" for p in shown) for values in measured]
            lines.append(_line([left.source, *cells]))
    titles = [f"left out, N={MANY}", f"MSE: {' / '.join(shown)}", f"ECE: {' / '.join(shown)}"]
    return [*_head(titles), *lines] if lines else []


def _lead(ours: Floats | None, theirs: Floats | None, bar: float, pairs: list[tuple[float, float]]) -> str:
    """The difference of two tables (models, draws), its paired 95% interval, and whether it reaches the bar."""
    differences = np.empty((0, 1)) if ours is None or theirs is None else ours - theirs
    differences = differences[np.isfinite(differences).any(axis=1)]
    if not len(differences):
        return "–"
    mean = _mean(differences)
    pairs.append((mean, bar))
    low, high = _interval(differences)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}] {'reached' if mean >= bar else 'missed'}"


def _interval(differences: Floats) -> tuple[float, float]:
    """Bootstrap 95% interval over models, and over each one's draws of contexts; every model has a draw."""
    known = np.where(np.isnan(differences), np.nanmean(differences, axis=1, keepdims=True), differences)
    rng = np.random.default_rng(0)
    models, draws = known.shape
    picked = rng.integers(models, size=(DRAWS, models, 1)), rng.integers(draws, size=(DRAWS, models, draws))
    low, high = np.quantile(known[picked].mean(axis=(1, 2)), [0.025, 0.975])
    return float(low), float(high)


def _by_predictor(scores: Sequence[Score], metric: str) -> dict[tuple[int, str], Floats]:
    """Tables (models, draws) of a metric, by context size and predictor; NaN where it is not defined."""
    models = {name: row for row, name in enumerate(dict.fromkeys(score.model for score in scores))}
    draws = 1 + max((score.seed for score in scores), default=0)
    found: dict[tuple[int, str], Floats] = {}
    for score in scores:
        table = found.setdefault((score.context, score.predictor), np.full((len(models), draws), np.nan))
        table[models[score.model], score.seed] = score.metrics[metric]
    return found


def _mean(table: Floats | None) -> float:
    return float("nan") if table is None or np.isnan(table).all() else float(np.nanmean(table))


def _settle(folder: Path, config: TrainConfig) -> None:
    """Note the recipe of a folder before its first run. Raises `RecipeError` where another one is noted."""
    path, fields = folder / "recipe.json", json.loads(json.dumps(asdict(config)))
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != fields:
            raise RecipeError(
                f"{path}: another recipe made what is there; choose another --out, or delete it"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, indent=1), encoding="utf-8")


def _write(path: Path, left: Left) -> None:
    fields = asdict(left)
    for one in fields["scores"]:
        one["metrics"] = {
            key: round(value, 6) if np.isfinite(value) else None for key, value in one["metrics"].items()
        }
        del one["valued"]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(fields), encoding="utf-8")
    partial.replace(path)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _head(titles: Sequence[str]) -> list[str]:
    return [_line(titles), f"|{'---|' * len(titles)}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
