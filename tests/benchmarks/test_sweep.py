"""The sweep from its options to OUT, with random embeddings in place of the backbone."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import cells, cold_start, compare, output, results, summary, sweep, sweep_command
from benchmarks.cli import app
from benchmarks.familiar import Familiar
from benchmarks.outcomes import OutcomesError
from benchmarks.settings import Settings, SettingsError
from tests.benchmarks import routers as ours
from tests.benchmarks import traffic
from tests.benchmarks.outcomes import tiny_outcomes

QUIET = Console(quiet=True)


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Datasets by name, and a registry of the references and our own routers; returns settings for them."""
    data = {
        name: tiny_outcomes(prompts=120, models=4, seed=seed, name=name) for seed, name in enumerate("ab")
    }
    registry = {
        **{name: sweep.REGISTRY[name] for name in sweep.REFERENCES},
        "v0-1024": ours.MeanRouter,
        "refitted": ours.Refitted,
        "broken": ours.Broken,
    }
    monkeypatch.setattr(summary, "REDRAWS", 40)
    monkeypatch.setattr(summary, "QUALITY_REDRAWS", 40)
    monkeypatch.setattr(sweep, "REGISTRY", registry)
    monkeypatch.setattr(sweep, "read", lambda path: data[path])
    monkeypatch.setattr(sweep, "embed", lambda outcomes, *_: ours.material(outcomes))
    return Settings(
        data=("a",), out=tmp_path / "out", routers=("v0-*", "refitted"), betas=(0.0, 0.5, 1.0), seeds=(0, 1),
        test_size=0.3, context_size=8, device="cpu",
    )  # fmt: skip


def run(settings):
    return sweep_command._run(settings, QUIET)


