from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cells
from benchmarks.splits import split
from tests.benchmarks.outcomes import tiny_outcomes
from tests.benchmarks.routers import MeanRouter, Refitted, material

BETAS = (0.0, 0.5, 1.0)


def test_a_cell_kept_is_the_cell_read(tmp_path):
    given = material()
    cell = cells.run("mean", MeanRouter(), given, split(given.outcomes, "models", 0.3), BETAS, 8)
    cells.save(cell, tmp_path / "deep" / "cell.npz")
    again = cells.load(tmp_path / "deep" / "cell.npz")
    for fleet in ("all", "left-out"):
        np.testing.assert_array_equal(again.choices[fleet], cell.choices[fleet])
        np.testing.assert_array_equal(again.validation[fleet], cell.validation[fleet])
    np.testing.assert_array_equal(again.success, cell.success)
    arrays = {"success": None, "choices": None, "validation": None}
    assert replace(again, **arrays) == replace(cell, **arrays)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["cell.npz"]


def test_beta_zero_takes_the_cheapest_and_one_the_best():
    given = material()
    cell = cells.run("mean", MeanRouter(), given, split(given.outcomes, "prompts"), BETAS, 8)
    assert (cell.choices["all"][0] == 0).all()
    assert (cell.choices["all"][2] == 3).all()
    assert cell.choices["all"].shape == (3, len(cell.success))
    assert list(cell.choices) == ["all"]
    assert cell.new_models_s is None
    assert cell.decide_us > 0
    assert cell.peak_mb > 1


@pytest.mark.parametrize("kind", [MeanRouter, Refitted])
def test_left_out_models_are_known_by_their_context_alone(kind):
    given = material(tiny_outcomes(prompts=120, models=8))
    divided = split(given.outcomes, "models", 0.3, seed=2)
    router = kind()
    cell = cells.run("any", router, given, divided, BETAS, 8)
    known = len(divided.train_models)
    if kind is MeanRouter:
        assert [model.name for model in router.train.models] == [f"model-{m}" for m in divided.train_models]
        assert router.seen.observed.sum(axis=0).tolist() == [8, 8]
        assert not cell.refitted
    else:
        assert router.train.observed[:, divided.test_models].sum(axis=0).tolist() == [8, 8]
        assert router.train.observed[:, divided.train_models].sum() == known * len(divided.train)
        assert not router.validation.observed[:, divided.test_models].any()
        assert np.isnan(router.train.costs[~router.train.observed]).all()
        assert cell.refitted
    assert cell.new_models_s is not None
    # columns stand in the data's order: the mean of a known model is the one that was seen in training
    for m in divided.train_models:
        assert cell.success[0, m] == pytest.approx(given.outcomes.scores[divided.train, m].mean(), abs=1e-6)
    assert set(np.unique(cell.choices["left-out"])) <= set(divided.test_models)


def test_smaller_contexts_are_among_the_larger():
    given = material()
    divided = split(given.outcomes, "models", 0.3)
    train = given.table(divided.train)
    few, many = (cells.shown(train, divided, size).observed for size in (4, 16))
    assert (few <= many).all()
    assert few[:, divided.test_models].sum(axis=0).tolist() == [4, 4]
    none = cells.context_of(cells.shown(train, divided, 0), divided.test_models)
    assert none.scores.shape == (0, 2)


def test_peak_memory_sees_what_was_held():
    with cells.peak_memory() as before:
        pass
    status = Path("/proc/self/status").read_text()
    known = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.endswith("kB")}
    spare = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - known["VmRSS"]
    ) * 1024  # once held, and given back
    with cells.peak_memory() as peak:
        held = np.ones(8_000_000 + max(0, spare) // 8)
        del held
    assert peak[0] - before[0] > 40
