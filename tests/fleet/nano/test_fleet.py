"""The roster, the prices, the table, the commands."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from fleet.nano.measure import Measured, Reply, measure, table, verdict
from fleet.nano.network import Shape
from fleet.nano.prices import fleet_models, fleet_section
from fleet.nano.roster import RECIPES, WINDOW
from fleet.nano.tokenizer import VOCABULARY
from fleet.tasks import DOMAINS, FAMILIES, generate
from router.cli import app
from router.verifiers import grade
from tests.fleet.nano import tiny


def shape(recipe):
    return Shape(VOCABULARY, recipe.width, recipe.layers, recipe.heads, recipe.heads, recipe.hidden, WINDOW)


SIZES = {name: shape(recipe).parameters() for name, recipe in RECIPES.items()}


def test_the_roster_has_ten_models_of_very_different_size():
    assert len(RECIPES) >= 10
    assert min(SIZES.values()) <= 0.04e6
    assert 1e6 < max(SIZES.values()) <= 4e6


def test_the_whole_fleet_fits_in_the_package():
    assert 2 * sum(SIZES.values()) < 30e6 - 20 * 0.1e6  # float16, and a tokenizer each


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_a_recipe_can_be_cooked(recipe):
    assert recipe.width % recipe.heads == 0
    assert (recipe.width // recipe.heads) % 2 == 0
    assert set(recipe.diet.domains) <= set(DOMAINS)
    assert set(recipe.diet.unseen) <= set(FAMILIES)
    assert recipe.diet.families()


def test_somebody_has_seen_everything_and_every_domain_has_a_specialist():
    diets = [recipe.diet for recipe in RECIPES.values()]
    assert any(set(diet.families()) == set(FAMILIES) for diet in diets)
    assert {domain for diet in diets for domain in diet.domains} == set(DOMAINS)


def test_prices_are_the_papers_parameter_ratios():
    models = fleet_models({"big": 4000, "small": 100}, 512, "http://x/v1")
    assert [model.name for model in models] == ["small", "big"]
    assert [model.prices.output for model in models] == [0.025, 1.0]
    assert [model.parameter_ratio for model in models] == [0.025, 1.0]
    assert all(model.prices.input == 0 for model in models)


def test_the_section_is_valid_in_router_yaml(tmp_path):
    from router.config import load

    models = fleet_models({"big": 4000, "small": 100}, 512, "http://127.0.0.1:8100/v1")
    path = tmp_path / "router.yaml"
    path.write_text(fleet_section(models))
    assert list(load(path).fleet) == models


TASKS = generate(3, 0, "test", families=["sums"])


def measured():
    replies = {
        "small": [Reply(1, 2), Reply(0, 2), Reply(0, 2)],
        "big": [Reply(0, 10), Reply(1, 10), Reply(1, 10)],
    }
    return Measured(TASKS, replies, {"small": 100, "big": 1000})


def test_the_oracle_takes_the_best_reply_to_every_task():
    assert measured().oracle() == 1
    assert (measured().best, measured().cheapest) == ("big", "small")
    assert measured().cost("small") == pytest.approx(0.1 * 2)
    assert "best single big 66.7%, +33.3 points on the cheapest small 33.3%" in verdict(measured())
    assert "oracle 100.0%, +33.3 points on the best single" in verdict(measured())


def test_the_table_has_a_row_a_model_and_marks_the_best():
    lines = table(measured()).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "**66.7%**" in next(line for line in lines if line.startswith("| big"))


def test_measuring_grades_what_models_say():
    model = tiny.model(window=256)
    said = {}

    def remember(verifier, reply, answer):
        said[answer] = reply
        return grade(verifier, reply, answer)

    once = measure({"tiny": model}, TASKS, remember, samples=2, temperature=1)
    first = dict(said)
    again = measure({"tiny": model}, TASKS, remember, samples=2, temperature=1)
    assert set(first) == {task.answer for task in TASKS}
    assert (once, first) == (again, said)
    assert all(reply.tokens >= 1 for reply in once.replies["tiny"])


def test_nano_yaml_prints_a_fleet(tmp_path):
    tiny.write(tmp_path / "one")
    tiny.write(tmp_path / "two")
    printed = CliRunner().invoke(
        app, ["fleet", "nano-yaml", "--models", str(tmp_path), "--url", "http://h:1/v1"]
    )
    assert [entry["name"] for entry in yaml.safe_load(printed.output)["fleet"]] == ["one", "two"]


@pytest.mark.parametrize("command", [["nano-yaml"], ["serve-nano"], ["measure-nano"]])
def test_a_folder_without_models_is_told_in_one_line(tmp_path, command):
    told = CliRunner().invoke(app, ["fleet", *command, "--models", str(tmp_path)])
    assert told.exit_code == 2
    assert str(tmp_path) in told.output
    assert "Traceback" not in told.output


def test_training_an_unknown_model_is_told(tmp_path):
    told = CliRunner().invoke(app, ["fleet", "train-nano", "--out", str(tmp_path), "--only", "nano-gpt"])
    assert told.exit_code == 2
    assert "nano-xs" in told.output
