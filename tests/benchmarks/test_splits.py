from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.outcomes import OutcomesError
from benchmarks.splits import split
from tests.benchmarks.outcomes import tiny_outcomes


@pytest.mark.parametrize("kind", ["prompts", "models", "datasets"])
def test_parts_are_disjoint_whole_and_the_same_for_the_same_seed(kind):
    outcomes = tiny_outcomes(prompts=100, datasets=5)
    divided, again = split(outcomes, kind, 0.2, seed=3), split(outcomes, kind, 0.2, seed=3)
    together = np.sort(np.concatenate([divided.train, divided.validation, divided.test]))
    np.testing.assert_array_equal(together, np.arange(100))
    np.testing.assert_array_equal(divided.test, again.test)
    np.testing.assert_array_equal(divided.test_models, again.test_models)
    assert len(divided.test) == pytest.approx(20, abs=3)
    assert not np.array_equal(split(outcomes, kind, 0.2, seed=4).test, divided.test)


def test_random_prompts_are_drawn_within_each_dataset():
    outcomes = tiny_outcomes(prompts=100, datasets=5)
    test = split(outcomes, "prompts", 0.2, seed=0).test
    counts = [sum(outcomes.datasets[row] == f"dataset-{d}" for row in test) for d in range(5)]
    assert all(3 <= count <= 5 for count in counts)


def test_datasets_of_one_prompt_each_are_still_tested_on():
    outcomes = tiny_outcomes(prompts=200, datasets=200)
    assert 15 <= len(split(outcomes, "prompts", 0.2, seed=0).test) <= 70


def test_a_quarter_of_the_models_is_left_out_weak_and_strong_ones():
    outcomes = tiny_outcomes(prompts=100, models=8)
    divided = split(outcomes, "models", 0.2, seed=1)
    assert len(divided.test_models) == 2
    assert sorted([*divided.train_models, *divided.test_models]) == list(range(8))
    assert divided.test_models[0] < 5 <= divided.test_models[1] + 2
    with pytest.raises(OutcomesError, match="needs four models"):
        split(tiny_outcomes(models=3), "models")


def test_whole_datasets_are_left_out():
    outcomes = tiny_outcomes(prompts=100, datasets=5)
    divided = split(outcomes, "datasets", 0.2, seed=1)
    tested = {outcomes.datasets[row] for row in divided.test}
    assert tested == set(divided.held_datasets)
    assert not tested & {outcomes.datasets[row] for row in (*divided.train, *divided.validation)}
    with pytest.raises(OutcomesError, match="two datasets"):
        split(tiny_outcomes(datasets=1), "datasets")


def test_one_dataset_is_held_even_when_all_are_large():
    outcomes = replace(tiny_outcomes(prompts=100), datasets=["a"] * 60 + ["b"] * 40)
    assert split(outcomes, "datasets", 0.1, seed=0).held_datasets == ("b",)


def test_an_empty_part_and_a_bad_request_are_named():
    with pytest.raises(OutcomesError, match="part of split 'prompts' is empty"):
        split(tiny_outcomes(prompts=2, datasets=1), "prompts", 0.2)
    with pytest.raises(OutcomesError, match="test size 1"):
        split(tiny_outcomes(), "prompts", 1.0)
    with pytest.raises(OutcomesError, match="no split is called"):
        split(tiny_outcomes(), "people")
