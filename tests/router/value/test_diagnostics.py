from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.value.diagnostics import (
    Valued,
    error_context,
    error_query,
    gradient_share,
    information,
    residual_context,
    residual_query,
    shortcut_variance,
)

RNG = np.random.default_rng(0)


def world(queries=3000, contexts=5, spread=1.0, read=1.0, lean=1.0):
    """Outcomes of contexts of unlike strength; values that read the prompt and the context more or less rightly."""
    found = []
    for i in range(contexts):
        strength, prompt = spread * (i - (contexts - 1) / 2), RNG.standard_normal(queries)
        chance = 1 / (1 + np.exp(-(strength + prompt)))
        values = 1 / (1 + np.exp(-(lean * strength + read * prompt)))
        outcomes = (RNG.random(queries) < chance).astype(float)
        hard, asked = 1 / (1 + np.exp(-prompt)), np.arange(queries)
        found.append(Valued(str(i), "strict", values, outcomes, float(chance.mean()), hard, asked))
    return found


def means(valued):
    return [replace(v, values=np.full(len(v.values), v.outcomes.mean())) for v in valued]


def test_the_context_s_mean_carries_the_shortcut_and_nothing_else():
    found = means(world())
    shortcut, prompt = information(found)
    assert shortcut > 0.1
    assert prompt == pytest.approx(0, abs=1e-9)
    assert shortcut_variance(found) == pytest.approx(1)
    assert residual_query(found) < -0.2  # what is hard is overrated, and what is easy underrated


def test_without_unlike_contexts_all_that_is_known_comes_from_the_prompt():
    found = world(spread=0)
    shortcut, prompt = information(found)
    assert shortcut == pytest.approx(0, abs=0.002)
    assert prompt > 0.05
    assert shortcut_variance(found) < 0.01


def test_errors_of_true_values_go_with_neither_the_context_nor_the_query():
    found = world(queries=10_000)
    assert error_context(found) == pytest.approx(0, abs=0.02)
    assert error_query(found) == pytest.approx(0, abs=0.02)


def test_a_shortcut_shows_in_the_residual_of_the_context_and_an_unread_prompt_in_that_of_the_query():
    true, leaning, blind = world(), world(lean=3.0), world(read=0.0)
    assert error_context(leaning) > 0.1
    assert error_query(blind) < -0.2
    # Spearman's, which is the paper's, is not zero of true values, but moves the same way
    assert residual_context(leaning) > residual_context(true) + 0.05
    assert residual_query(blind) < residual_query(true) - 0.1


def test_a_residual_that_cannot_be_computed_is_not_a_number():
    one = world()[:1]
    assert np.isnan(residual_context(one))
    alone = [replace(v, difficulty=np.full(len(v.values), np.nan)) for v in one]
    assert np.isnan(residual_query(alone))


def test_only_pairs_of_one_context_leave_the_shortcut_without_gradient():
    found = world(queries=60, lean=0.2)
    assert gradient_share("intra", found) == pytest.approx(0, abs=1e-9)
    for loss in ("ce", "intra+inter", "intra+ce"):
        assert 0.02 < gradient_share(loss, found) <= 1
    assert gradient_share("intra+ce", found) < gradient_share("ce", found)


def test_information_of_the_true_values_is_the_mutual_information():
    """One context, prompts that decide it all: I(Y; X|C) is the entropy of a fair coin."""
    outcomes = np.repeat([0.0, 1.0], 500)
    shortcut, prompt = information(
        [Valued("a", "strict", outcomes, outcomes, 0.5, outcomes, np.arange(1000))]
    )
    assert shortcut == pytest.approx(0, abs=1e-9)
    assert prompt == pytest.approx(np.log(2), abs=1e-3)
