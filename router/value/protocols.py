"""The paper's two protocols (arXiv 2602.03584), over one source in the native folder format.

**Strict generalisation by query id**: prompts are held out whole. No policy's outcome on them is trained on, neither as
a query nor as context; every policy is then asked about them, from a context of its other outcomes.

**Sequential alignment**: policies are checkpoints of a training run, named `family@step16`. Step by step, the newest
checkpoints are valued before anything of them has been trained on, from their own latest outcomes (`aligned`) and, to
see what that earns, from those of the checkpoint before (`stale`).

Metrics are per policy, that is per model and step, and only then averaged: pooled over policies they would reward
telling strong ones from weak ones, which is the shortcut that `router.value.diagnostics` measures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch

from router.value.corpus import CorpusError, fingerprints
from router.value.diagnostics import Valued, difficulty
from router.value.evaluate import embed_corpus
from router.value.metrics import auc, calibration_mse, pairwise_accuracy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.corpus import Source
    from router.value.episodes import Corpus
    from router.value.network import ValueNetwork

    Floats = NDArray[np.floating]
    Rows = NDArray[np.intp]

Protocol = Literal["strict", "sequential"]
CONTEXT = 256  # rows, the paper's
HELD = 0.3  # of the prompts, in the strict protocol
LEAST_QUERIES = 24  # of a policy; with fewer it is left out

METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "auc": auc,
    "pair_soft": pairwise_accuracy,
    "pair_strict": lambda values, outcomes: pairwise_accuracy(values, outcomes, strict=True),
    "mse": calibration_mse,
}
TITLES = {"auc": "AUC", "pair_soft": "pairs, soft", "pair_strict": "pairs, strict", "mse": "MSE"}


@dataclass(frozen=True)
class Policy:
    """A column of the outcomes: a checkpoint of a family, or a model that is no checkpoint (step None)."""

    name: str
    family: str
    step: int | None
    column: int


@dataclass(frozen=True)
class Trial:
    """One policy's context and queries, as rows of the source; `column` is whose outcomes the context shows."""

    policy: Policy
    kind: str  # strict, aligned, stale
    column: int
    context: Rows  # (N,)
    queries: Rows  # (M,), never in the context


def policies(source: Source) -> list[Policy]:
    """The source's columns, by family and step; `name@step16` is step 16 of `name`."""
    found = []
    for column, name in enumerate(source.models):
        match = re.fullmatch(r"(.+)@step(\d+)", name)
        family, step = (match[1], int(match[2])) if match else (name, None)
        found.append(Policy(name, family, step, column))
    return sorted(found, key=lambda policy: (policy.family, policy.step or 0))


def steps(found: Sequence[Policy]) -> list[int]:
    """The training steps, ascending. Raises `CorpusError` where there are fewer than two to put in sequence."""
    numbers = sorted({policy.step for policy in found if policy.step is not None})
    if len(numbers) < 2:
        raise CorpusError(
            "sequential alignment needs policies of two training steps or more, named like model@step16"
        )
    return numbers


