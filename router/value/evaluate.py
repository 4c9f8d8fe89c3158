"""Measuring V0 against predictors that need no training, on prompts and models that it never saw.

Every predictor gets the same context rows of the same policy and values the same held-out prompts. kNN and
ridge read the backbone's pooled embedding and choose k or λ by leave-one-out error inside the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from router.value.diagnostics import Valued, difficulty
from router.value.metrics import auc, calibration_mse, expected_calibration_error, pairwise_accuracy
from router.value.train import embed_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.value.episodes import Corpus
    from router.value.network import ValueNetwork

    Floats = NDArray[np.float32]

NEIGHBOURS = (4, 8, 16, 32, 64, 128)
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
RIVALS = 11  # other models whose outcomes on the same prompts V0 reads as well, where it reads a fleet
KEPT, KEPT_CONTEXT = ("v0", "mean"), 256
METRICS = {
    "auc": auc,
    "pairwise": pairwise_accuracy,
    "pairwise_strict": lambda v, r: pairwise_accuracy(v, r, strict=True),
    "mse": calibration_mse,
    "ece": expected_calibration_error,
}


@dataclass(frozen=True)
class Score:
    """One predictor's metrics for one policy, context and seed."""

    source: str
    model: str
    predictor: str
    context: int
    seed: int
    metrics: dict[str, float]
    valued: Valued | None = None  # kept at N=256 for V0 and the context's mean, for the diagnostics


@torch.inference_mode()
def embed_corpus(
    network: ValueNetwork, corpus: Corpus, rows: NDArray[np.intp], max_tokens: int
) -> torch.Tensor:
    """V0's embeddings (len(rows), D) of stored prompts, in batches of 256."""
    chunks = (rows[start : start + 256] for start in range(0, len(rows), 256))
    return torch.cat([embed_rows(network, corpus, chunk, max_tokens, "cpu") for chunk in chunks])


@torch.inference_mode()
def evaluate(
    network: ValueNetwork,
    corpus: Corpus,
    prompts: NDArray[np.intp],
    models: Sequence[int],
    contexts: Sequence[int],
    seeds: Sequence[int],
    max_tokens: int = 256,
    most_queries: int = 1000,
    baselines: bool = True,
) -> list[Score]:
    """Scores of every predictor on `prompts` × `models`; a context that leaves fewer than 24 queries is skipped."""
    embeddings = embed_corpus(network, corpus, prompts, max_tokens)
    scores: list[Score] = []
    for seed in seeds:
        for model in models:
            labels = corpus.source.scores[prompts, model]
            rows = np.random.default_rng([seed, model]).permutation(np.flatnonzero(np.isfinite(labels)))
            for size in contexts:
                seen, asked = rows[:size], rows[-min(most_queries, len(rows) - size) :]
                if len(rows) < size + 24:
                    continue
                fleet = _fleet(corpus.source.scores[prompts[seen]], model, seed)
                values = {
                    "v0": _values(network, embeddings, seen, asked, fleet[:1]),
                    "v0-fleet": _values(network, embeddings, seen, asked, fleet),
                }
                if baselines:
                    x, q = corpus.pooled[prompts[seen]], corpus.pooled[prompts[asked]]
                    values["mean"] = np.full(len(asked), labels[seen].mean(), dtype=np.float32)
                    values["knn"] = knn(x, labels[seen], q)
                    values["ridge"] = ridge(x, labels[seen], q)
                name = corpus.source.models[model]
                for predictor, predicted in values.items():
                    found = {key: metric(predicted, labels[asked]) for key, metric in METRICS.items()}
                    valued = None
                    if size == KEPT_CONTEXT and predictor in KEPT:
                        hard = difficulty(corpus.source.scores, prompts[asked], model)
                        prior = float(labels[seen].mean())
                        valued = Valued(
                            name, "held out", predicted, labels[asked], prior, hard, prompts[asked]
                        )
                    scores.append(Score(corpus.source.name, name, predictor, size, seed, found, valued))
    return scores


def _fleet(scores: Floats, model: int, seed: int) -> Floats:
    """Outcomes (B, N) of a model, first, and of up to `RIVALS` others that answered the same prompts; NaN where not."""
    answered = np.isfinite(scores).mean(0) > 0.5
    answered[model] = False
    others = np.random.default_rng([seed, model, 1]).permutation(np.flatnonzero(answered))[:RIVALS]
    return scores[:, [model, *others]].T


def _values(
    network: ValueNetwork,
    embeddings: torch.Tensor,
    seen: NDArray[np.intp],
    asked: NDArray[np.intp],
    fleet: Floats,
) -> Floats:
    """Values of the first model of a fleet on `asked`, from the fleet's outcomes (B, N) on `seen`."""
    labels, mask = torch.from_numpy(np.nan_to_num(fleet)), torch.from_numpy(np.isfinite(fleet))
    context = network.head.read(embeddings[seen], labels, mask, together=len(fleet) > 1)
    return torch.sigmoid(network.head.value(embeddings[asked], context))[0].numpy()


def knn(x: Floats, labels: Floats, queries: Floats) -> Floats:
    """Mean outcome of the k nearest rows by cosine; k by leave-one-out error."""
    inside = x @ x.T
    np.fill_diagonal(inside, -np.inf)
    order, asked = np.argsort(-inside, axis=1), np.argsort(-(queries @ x.T), axis=1)
    allowed = [k for k in NEIGHBOURS if k < len(x)] or [max(1, len(x) - 1)]
    errors = [np.mean((labels[order[:, :k]].mean(1) - labels) ** 2) for k in allowed]
    best = allowed[int(np.argmin(errors))]
    return np.asarray(labels[asked[:, :best]].mean(1), dtype=np.float32)


def ridge(x: Floats, labels: Floats, queries: Floats) -> Floats:
    """Ridge regression on the centred embedding, clipped to [0, 1]; λ by closed-form leave-one-out error."""
    middle, mean = x.mean(0), labels.mean()
    centred, y = x - middle, labels - mean
    gram = centred @ centred.T
    eigenvalues, vectors = np.linalg.eigh(gram)
    turned = vectors.T @ y
    best, best_error = None, np.inf
    for penalty in PENALTIES:
        shrink = 1 / (np.maximum(eigenvalues, 0) + penalty)
        dual = vectors @ (shrink * turned)
        diagonal = (vectors**2 * shrink).sum(1)
        error = float(np.mean((dual / diagonal) ** 2))
        if error < best_error:
            best, best_error = dual, error
    predicted = (queries - middle) @ (centred.T @ best) + mean
    return np.clip(predicted, 0, 1).astype(np.float32)
