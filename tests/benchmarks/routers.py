"""Routers and material for the tests of the sweep: nothing here loads a backbone."""

from __future__ import annotations

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores
from benchmarks.cells import Material
from tests.benchmarks.outcomes import tiny_outcomes


class MeanRouter(Baseline):
    """Success is the model's mean; remembers what it was shown."""

    name = "mean"
    takes_new_models = True

    def _learn(self, train, validation, seed):
        self.train, self.validation = train, validation
        self._means = mean_scores(train)

    def _learn_models(self, seen):
        self.seen = seen
        self._means = np.concatenate([self._means, mean_scores(seen)])

    def _success(self, queries):
        return np.tile(self._means, (len(queries.texts), 1))


class Refitted(MeanRouter):
    """The same, of the kind that has to be fitted again."""

    name = "refitted"
    takes_new_models = False


class Broken(MeanRouter):
    """Fails to learn."""

    name = "broken"

    def _learn(self, train, validation, seed):
        raise RuntimeError("cannot learn this")


def material(outcomes=None, seed=0):
    """Outcomes with random embeddings."""
    outcomes = outcomes or tiny_outcomes(prompts=120, models=4)
    rng = np.random.default_rng(seed)
    return Material(outcomes, rng.normal(size=(len(outcomes.texts), 8)).astype(np.float32))
