"""Small outcome matrices for the tests of the benchmarks."""

from __future__ import annotations

import numpy as np

from benchmarks.outcomes import ModelFacts, Outcomes


def tiny_outcomes(prompts=60, models=8, datasets=3, seed=0, name="tiny"):
    """Random outcomes in which later models are better and dearer; every pair observed, costs recorded."""
    rng = np.random.default_rng(seed)
    skill = np.linspace(0.3, 0.9, models)
    scores = (rng.random((prompts, models)) < skill).astype(np.float32)
    tokens = rng.integers(20, 200, (prompts, models)).astype(np.float32)
    facts = tuple(
        ModelFacts(f"model-{m}", 0.1 * 2**m, 0.4 * 2**m, parameters=float(2**m)) for m in range(models)
    )
    prices = np.array([facts[m].output_price for m in range(models)])
    return Outcomes(
        name=name,
        prompt_ids=[f"p{i}" for i in range(prompts)],
        texts=[f"Question {i} of dataset {i % datasets}" for i in range(prompts)],
        datasets=[f"dataset-{i % datasets}" for i in range(prompts)],
        models=facts,
        scores=scores,
        costs=tokens.astype(np.float64) * prices / 1e6,
        input_tokens=np.full((prompts, models), 10, dtype=np.float32),
        output_tokens=tokens,
        cost_kind="recorded",
    )
