"""Traffic over the SIMULATED fleet, of which the truth is known: every model is asked everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from benchmarks.datasets.generated import generate
from benchmarks.off_policy import Log
from benchmarks.outcomes import read
from router.decide import Decision, decide
from router.store.batch import write_batch
from router.store.engine import open_store
from router.store.rows import CandidateRow
from tests.router.store.rows import decision as decision_row
from tests.router.store.rows import feedback, prompt


@dataclass(frozen=True)
class World:
    """P prompts by M models: what each would do (`scores`, `costs`), and what is expected beforehand."""

    models: tuple[str, ...]
    scores: np.ndarray
    costs: np.ndarray
    values: np.ndarray
    expected_costs: np.ndarray

    def decisions(self, rows, beta, exploration, seed) -> list[Decision]:
        """The gateway's own rule on some prompts."""
        rng, scale = Random(seed), float(self.expected_costs.mean(axis=0).max())
        return [
            decide(
                dict(zip(self.models, map(float, self.values[row]), strict=True)),
                dict(zip(self.models, map(float, self.expected_costs[row]), strict=True)),
                {}, beta, exploration, rng, cost_scale=scale,
            )
            for row in rows
        ]  # fmt: skip

    def log(self, rows, decided, exploration) -> Log:
        """The log of these decisions, as it must come out of a store."""
        column = {model: m for m, model in enumerate(self.models)}
        chosen = np.array([column[each.chosen] for each in decided])
        first = np.array([column[each.candidates[0].model] for each in decided])
        chances = np.full((len(rows), len(self.models)), exploration / len(self.models))
        chances[np.arange(len(rows)), first] += 1 - exploration
        return Log(
            models=self.models,
            chosen=chosen,
            first=first,
            propensities=chances,
            candidates=np.ones_like(chances, dtype=bool),
            drawn=np.eye(len(self.models), dtype=bool)[chosen],
            values=self.values[rows],
            expected_costs=self.expected_costs[rows],
            cost_scales=np.full(len(rows), self.expected_costs.mean(axis=0).max()),
            scores=self.scores[rows, chosen],
            costs=self.costs[rows, chosen],
        )


def world(folder, prompts=300, noise=0.15, seed=0) -> World:
    """The simulated fleet on procedural tasks; a value is the model's mean on the domain, give or take."""
    generate(folder, prompts, seed)
    outcomes = read(folder)
    domains = np.array(outcomes.datasets)
    values = np.zeros_like(outcomes.scores, dtype=np.float64)
    for domain in set(outcomes.datasets):
        values[domains == domain] = outcomes.scores[domains == domain].mean(axis=0)
    values += noise * np.random.default_rng(seed).standard_normal(values.shape)
    return World(
        models=tuple(outcomes.model_names),
        scores=outcomes.scores.astype(np.float64),
        costs=outcomes.costs,
        values=np.clip(values, 0, 1),
        expected_costs=np.broadcast_to(outcomes.costs.mean(axis=0), outcomes.costs.shape),
    )


def write(url, world: World, rows, decided) -> None:
    """Decisions with their outcomes into a store, through its own API."""
    engine = open_store(url)
    column = {model: m for m, model in enumerate(world.models)}
    taken = [
        replace(
            decision_row(f"dec_{i}"),
            created_at=1e9 + i, beta=each.beta, chosen=each.chosen, reason=each.reason, propensity=each.propensity,
            prompt=prompt(f"prompt {row}"), cost_usd=float(world.costs[row, column[each.chosen]]),
            candidates=tuple(CandidateRow(**vars(candidate)) for candidate in each.candidates),
        )
        for i, (row, each) in enumerate(zip(rows, decided, strict=True))
    ]  # fmt: skip
    scores = [
        feedback(each.id, float(world.scores[row, column[each.chosen]]))
        for row, each in zip(rows, taken, strict=True)
    ]
    write_batch(engine, taken, scores)
    engine.dispose()
