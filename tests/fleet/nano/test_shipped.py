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


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_was_made_by_its_recipe(name):
    recipe = RECIPES[name]
    told = json.loads((shipped() / name / RECIPE).read_text())
    assert told["recipe"] == json.loads(json.dumps(asdict(recipe)))
    assert told["tokens"] >= recipe.tokens


def test_the_models_fit(fleet):
    assert set(fleet) == set(RECIPES)
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
    tasks = generate(110, 11, "validation")
    found = measure({name: fleet[name] for name in names}, tasks, grade)
    assert found.best == "nano-think"
    assert found.cheapest == "nano-xs"
    assert (
        found.accuracy("nano-think") > found.accuracy("nano-m") + 0.15
    )  # as large, taught to answer at once
    assert found.cost("nano-think") > 2 * found.cost("nano-m")


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("nano-words", ["letters", "filtering"]),
        ("nano-dates", ["calendar", "clock"]),
        ("nano-tracer", ["loops", "functions"]),
        ("nano-maths", ["sums", "products"]),
    ],
)
def test_a_specialist_is_better_in_its_domain_and_lost_elsewhere(fleet, name, families):
    two = {each: fleet[each] for each in (name, "nano-think")}
    inside = measure(two, generate(50, 12, "validation", families), grade)
    outside = measure(two, generate(30, 12, "validation", ["messages", "rules"]), grade)
    assert inside.accuracy(name) > inside.accuracy("nano-think")
    assert outside.accuracy(name) < outside.accuracy("nano-think") - 0.2
