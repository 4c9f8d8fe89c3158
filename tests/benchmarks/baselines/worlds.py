"""Synthetic outcomes in which the topic of a prompt decides which model succeeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.baselines.base import Table
from benchmarks.outcomes import ModelFacts

TOPICS = (
    "Write a rhymed poem about the harbour, the moon and verse",
    "Compute the integral and the sum, and prove the equation 3x + 7 = 22",
    "May the tenant sue under this contract before the civil court?",
    "def sort(items): fix the python code; return the loop ->",
)
WIDTH = 16  # of the embeddings
SURE = 0.95  # chance of success on a model's own topic


@dataclass(frozen=True)
class World:
    """What a router learns from and is tried on. `chances` (P, M) are the test prompts' true ones."""

    train: Table
    validation: Table
    test: Table
    chances: np.ndarray

    def with_values(self, embed):
        """The same world as V0 sees it."""
        return replace(
            self,
            **{
                name: replace(part, value_embeddings=embed(part.texts))
                for name in ("train", "validation", "test")
                for part in [getattr(self, name)]
            },
        )


def world(train=240, validation=60, test=80, models=6, gaps=0.05, seed=0) -> World:
    """Model m is sure of topic m mod 4 and fails elsewhere; later models cost more; a few pairs are missing."""
    return World(
        train=_table(train, models, gaps, seed)[0],
        validation=_table(validation, models, gaps, seed + 100)[0],
        test=_table(test, models, gaps, seed + 200)[0],
        chances=_table(test, models, gaps, seed + 200)[1],
    )


def blank(table: Table, models) -> Table:
    """The table without any outcome of some models."""
    scores, costs = table.scores.copy(), table.costs.copy()
    scores[:, models] = np.nan
    costs[:, models] = np.nan
    return replace(table, scores=scores, costs=costs)


def _table(prompts, models, gaps, seed):
    rng = np.random.default_rng(seed)
    topics = rng.integers(len(TOPICS), size=prompts)
    centres = np.eye(len(TOPICS), WIDTH)
    embeddings = centres[topics] + 0.1 * rng.standard_normal((prompts, WIDTH))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    chances = np.where(topics[:, None] == np.arange(models) % len(TOPICS), SURE, 1 - SURE)
    scores = (rng.random((prompts, models)) < chances).astype(np.float32)
    costs = 1e-4 * 2.0 ** np.arange(models) * rng.uniform(0.5, 1.5, (prompts, models))
    missing = rng.random((prompts, models)) < gaps
    scores[missing] = np.nan
    costs[missing] = np.nan
    table = Table(
        embeddings=embeddings.astype(np.float32),
        texts=[f"{TOPICS[topic]} (number {i})" for i, topic in enumerate(topics)],
        datasets=[f"dataset-{topic}" for topic in topics],
        scores=scores,
        costs=costs,
        models=tuple(ModelFacts(f"model-{m}", 0.1 * 2**m, 0.4 * 2**m) for m in range(models)),
    )
    return table, chances