def held_prompts(
    folder: Path,
    source: Source,
    seed: int,
    share: float = HELD,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """
    Which prompts (P,) the strict protocol holds out, of those `allowed` (P,), by default all.

    Prompts of the same letters and digits stay together. Where the folder has a splits.parquet (prompt_id, part),
    what it calls test or validity is held out in any case.
    """
    keys = fingerprints(source.texts)
    unique = np.unique(keys)
    able = unique if allowed is None else np.setdiff1d(unique, keys[~allowed])
    drawn = np.random.default_rng([seed, len(unique)]).permutation(able)[: round(share * len(unique))]
    held = np.isin(keys, drawn)
    path = folder / "splits.parquet"
    if path.is_file():
        splits = pd.read_parquet(path)
        if not {"prompt_id", "part"} <= set(splits.columns):
            raise CorpusError(f"{path}: needs the columns prompt_id and part")
        kept_back = set(splits.loc[splits["part"].isin(["test", "validity"]), "prompt_id"].astype(str))
        named = np.isin(source.prompt_ids, list(kept_back))
        held |= np.isin(keys, np.intersect1d(keys[named], able))
    return held


def strict_trials(source: Source, held: NDArray[np.bool_], seed: int, context: int = CONTEXT) -> list[Trial]:
    """Every policy on its held-out prompts, from `context` of its others (or as many as there are)."""
    trials = []
    for policy in policies(source):
        rng = np.random.default_rng([seed, policy.column])
        rows = np.flatnonzero(np.isfinite(source.scores[:, policy.column]))
        queries, others = rows[held[rows]], rng.permutation(rows[~held[rows]])
        if len(queries) >= LEAST_QUERIES:
            trials.append(Trial(policy, "strict", policy.column, others[:context], queries))
    if not trials:
        raise CorpusError(f"{source.name}: no policy has {LEAST_QUERIES} outcomes on held-out prompts")
    return trials


def sequential_trials(
    source: Source,
    step: int,
    seed: int,
    context: int = CONTEXT,
    allowed: NDArray[np.bool_] | None = None,
) -> list[Trial]:
    """
    The checkpoints of one step, each from its own outcomes and from those of its family's step before.

    `allowed` (P,) says which prompts may be asked about, all by default; the others still make contexts.
    """
    found = policies(source)
    trials = []
    for policy in (policy for policy in found if policy.step == step):
        rng = np.random.default_rng([seed, policy.column])
        rows = rng.permutation(np.flatnonzero(np.isfinite(source.scores[:, policy.column])))
        if allowed is not None:  # what may not be asked about comes first, and so into the context
            rows = rows[np.argsort(allowed[rows], kind="stable")]
        size = min(context, len(rows) - LEAST_QUERIES)
        queries = rows[size:] if allowed is None else rows[size:][allowed[rows[size:]]]
        if size < 1 or len(queries) < LEAST_QUERIES:
            continue
        trials.append(Trial(policy, "aligned", policy.column, rows[:size], queries))
        before = [p for p in found if p.family == policy.family and p.step is not None and p.step < step]
        if before:
            column = max(before, key=lambda p: p.step or 0).column
            old = np.setdiff1d(np.flatnonzero(np.isfinite(source.scores[:, column])), queries)
            trials.append(Trial(policy, "stale", column, rng.permutation(old)[:size], queries))
    return trials


@torch.inference_mode()
def value_trials(
    network: ValueNetwork,
    corpus: Corpus,
    trials: Sequence[Trial],
    max_tokens: int,
) -> list[Valued]:
    """The network on every trial."""
    rows = np.unique(np.concatenate([part for t in trials for part in (t.context, t.queries)]))
    embeddings = embed_corpus(network, corpus, rows, max_tokens)
    found = []
    for trial in trials:
        seen, asked = (embeddings[np.searchsorted(rows, part)] for part in (trial.context, trial.queries))
        labels = torch.from_numpy(corpus.source.scores[trial.context, trial.column])
        context = network.head.read(seen, labels[None])
        values = torch.sigmoid(network.head.value(asked, context))[0].numpy()
        found.append(_valued(corpus.source, trial, values))
    return found


def value_plainly(
    predictor: Callable[[Floats, Floats, Floats], Floats], corpus: Corpus, trials: Sequence[Trial]
) -> list[Valued]:
    """A predictor of (context's pooled states, outcomes, queries' pooled states) on every trial."""
    return [
        _valued(
            corpus.source,
            trial,
            predictor(
                corpus.pooled[trial.context],
                corpus.source.scores[trial.context, trial.column],
                corpus.pooled[trial.queries],
            ),
        )
        for trial in trials
    ]


def context_mean(seen: Floats, labels: Floats, asked: Floats) -> Floats:  # noqa: ARG001
    """The shortcut itself: the context's mean outcome, whatever is asked."""
    return np.full(len(asked), labels.mean(), dtype=np.float32)


def _valued(source: Source, trial: Trial, values: Floats) -> Valued:
    column = trial.policy.column
    return Valued(
        trial.policy.name,
        trial.kind,
        values,
        source.scores[trial.queries, column],
        float(source.scores[trial.context, trial.column].mean()),
        difficulty(source.scores, trial.queries, column),
        trial.queries,
    )