def test_everything_is_written_and_agrees(world):
    assert run(world) == 0
    made = results.read(world.out)
    assert made.complete
    assert set(made.routers) == {"v0-1024", "refitted"}
    assert {"random", "cheapest", "best-single", "per-dataset-best", "oracle", "per-dataset-oracle", "zero-router",
            "constant:model-0", "constant:model-3"} <= set(made.references)  # fmt: skip
    router = made.routers["v0-1024"]
    assert [point.beta for point in router.points] == [0.0, 0.5, 1.0]
    assert router.accuracy == router.points[-1].accuracy
    assert router.accuracy == pytest.approx(made.references["constant:model-3"].accuracy)
    assert made.references["oracle"].accuracy >= max(line.accuracy for line in made.routers.values())
    assert made.references["oracle"].gap_closed == pytest.approx(1)
    assert made.references["zero-router"].aiq >= made.references["constant:model-3"].aiq
    assert router.intervals["aiq"][0] <= router.aiq <= router.intervals["aiq"][1]
    assert made.routers["refitted"].to_v0["aiq"] == (0, 0, 0)  # the same decisions
    assert made.v0 == "v0-1024"
    assert not router.to_v0
    assert router.by_seed["accuracy"] == pytest.approx(
        [router.by_seed["accuracy"][0], 2 * router.accuracy - router.by_seed["accuracy"][0]]
    )
    with (world.out / "frontier.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "v0-1024"]
    assert [float(row["accuracy"]) for row in rows] == [point.accuracy for point in router.points]
    decisions = pd.read_parquet(world.out / "decisions.parquet")
    last = decisions[(decisions["router"] == "v0-1024") & (decisions["beta"] == 1)]
    assert last.groupby("seed")["score"].mean().mean() == pytest.approx(router.accuracy)
    assert last.groupby("seed")["cost"].mean().mean() == pytest.approx(router.cost)
    for name in ("frontier.png", "frontier.svg", "report.html"):
        assert (world.out / name).stat().st_size > 10_000


def test_a_cell_that_is_done_is_not_done_again(world, monkeypatch):
    run(world)
    before = {path: path.stat().st_mtime_ns for path in world.out.rglob("*.npz")}
    assert len(before) == 2 * 6
    first = results.read(world.out)
    worked = []
    work = sweep._work
    monkeypatch.setattr(sweep, "_work", lambda task, *rest: worked.append(task.label) or work(task, *rest))
    run(world)
    assert not worked
    assert {path: path.stat().st_mtime_ns for path in world.out.rglob("*.npz")} == before
    assert results.read(world.out).routers == first.routers
    run(replace(world, seeds=(0, 1, 2)))
    assert worked == [f"{name} · seed 2" for name in (*sweep.REFERENCES, "v0-1024", "refitted")]
    run(replace(world, betas=(1.0,)))  # other settings are other cells
    assert len(worked) == 6 + 12


def test_an_interrupt_leaves_what_is_finished(world, monkeypatch):
    work = sweep._work

    def until_seed_1(task, *rest):
        if task.split.seed == 1 and task.router == "v0-1024":
            raise KeyboardInterrupt
        return work(task, *rest)

    monkeypatch.setattr(sweep, "_work", until_seed_1)
    assert run(world) == sweep_command.INTERRUPTED
    made = results.read(world.out)
    assert not made.complete
    assert made.routers["v0-1024"].seeds == [0]
    assert made.references["best-single"].seeds == [0, 1]
    assert made.routers["refitted"].to_v0  # both have seed 0 alone
    monkeypatch.setattr(sweep, "_work", work)
    assert run(world) == 0
    assert results.read(world.out).complete


def test_an_interrupt_before_anything_is_finished_says_so(world, monkeypatch):
    def at_once(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "_work", at_once)
    with pytest.raises(OutcomesError, match="no seed is far enough"):
        run(world)


def test_one_router_that_fails_is_listed_and_the_others_go_on(world):
    assert run(replace(world, routers=("broken", "refitted"))) == sweep_command.FAILED
    made = results.read(world.out)
    assert [(f.router, f.seed, f.error) for f in made.failures] == [
        ("broken", 0, "RuntimeError: cannot learn this"),
        ("broken", 1, "RuntimeError: cannot learn this"),
    ]
    assert set(made.routers) == {"refitted"}
    assert not made.complete
    assert any("Traceback" in path.read_text() for path in world.out.rglob("*.error.txt"))


def test_split_models_has_a_part_for_the_left_out_ones(world):
    assert run(replace(world, split="models")) == 0
    made = results.read(world.out)
    part = made.parts["a, left-out models"]
    assert part.routers["refitted"].new_models.refitted
    assert not part.routers["v0-1024"].new_models.refitted
    assert part.routers["v0-1024"].new_models.outcomes == 8
    assert part.references["oracle"].accuracy < made.references["oracle"].accuracy
    assert (world.out / "frontier-a-left-out-models.png").is_file()


def test_an_interrupt_between_datasets_leaves_the_first(world, monkeypatch):
    work = sweep._work

    def first_alone(task, *rest):
        if "/b/" in str(task.path):
            raise KeyboardInterrupt
        return work(task, *rest)

    monkeypatch.setattr(sweep, "_work", first_alone)
    assert run(replace(world, data=("a", "b"))) == sweep_command.INTERRUPTED
    assert results.read(world.out).title == "a, all models"


def test_several_datasets_have_a_mean_and_a_part_each(world):
    assert run(replace(world, data=("a", "b"))) == 0
    made = results.read(world.out)
    each = [made.parts[f"{name}, all models"].routers["v0-1024"] for name in "ab"]
    assert made.title == "mean of 2 datasets, all models"
    assert made.routers["v0-1024"].accuracy == pytest.approx(np.mean([line.accuracy for line in each]))
    assert made.routers["v0-1024"].aiq == pytest.approx(np.mean([line.aiq for line in each]))
    assert made.routers["v0-1024"].points[-1].cost == pytest.approx(1)  # always the dearest
    assert set(made.routers["v0-1024"].by_dataset) == {"a", "b"}
    with pytest.raises(SettingsError, match="called alike"):
        run(replace(world, data=("a", "a")))


def test_prompts_that_some_model_did_not_answer_are_counted(world, monkeypatch):
    whole = sweep.read("a")
    scores = whole.scores.copy()
    scores[::5, 2] = np.nan
    holed = replace(whole, scores=scores, costs=np.where(np.isnan(scores), np.nan, whole.costs))
    monkeypatch.setattr(sweep, "read", lambda path: holed)
    run(world)
    made = results.read(world.out)
    assert made.exclusions[0].what == "test prompts"
    missing = sum(np.isnan(scores[task.split.test, 2]).sum() for task in sweep.prepare(world, "a").tasks[::6])
    assert made.exclusions[0].count == missing
    scores[:, 2] = np.nan
    with pytest.raises(OutcomesError, match=r"0 of \d+ test prompts .* --models takes a subset .*model-2"):
        run(world)
    run(replace(world, models=("model-0", "model-1", "model-3")))
    assert results.read(world.out).fleet == ["model-0", "model-1", "model-3"]


def test_mistakes_are_told_before_anything_is_read(world):
    with pytest.raises(SettingsError, match="no router is called 'umrr'"):
        run(replace(world, routers=("umrr",), data=("not there",)))
    with pytest.raises(SettingsError, match="no model of a is called 'gpt'"):
        run(replace(world, models=("gpt",)))
    with pytest.raises(OutcomesError, match="nothing to choose"):
        run(replace(world, models=("model-0",)))
    with pytest.raises(typer.Exit) as caught:
        sweep_command.run({"betas": "many"}, None)
    assert caught.value.exit_code == 1


def test_baselines_on_v0s_embedding_are_there_where_they_are_asked_for():
    usual = sweep.router_names(Settings())
    assert "ridge" in usual
    assert not [name for name in usual if "@" in name]
    assert sweep.router_names(Settings(routers=("ridge", "*@v0")))[-1] == "logistic@v0"
    assert sweep.router_names(Settings(routers=("ridge@v0",)))[4:] == ["ridge@v0"]
    with pytest.raises(SettingsError, match=r"ridge@v0"):
        sweep.router_names(Settings(routers=("rigde@v0",)))


def test_two_results_are_compared_on_common_prompts(world, tmp_path, capsys):
    other = replace(world, out=tmp_path / "other")
    run(world)
    run(other)
    rows = compare.compare(world.out, other.out)
    assert {row.router for row in rows} >= {"v0-1024", "refitted", "best-single"}
    assert {(row.difference, row.low, row.high) for row in rows} == {(0.0, 0.0, 0.0)}
    made = results.read(world.out)
    of_v0 = {row.figure: row.first for row in rows if row.router == "v0-1024"}
    assert of_v0["accuracy"] == pytest.approx(made.routers["v0-1024"].accuracy)
    assert not any(row.is_sure for row in rows)
    compare.show(world.out, other.out, tmp_path / "rows.json")
    assert len(json.loads((tmp_path / "rows.json").read_text())) == len(rows)
    run(replace(world, data=("b",), out=tmp_path / "b"))
    with pytest.raises(OutcomesError, match="no router with common test prompts"):
        compare.compare(world.out, tmp_path / "b")
    (other.out / "decisions.parquet").unlink()
    with pytest.raises(typer.Exit):
        compare.show(world.out, other.out, None)
    assert "decisions.parquet" in capsys.readouterr().err


def test_a_cold_start_grows_with_what_is_shown(world):
    found = cold_start.run(world_of_models(world), (0, 8, 32), "router-bench cold-start", QUIET)
    router, refitted = found.data["a"]["v0-1024"], found.data["a"]["refitted"]
    assert [point.outcomes for point in router.points] == [0, 8, 32]
    assert [point.outcomes for point in refitted.points] == [32]
    assert router.points[2].mse < router.points[0].mse
    assert router.points[2].auc == 0.5  # a mean tells no prompt from another
    assert [point.shown for point in router.points] == [0, 8, 32]
    assert router.outcomes_needed == 0
    assert refitted.points[0].seconds > 0
    assert found.new_models == {"a": 2}
    for name in ("cold_start.json", "cold_start.csv", "cold_start-a.png", "cold_start-a.svg"):
        assert (world.out / name).is_file()


def test_a_cold_start_shows_no_more_than_there_is(world):
    """120 prompts, of which 72 are training prompts; some pairs are missing."""
    found = cold_start.run(world_of_models(world), (8, 64, 256, 1024), "", QUIET)
    points = found.data["a"]["v0-1024"].points
    assert [point.outcomes for point in points[:2]] == [8, 64]
    (last,) = points[2:]
    assert 64 < last.outcomes <= 80
    assert last.shown <= last.outcomes
    assert [point.outcomes for point in found.data["a"]["refitted"].points] == [last.outcomes]


def test_a_router_that_fails_a_cold_start_is_listed(world, monkeypatch, tmp_path):
    settings = replace(world_of_models(world), routers=("broken",))
    found = cold_start.run(settings, (8,), "", QUIET)
    assert list(found.data["a"]["broken"].errors) == ["fit"]
    monkeypatch.setattr(cold_start, "run", lambda *_: found)
    said = CliRunner().invoke(app, ["cold-start", "--data", "a", "--out", str(tmp_path)])
    assert said.exit_code == 1
    assert "failed: broken, fit" in said.output


def world_of_models(settings):
    return replace(settings, split="models")


def test_processes_do_the_same_cells(tmp_path):
    """Two processes, and the references of the real registry."""
    outcomes = tiny_outcomes(prompts=60, models=4)
    one, two = (Settings(out=tmp_path / name, routers=("random",), seeds=(0,), jobs=jobs, device="cpu")
                for name, jobs in (("one", 1), ("two", 2)))  # fmt: skip
    for settings in (one, two):
        divided = sweep.split(outcomes, "prompts", 0.2, 0)
        tasks = [
            sweep.Task(name, divided, settings.out / f"{name}.npz") for name in ("random", "best-single")
        ]
        work = sweep._serial if settings.jobs == 1 else sweep._parallel
        done = list(work(tasks, ours.material(outcomes), settings))
        assert [each.error for each in done] == [None, None]
    for name in ("random", "best-single"):
        same = [cells.load(settings.out / f"{name}.npz") for settings in (one, two)]
        np.testing.assert_array_equal(same[0].choices["all"], same[1].choices["all"])


def test_a_store_of_the_gateway_is_estimated_off_policy(world, tmp_path):
    """Alone and beside a dataset; `test_logged_traffic` has what is said of it."""
    simulated = traffic.world(tmp_path / "simulated", prompts=60)
    rows = np.arange(60)
    store = f"{tmp_path}/router.db"
    traffic.write(f"sqlite:///{store}", simulated, rows, simulated.decisions(rows, 0.8, 0.6, seed=0))
    assert run(replace(world, data=(store,))) == 0
    made = results.read(world.out)
    assert (list(made.off_policy), made.off_policy["router"].rows) == (["router"], 60)
    assert (made.data, made.routers, made.parts) == ([], {}, {})
    assert (world.out / "report.html").is_file()
    assert run(replace(world, data=("a", store))) == 0
    both = results.read(world.out)
    assert both.off_policy == made.off_policy
    assert [each.name for each in both.data] == ["a"]


def test_provenance_names_the_program():
    found = output.provenance("router-bench sweep", 1.0, 2.0, "cpu")
    assert found.machine["device"] == "cpu"
    assert {"python", "numpy", "torch"} <= set(found.versions)


def test_v0_is_not_judged_on_what_its_weights_were_trained_on(world, monkeypatch):
    def all_models(outcomes, weights):
        return Familiar(np.arange(len(outcomes.texts)) < 60, np.full(len(outcomes.models), True))

    monkeypatch.setattr(sweep, "familiar", all_models)
    assert run(world) == 0
    entry = results.read(world.out).data[0]
    assert [(each.what, each.count) for each in entry.exclusions] == [("prompts", 60)]
    assert run(replace(world, split="models")) == 0
    made = results.read(world.out)
    assert set(made.routers) == {"refitted"}
    assert "outcomes of 4 of 4 models" in made.data[0].exclusions[0].why
    assert made.data[0].exclusions[0].count == 1


def test_the_command_line_reaches_the_settings(monkeypatch, tmp_path):
    told = {}
    monkeypatch.setattr(sweep_command, "run", lambda options, config: told.update(options, config=config))
    words = ["sweep", "--data", "a", "--data", "b", "--out", "o", "--routers", "v0-*", "--models", "m", "--betas", "3",
             "--split", "models", "--context-size", "64", "--seeds", "2", "--test-size", "0.3", "--device", "cpu",
             "--jobs", "2", "--config", "c.yaml"]  # fmt: skip
    assert CliRunner().invoke(app, words).exit_code == 0
    assert told == {
        "data": ["a", "b"], "out": Path("o"), "routers": "v0-*", "models": "m", "betas": "3", "split": "models",
        "context_size": 64, "seeds": "2", "test_size": 0.3, "device": "cpu", "jobs": 2, "tabpfn": None, "weights": None,
        "config": Path("c.yaml"),
    }  # fmt: skip
    told.clear()
    assert CliRunner().invoke(app, ["sweep"]).exit_code == 0
    assert set(told.values()) == {None}


def test_a_mistake_is_a_message_and_no_traceback(tmp_path):
    for words in (
        ["sweep", "--data", str(tmp_path / "none")],
        ["compare", str(tmp_path), str(tmp_path)],
        ["cold-start", "--sizes", "few"],
        ["cold-start", "--sizes", "-1"],
    ):
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 1
        assert found.output.startswith("router-bench: ")
        assert isinstance(found.exception, SystemExit)
