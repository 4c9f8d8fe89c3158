from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.familiar import Familiar, NothingUnseenError, familiar
from benchmarks.splits import split
from router.value import checkpoint
from router.value.corpus import fingerprints
from tests.benchmarks.outcomes import tiny_outcomes


def marked(tmp_path, texts, models, validation=()):
    """The shipped weights, said to be trained on these."""
    shipped = checkpoint.load()
    path = tmp_path / "marked.safetensors"
    training = {
        **shipped.training,
        "models": {"source": list(models)},
        "held": {"source": {"validation_models": list(validation), "test_models": []}},
    }
    checkpoint.save(
        path, replace(shipped, training=training, trained_on=np.unique(fingerprints(texts))), half=True
    )
    return path


def test_prompts_are_known_by_their_content_and_models_by_name(tmp_path):
    outcomes = tiny_outcomes(prompts=40, models=4)
    reworded = [f"  {text.upper()}!\n" for text in outcomes.texts[:10]]
    names = outcomes.model_names
    found = familiar(outcomes, marked(tmp_path, reworded, names[:1], names[1:2]))
    np.testing.assert_array_equal(found.prompts, np.arange(40) < 10)
    np.testing.assert_array_equal(found.models, [True, True, False, False])


def test_a_model_of_the_same_name_is_new_on_prompts_that_are_new(tmp_path):
    outcomes = tiny_outcomes(prompts=40, models=4)
    assert not familiar(outcomes, marked(tmp_path, ["another"], outcomes.model_names)).models.any()


def test_the_shipped_weights_say_what_they_were_trained_on():
    shipped = checkpoint.load()
    assert len(shipped.trained_on) > 10_000
    assert set(shipped.training["models"]) == set(shipped.training["sources"])
    assert not familiar(tiny_outcomes()).prompts.any()


@pytest.mark.parametrize("kind", ["prompts", "models", "datasets"])
def test_nothing_seen_is_tested_or_chosen_by(kind):
    outcomes = tiny_outcomes(prompts=200, models=8, datasets=5)
    prompts = np.random.default_rng(0).random(200) < 0.6
    if kind == "datasets":
        prompts &= np.isin(outcomes.datasets, ["dataset-0", "dataset-1", "dataset-2"])
    seen = Familiar(prompts, np.arange(8) < 5)
    divided = split(outcomes, kind, 0.2, 0, seen)
    assert len(divided.test)
    assert len(divided.validation)
    assert not prompts[divided.test].any()
    assert not prompts[divided.validation].any()
    if kind == "models":
        assert not seen.models[divided.test_models].any()


def test_where_all_was_seen_there_is_nothing_to_test_on():
    outcomes = tiny_outcomes(prompts=60, models=6, datasets=3)
    with pytest.raises(NothingUnseenError, match="60 of them in V0's training"):
        split(outcomes, "prompts", seen=Familiar(np.full(60, True), np.full(6, True)))
    with pytest.raises(NothingUnseenError, match="outcomes of 5 of 6 models"):
        split(outcomes, "models", seen=Familiar(np.full(60, False), np.arange(6) < 5))
    with pytest.raises(NothingUnseenError, match="prompts of every dataset"):
        split(outcomes, "datasets", seen=Familiar(np.full(60, True), np.full(6, True)))
