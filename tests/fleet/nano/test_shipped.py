"""The models in the package: whole, of the roster's recipes, readable by transformers, and good at different things."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from fleet.nano.commands import shipped
from fleet.nano.engine import load_fleet
from fleet.nano.measure import measure
from fleet.nano.roster import RECIPES
from fleet.nano.train import RECIPE
from fleet.tasks import generate
from router.verifiers import grade


@pytest.fixture(scope="module")
def fleet():
    return load_fleet(shipped())


SHIPPED = sorted(path.parent.name for path in shipped().glob(f"*/{RECIPE}"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_was_made_by_its_recipe(name):
    recipe = RECIPES[name]
    told = json.loads((shipped() / name / RECIPE).read_text())
    assert told["recipe"] == json.loads(json.dumps(asdict(recipe)))
    assert told["tokens"] >= recipe.tokens


def test_the_models_fit(fleet):
    assert list(fleet) == SHIPPED
    assert len(fleet) >= 9
    assert sum(path.stat().st_size for path in shipped().rglob("*") if path.is_file()) < 30e6


def test_transformers_says_the_same(fleet):
    from transformers import AutoModelForCausalLM

    ours = fleet["nano-think"]
    theirs = AutoModelForCausalLM.from_pretrained(shipped() / "nano-think", dtype=torch.float32)
    ids = torch.tensor([ours.chat.encode([("user", "Which date falls 6 days after 3 December 2021?")])])
    with torch.no_grad():
        expected = theirs(ids).logits
        found = ours.network.logits(ours.network(ids))
    assert torch.allclose(found, expected, atol=1e-3)


def test_steps_are_worth_their_tokens(fleet):
    names = ("nano-xs", "nano-m", "nano-think")
    tasks = generate(220, 11, "validation")
    found = measure({name: fleet[name] for name in names}, tasks, grade)
    assert found.best == "nano-think"
    assert found.cheapest == "nano-xs"
    assert (
        found.accuracy("nano-think") > found.accuracy("nano-m") + 0.15
    )  # as large, taught to answer at once
    assert found.cost("nano-think") > 2 * found.cost("nano-m")


@pytest.mark.parametrize(
    ("families", "better"), [(["letters", "filtering"], True), (["messages", "rules"], False)]
)
def test_a_specialist_is_better_in_its_domain_and_lost_elsewhere(fleet, families, better):
    tasks = generate(100, 12, "validation", families)
    found = measure({name: fleet[name] for name in ("nano-words", "nano-think")}, tasks, grade)
    gain = found.accuracy("nano-words") - found.accuracy("nano-think")
    assert gain > 0.08 if better else gain < -0.08
