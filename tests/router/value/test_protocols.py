from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.value.corpus import CorpusError
from router.value.diagnostics import Valued, difficulty, estimates, mean_over_policies
from router.value.metrics import auc
from router.value.protocols import (
    context_mean,
    held_prompts,
    policies,
    sequential_trials,
    steps,
    strict_trials,
    value_plainly,
)
from tests.router.value.policy_source import policy_corpus, write_splits

CORPUS = policy_corpus()
SOURCE = CORPUS.source


def test_a_column_is_a_checkpoint_of_its_family_or_a_model_by_itself():
    found = {p.name: (p.family, p.step) for p in policies(replace(SOURCE, models=["a@step16", "b@stepwise"]))}
    assert found == {"a@step16": ("a", 16), "b@stepwise": ("b@stepwise", None)}
    with pytest.raises(CorpusError, match="two training steps"):
        steps(policies(replace(SOURCE, models=["a@step16", "b@step16"])))


@pytest.mark.parametrize("seed", range(3))
def test_no_context_of_any_policy_shows_a_prompt_that_the_strict_protocol_asks_about(tmp_path, seed):
    held = held_prompts(tmp_path, SOURCE, seed)
    trials = strict_trials(SOURCE, held, seed, context=50)
    asked = np.unique(np.concatenate([trial.queries for trial in trials]))
    shown = np.unique(np.concatenate([trial.context for trial in trials]))
    assert not set(asked) & set(shown)
    assert held[asked].all()
    assert {trial.policy.name for trial in trials} == set(SOURCE.models)
    assert all(len(trial.context) == 50 for trial in trials)
    for trial in trials:
        assert np.isfinite(SOURCE.scores[trial.queries, trial.policy.column]).all()
        assert np.isfinite(SOURCE.scores[trial.context, trial.column]).all()


def test_prompts_of_the_same_letters_are_held_out_together_and_the_folder_s_own_test_always(tmp_path):
    texts = [f"What is {i // 2}?" + " " * (i % 2) for i in range(len(SOURCE.texts))]
    twins = replace(SOURCE, texts=texts)
    write_splits(tmp_path, ["p7", "p100"])
    held = held_prompts(tmp_path, twins, seed=0)
    assert (held[::2] == held[1::2]).all()
    assert held[[6, 7, 100, 101]].all()
    assert 0.25 < held.mean() < 0.35


@pytest.mark.parametrize(("known", "share"), [(0.02, 0.3), (0.7, 0.3), (0.9, 0.1)])
def test_what_was_trained_on_is_not_held_out_and_what_is_leaves_a_context(tmp_path, known, share):
    """Weights that saw a few of a source's prompts by another one still get contexts of the others."""
    write_splits(tmp_path, ["p7"])
    seen = np.random.default_rng(0).random(len(SOURCE.texts)) < known
    seen[7] = True
    held = held_prompts(tmp_path, SOURCE, seed=0, allowed=~seen)
    assert not (held & seen).any()
    assert held.mean() == pytest.approx(share, abs=0.05)


def test_in_sequence_a_stale_context_is_the_same_family_s_step_before():
    assert [t.kind for t in sequential_trials(SOURCE, 16, seed=0)] == ["aligned", "aligned"]
    trials = sequential_trials(SOURCE, 64, seed=0, context=40)
    assert [(t.policy.name, t.kind, SOURCE.models[t.column]) for t in trials] == [
        ("large@step64", "aligned", "large@step64"),
        ("large@step64", "stale", "large@step16"),
        ("small@step64", "aligned", "small@step64"),
        ("small@step64", "stale", "small@step16"),
    ]
    for trial in trials:
        assert not set(trial.context) & set(trial.queries)
        assert len(trial.context) == 40
    assert np.array_equal(trials[0].queries, trials[1].queries)  # the two contexts answer the same questions


def test_what_was_trained_on_is_never_asked_about():
    allowed = np.arange(len(SOURCE.texts)) % 3 == 0
    for trial in sequential_trials(SOURCE, 256, seed=0, context=40, allowed=allowed):
        assert allowed[trial.queries].all()
        assert len(trial.queries) >= 24


def valued(name, values, outcomes):
    return Valued(
        name,
        "strict",
        values,
        outcomes,
        float(outcomes.mean()),
        np.full(len(values), np.nan),
        np.arange(len(values)),
    )


def test_a_query_s_difficulty_is_what_the_other_policies_made_of_it():
    scores = np.array([[1.0, 0.0, 0.5], [1.0, np.nan, np.nan], [0.0, np.nan, 1.0]])
    found = difficulty(scores, np.array([0, 1, 2]), 0)
    np.testing.assert_array_equal(found, [0.25, np.nan, 1.0])


def test_metrics_are_means_over_policies_and_do_not_reward_telling_them_apart():
    weak = valued("weak", np.full(20, 0.1), np.repeat([1.0, 0.0], [2, 18]))
    strong = valued("strong", np.full(20, 0.9), np.repeat([1.0, 0.0], [18, 2]))
    pooled = auc(
        np.concatenate([weak.values, strong.values]), np.concatenate([weak.outcomes, strong.outcomes])
    )
    assert pooled == pytest.approx(0.9)
    assert mean_over_policies(auc)([weak, strong]) == pytest.approx(0.5)


def test_the_context_s_mean_is_valued_on_every_trial():
    trials = sequential_trials(SOURCE, 64, seed=0, context=40)
    for trial, found in zip(trials, value_plainly(context_mean, CORPUS, trials), strict=True):
        np.testing.assert_allclose(found.values, SOURCE.scores[trial.context, trial.column].mean(), rtol=1e-6)
        np.testing.assert_array_equal(found.outcomes, SOURCE.scores[trial.queries, trial.policy.column])
        assert found.prior == pytest.approx(found.values[0])


def test_intervals_hold_their_mean_and_shrink_with_the_queries():
    rng = np.random.default_rng(0)

    def run(size):
        outcomes = rng.integers(0, 2, size).astype(float)
        return [valued("a", (outcomes + rng.standard_normal(size)) / 4 + 0.4, outcomes)]

    few, many = (estimates({"auc": mean_over_policies(auc)}, [run(n)])["auc"] for n in (40, 1000))
    for found in (few, many):
        assert found.low < found.mean < found.high
    assert many.high - many.low < (few.high - few.low) / 2
    same = [run(50)]
    apart = estimates({"auc": mean_over_policies(auc)}, same, same)["auc"]
    assert (apart.mean, apart.low, apart.high) == (0, 0, 0)


def test_asking_the_same_queries_again_narrows_no_interval_and_asking_others_does():
    rng = np.random.default_rng(1)
    outcomes = rng.integers(0, 2, 200).astype(float)
    one = valued("a", (outcomes + rng.standard_normal(200)) / 4 + 0.4, outcomes)

    def width(runs):
        found = estimates({"auc": mean_over_policies(auc)}, runs)["auc"]
        return found.high - found.low

    assert width([[one]] * 4) == pytest.approx(width([[one]]), rel=0.25)
    assert width([[_turned(one)], *[[one]] * 3]) == pytest.approx(width([[one]]), rel=0.25)  # in any order
    others = [[replace(one, queries=one.queries + 200 * i)] for i in range(4)]
    assert width(others) < 0.7 * width([[one]])


def _turned(one):
    return replace(
        one,
        values=one.values[::-1],
        outcomes=one.outcomes[::-1],
        difficulty=one.difficulty[::-1],
        queries=one.queries[::-1],
    )
