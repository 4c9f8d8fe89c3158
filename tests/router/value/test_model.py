from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from router.value.checkpoint import SHIPPED, CheckpointError
from router.value.model import V0

CITIES = [
    f"Which country is city {name} in?" for name in ("Lima", "Oslo", "Kyoto", "Accra", "Quito", "Turin")
]
SUMS = [f"Compute {a} * {a + 17} - {a * 3}. Show your work." for a in range(31, 37)]


def test_the_shipped_weights_fit_in_the_package():
    assert (files("router.value") / "weights" / SHIPPED).stat().st_size <= 25e6


def test_a_context_moves_the_values_of_prompts_like_its_own(value_model):
    """One policy does cities and no sums, the other the reverse; new prompts of each kind are told apart."""
    context = CITIES[:5] + SUMS[:5]
    cities = value_model.predict([(text, float(text in CITIES)) for text in context], [CITIES[5], SUMS[5]])
    sums = value_model.predict([(text, float(text in SUMS)) for text in context], [CITIES[5], SUMS[5]])
    assert cities[0] > cities[1] + 0.2
    assert sums[1] > sums[0] + 0.2


def test_without_outcomes_a_value_is_a_sane_prior(value_model):
    values = value_model.predict([], CITIES + SUMS)
    assert ((values > 0.1) & (values < 0.9)).all()


@pytest.mark.parametrize(("outcome", "low", "high"), [(1.0, 0.75, 1.0), (0.0, 0.0, 0.25), (0.5, 0.3, 0.7)])
def test_a_context_of_one_outcome_leads_to_it(value_model, outcome, low, high):
    values = value_model.predict(
        [(text, outcome) for text in CITIES + SUMS], ["What is the capital of Peru?"]
    )
    assert low <= values[0] <= high


def test_more_of_the_same_evidence_moves_a_value_further(value_model):
    prompt = CITIES[5]
    values = [value_model.predict([(text, 1.0) for text in CITIES[:n]], [prompt])[0] for n in (0, 1, 5)]
    assert values[0] < values[1] < values[2]


def test_many_contexts_in_one_pass_value_as_each_alone(value_model):
    embeddings = value_model.embed(CITIES + SUMS)
    contexts = [value_model.fit_context(embeddings[:n], np.arange(n) % 2) for n in (0, 3, 12)]
    queries = value_model.embed(["How many sides has a hexagon?", "Translate 'bread' to French."])
    together = value_model.value(queries, contexts)
    assert together.shape == (2, 3)
    alone = [value_model.value(queries, [context])[:, 0] for context in contexts]
    np.testing.assert_allclose(together, np.stack(alone, axis=1), atol=1e-4)


def test_a_fleets_prompts_are_read_in_the_order_they_came_in(value_model, monkeypatch):
    """Not in that of a set, which every process has another of."""
    embeddings = value_model.embed(CITIES + SUMS)
    head, seen = value_model._network.head, []
    read = head.read_fleet
    monkeypatch.setattr(head, "read_fleet", lambda table, *rest: seen.append(table) or read(table, *rest))
    order = np.random.default_rng(0).permutation(len(embeddings))
    value_model.fit_fleet([(embeddings[order], np.zeros(12)), (embeddings[order], np.ones(12))])
    np.testing.assert_array_equal(seen[0].numpy(), embeddings[order])


def test_of_prompts_that_as_many_models_answered_the_common_part_reads_some_of_every_kind(
    value_model, monkeypatch
):
    embeddings = value_model.embed(CITIES + SUMS)
    head, seen = value_model._network.head, []
    read = head.read_fleet
    monkeypatch.setattr(head, "read_fleet", lambda table, *rest: seen.append(table) or read(table, *rest))
    monkeypatch.setattr("router.value.model.COMMON_PROMPTS", 5)
    both = embeddings[[11]]  # two models answered it
    cities, sums = (np.concatenate([rows, both]) for rows in (embeddings[:6], embeddings[6:11]))
    value_model.fit_fleet([(cities, np.zeros(7)), (sums, np.ones(6))])
    np.testing.assert_array_equal(seen[0].numpy(), np.concatenate([both, embeddings[[0, 2, 5, 8]]]))


