"""Training episodes: a context and queries of one source, labelled by many policies at once.

An episode draws prompts of one source, once, and several policies that share them; the first N prompts are the
context, the rest the queries. So that the head meets more policies than there are models, some are mixtures of
two models (one on one side of a random plane through the prompts, another beyond it), and some are synthetic:
their success depends on topic and form alone, sharply or hardly. Real outcomes are noisy everywhere; from the
synthetic ones the head learns to believe a context that is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.value.corpus import Source, StoredStates


@dataclass(frozen=True)
class Corpus:
    """One source with what its prompts look like to V0."""

    source: Source
    states: StoredStates | None  # None where token states are not read
    pooled: NDArray[np.float32]  # (P, H), normalised
    structure: NDArray[np.float32]  # (P, S)
    layers: NDArray[np.float16] | None = None  # (P, L, H), means of every layer's states, where they are read


@dataclass(frozen=True)
class Split:
    """Which prompts and models of a source may be trained on; the rest is for validation and test."""

    train_prompts: NDArray[np.intp]
    held_prompts: NDArray[np.intp]
    train_models: NDArray[np.intp]
    validation_models: NDArray[np.intp]
    test_models: NDArray[np.intp]


def split(source: Source, held_prompts: float, held_models: float, seed: int) -> Split:
    """
    Split by prompt and by model.

    At least two models are held out where there are five or more, half for validation and half for test.
    """
    rng = np.random.default_rng([seed, len(source.texts)])
    prompts = rng.permutation(len(source.texts))
    cut = round(len(prompts) * held_prompts)
    models = rng.permutation(len(source.models))
    held = max(2, round(len(models) * held_models)) if len(models) >= 5 else 0
    middle = held // 2
    return Split(
        train_prompts=np.sort(prompts[cut:]),
        held_prompts=np.sort(prompts[:cut]),
        train_models=np.sort(models[held:]),
        validation_models=np.sort(models[:middle]),
        test_models=np.sort(models[middle:held]),
    )


@dataclass(frozen=True)
class Episode:
    """
    `rows` (N+M) of one corpus; labels and mask (B, N+M), NaN-free; the first `context` rows are context.

    The policies are read `together` as a fleet, or each by itself; `seen` (B, N) are the rows that each may read.
    """

    corpus: Corpus
    rows: NDArray[np.intp]
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    context: int
    seen: NDArray[np.bool_]
    together: bool


@dataclass(frozen=True)
class EpisodeConfig:
    """How episodes are drawn."""

    policies: int = 16  # at most, and fewer over long contexts
    tokens: int = 12000  # policies × prompts of one episode, about: every step costs the same
    queries: int = 128
    least_context: int = 8
    most_context: int = 1024
    together: float = 0.6  # share of episodes whose policies are read as a fleet
    newcomers: float = 0.16  # share of a fleet's policies that have only a few of the rows
    mixture: float = 0.2  # share of policies that are mixtures of two models
    synthetic: float = 0.15  # share of policies made up from topic and form
    single_dataset: float = 0.25  # share of episodes inside one dataset, where topic says little


class EpisodeSampler:
    """Draws episodes from many sources; a source's weight grows with the square root of its outcomes."""

    def __init__(self, corpora: list[tuple[Corpus, Split]], config: EpisodeConfig, seed: int) -> None:
        self._corpora = corpora
        self._config = config
        self._seed = seed
        sizes = [
            np.isfinite(corpus.source.scores[np.ix_(part.train_prompts, part.train_models)]).sum()
            for corpus, part in corpora
        ]
        weights = np.sqrt(np.array(sizes, dtype=float))
        self._weights = weights / weights.sum()

    def draw(self, step: int) -> Episode:
        """The episode of one step: the same for the same seed, whatever was drawn before."""
        config, rng = self._config, np.random.default_rng([self._seed, step])
        corpus, part = self._corpora[rng.choice(len(self._corpora), p=self._weights)]
        scores = corpus.source.scores
        seed_model = rng.choice(part.train_models)
        prompts = part.train_prompts[np.isfinite(scores[part.train_prompts, seed_model])]
        if rng.random() < config.single_dataset:
            prompts = _inside_one_dataset(prompts, corpus.source.datasets, rng)
        rng.shuffle(prompts)
        most = min(config.most_context, len(prompts) * 3 // 4)
        context = int(
            np.exp(rng.uniform(np.log(config.least_context), np.log(max(most, config.least_context + 1))))
        )
        rows = prompts[: context + config.queries]
        labels = scores[rows].T  # (all models, N+M)
        able = part.train_models[np.isfinite(labels[part.train_models]).mean(axis=1) > 0.3]
        policies = min(config.policies, max(2, config.tokens // len(rows)))
        together = bool(rng.random() < config.together)
        if together:
            policies = int(rng.integers(2, policies + 1))
        drawn = labels[rng.choice(able, policies, replace=len(able) < policies)]
        kind = rng.random(policies)
        for i in np.flatnonzero(kind < config.mixture):
            drawn[i] = _mixture(labels, rng.choice(able, 2), corpus.pooled[rows], rng)
        for i in np.flatnonzero(kind > 1 - config.synthetic):
            drawn[i] = _synthetic(corpus.pooled[rows], corpus.structure[rows], rng)
        mask = np.isfinite(drawn)
        seen = mask[:, :context].copy()
        if together:
            for i in np.flatnonzero(rng.random(policies) < config.newcomers):
                seen[i, int(np.exp(rng.uniform(0, np.log(max(2, context))))) :] = False
        return Episode(
            corpus, rows, np.where(mask, drawn, 0).astype(np.float32), mask, context, seen, together
        )


def _inside_one_dataset(
    prompts: NDArray[np.intp], datasets: list[str], rng: np.random.Generator
) -> NDArray[np.intp]:
    names = np.array([datasets[i] for i in prompts])
    inside = prompts[names == rng.choice(names)]
    return inside if len(inside) >= 24 else prompts


def _mixture(
    labels: NDArray[np.float32], pair: NDArray[np.intp], pooled: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    along = pooled @ rng.standard_normal(pooled.shape[1])
    beyond = along > np.quantile(along, rng.uniform(0.2, 0.8))
    return np.where(beyond, labels[pair[0]], labels[pair[1]])


def _synthetic(
    pooled: NDArray[np.float32], structure: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Outcomes (N,) of a policy whose chance depends on the nearest of some topics, and perhaps on the form."""
    topics = min(len(pooled), round(np.exp(rng.uniform(np.log(2), np.log(40)))))
    centres = pooled[rng.choice(len(pooled), topics, replace=False)]
    sharpness = rng.choice([0.1, 0.3, 1.0])  # of Beta: near 0 or 1, or anything between
    chance = rng.beta(sharpness, sharpness, topics)[(pooled @ centres.T).argmax(1)]
    if rng.random() < 0.5:
        form = structure @ rng.standard_normal(structure.shape[1])
        form = (form - form.mean()) / (form.std() + 1e-6)
        chance = chance / (1 + np.exp(-rng.uniform(1, 6) * (form - rng.uniform(-1.5, 0.5))))
    partial = rng.random() < 0.1
    return (chance if partial else rng.random(len(chance)) < chance).astype(np.float32)
