"""The dataset in the package: real outcomes of the nano fleet, whole, and hard enough to be worth routing."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from benchmarks.collect_questions import Source, digest, questions
from benchmarks.fetch import NANO, local_folder
from benchmarks.outcomes import read
from benchmarks.settings import Settings
from fleet.nano.commands import shipped
from fleet.nano.prices import models_in
from fleet.nano.roster import RECIPES
from fleet.tasks import DIFFICULTIES, DOMAINS, FAMILIES
from router.verifiers import grade

SOURCE = Source("procedural:6050", split="test", seed=10)


@pytest.fixture(scope="module")
def prompts():
    return pd.read_parquet(local_folder(NANO) / "prompts.parquet")


@pytest.fixture(scope="module")
def outcomes():
    return read(NANO)


def test_it_is_what_a_sweep_takes_by_default(outcomes):
    assert Settings().data == (NANO,)
    assert outcomes.scores.shape == (6050, len(RECIPES))
    assert not np.isnan(outcomes.scores).any()
    assert outcomes.cost_kind == "recorded"
    assert set(outcomes.datasets) == set(DOMAINS)
    assert sum(path.stat().st_size for path in local_folder(NANO).iterdir()) < 5e6


def test_every_family_and_difficulty_is_there_as_often(prompts):
    cells = Counter(zip(prompts["family"], prompts["difficulty"], strict=True))
    assert cells == {(family, level): 55 for family in FAMILIES for level in DIFFICULTIES}
    assert prompts["text"].is_unique


def test_its_prompts_are_those_of_the_seed_and_its_answers_satisfy_their_verifiers(prompts):
    asked = questions(SOURCE)
    assert prompts["text"].tolist() == [question.text for question in asked]
    assert digest(asked) in (local_folder(NANO) / "README.md").read_text()
    for row in prompts.iloc[::50].itertuples():
        assert grade(row.verifier, row.answer, row.answer) == 1


def test_a_score_is_a_mean_of_five(outcomes):
    assert np.allclose(outcomes.scores * 5, np.round(outcomes.scores * 5))


def test_prices_are_those_of_the_shipped_models():
    told = {each["model"]: each for each in json.loads((local_folder(NANO) / "models.json").read_text())}
    for model in models_in(shipped(), "http://localhost/v1"):
        facts = told.pop(model.name)
        assert facts["price_out_per_mtok"] == model.prices.output
        assert facts["parameter_ratio"] == model.parameter_ratio
    assert not told


def test_no_model_is_best_everywhere(outcomes):
    scores = outcomes.scores
    means = scores.mean(axis=0)
    assert scores.max(axis=1).mean() - means.max() > 0.12
    assert means.max() - means[outcomes.costs.mean(axis=0).argmin()] > 0.25
    domains = np.array(outcomes.datasets)
    assert len({scores[domains == domain].mean(axis=0).argmax() for domain in DOMAINS}) >= 4