def test_a_fleet_that_shares_its_prompts_and_one_that_does_not_are_valued_in_one_pass(value_model):
    embeddings = value_model.embed(CITIES + SUMS)
    able = np.arange(12) < 6
    histories = [
        (embeddings, able.astype(np.float32)),
        (embeddings, (~able).astype(np.float32)),
        (embeddings[3:9], able[3:9].astype(np.float32)),
        (embeddings[:0], np.zeros(0, np.float32)),
    ]
    contexts = value_model.fit_fleet(histories)
    joined = value_model.fit_context(*histories[2], beside=contexts[0])
    queries = value_model.embed(["Which country is city Bonn in?", "Compute 7 * 9 - 3. Show your work."])
    values = value_model.value(queries, [*contexts, joined, value_model.fit_context(*histories[0])])
    assert values.shape == (2, 6)
    assert (values[0, [0, 2, 4, 5]] > values[1, [0, 2, 4, 5]]).all()  # able at cities
    assert values[1, 1] > values[0, 1]
    assert 0.2 < values[0, 3] < 0.8  # unknown: like the fleet on average
    alone = np.stack([value_model.value(queries, [context])[:, 0] for context in contexts], axis=1)
    np.testing.assert_allclose(values[:, :4], alone, atol=1e-4)


def test_outcomes_of_one_prompt_count_together_in_whatever_order_they_came(value_model):
    embeddings = value_model.embed(CITIES + SUMS)
    other = (embeddings, (np.arange(12) % 2).astype(np.float32))
    twice, outcomes = embeddings[[0, 1, 2, 0, 1, 2]], np.array([1, 1, 0, 0, 1, 0], np.float32)
    there = value_model.fit_fleet([(twice, outcomes), other])
    back = value_model.fit_fleet([(twice[::-1], outcomes[::-1].copy()), other])
    queries = value_model.embed([CITIES[3], SUMS[2]])
    np.testing.assert_allclose(value_model.value(queries, there), value_model.value(queries, back), atol=1e-4)


def test_float16_rows_from_the_store_value_as_float32_rows(value_model):
    embeddings, labels = value_model.embed(CITIES + SUMS), np.arange(12) % 2
    queries = value_model.embed(["Where is Porto?"])
    exact = value_model.value(queries, [value_model.fit_context(embeddings, labels)])
    stored = value_model.value(queries, [value_model.fit_context(embeddings.astype(np.float16), labels)])
    np.testing.assert_allclose(exact, stored, atol=5e-3)


def test_rows_and_labels_that_do_not_fit_are_refused(value_model):
    with pytest.raises(ValueError, match="do not fit 2 labels"):
        value_model.fit_context(np.zeros((3, value_model.dim)), np.zeros(2))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        value_model.fit_context(np.zeros((1, value_model.dim)), np.array([1.5]))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        value_model.fit_context(np.zeros((1, value_model.dim)), np.array([np.nan]))


def test_nothing_asked_is_nothing_answered(value_model):
    assert value_model.embed([]).shape == (0, value_model.dim)
    assert value_model.value(np.zeros((0, value_model.dim)), []).shape == (0, 0)


def test_weights_of_another_backbone_are_refused(tmp_path, value_model):
    from router.value import checkpoint as checkpoints

    with_name = checkpoints.Checkpoint(value_model._network, "all-MiniLM-L6-v2", "0" * 12, {})
    checkpoints.save(tmp_path / "other.safetensors", with_name)
    with pytest.raises(CheckpointError, match="were trained on backbone all-MiniLM-L6-v2"):
        V0.load(tmp_path / "other.safetensors")
