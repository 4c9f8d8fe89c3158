"""Leave-one-source-out: whose weights, which prompts, what is made again, and what the tables say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from router.cli import app
from router.value import checkpoint, leave_out
from router.value.adapter import AdapterConfig
from router.value.corpus import CorpusError, fingerprints
from router.value.episodes import EpisodeConfig
from router.value.evaluate import Score
from router.value.leave_out import Left, tables, without
from router.value.train import RecipeError, TrainConfig

CONFIG = TrainConfig(
    sources=("sums", "cities"),
    left_out=("words",),
    steps=4,
    warmup=2,
    adapter=AdapterConfig(connector="layers", axes=4),
    head={"hidden": 8},
    episodes=EpisodeConfig(policies=4, queries=8, most_context=20),
)
SHARED = "Which is longer, a mile or a kilometre?"  # asked in two sources


def write_source(folder, texts):
    """Prompts that every other one of five models answers rightly, nine times in ten."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    ids = range(len(texts))
    pd.DataFrame({"prompt_id": ids, "dataset": "toy", "text": texts}).to_parquet(folder / "prompts.parquet")
    rows = [
        {"prompt_id": p, "model": f"m{m}", "score": float((p + m) % 2 == (rng.random() < 0.9))}
        for p in ids
        for m in range(5)
    ]
    pd.DataFrame(rows).to_parquet(folder / "outcomes.parquet")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_source(root / "sums", [f"What is {i} + {i * 7 % 11}?" for i in range(60)] + [SHARED])
    write_source(root / "cities", [f"Where is city number {i}?" for i in range(60)] + [SHARED.upper()] * 1)
    write_source(root / "words", [f"Spell the word of {i} letters." for i in range(60)])
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory, root):
    """Every source left out, with what was told on the way."""
    out, told = tmp_path_factory.mktemp("out"), []
    found = list(leave_out.leave_out(CONFIG, root, out / "cache", out, seeds=2, tell=told.append))
    return out, found, told


def test_weights_are_trained_without_the_source_and_measured_on_it(done, root):
    out, found, told = done
    assert [left.source for left in found] == ["sums", "cities", "words"]
    assert len(told) == 3
    for name, kept in (("sums", ("cities",)), ("cities", ("sums",)), ("as-it-is", ("sums", "cities"))):
        assert tuple(checkpoint.load(out / name / "v0.safetensors").training["sources"]) == kept
    for left in found:
        assert {score.source for score in left.scores} == {left.source}
        assert {score.seed for score in left.scores} == {0, 1}
        assert {score.context for score in left.scores} == {32}  # 61 prompts: no larger context leaves 24


def test_a_prompt_that_another_source_taught_is_not_asked(done):
    out, found, _ = done
    taught = {
        left.source: checkpoint.load(out / left.source / "v0.safetensors").trained_on for left in found[:2]
    }
    for left in found[:2]:
        seen = int(np.isin(fingerprints([SHARED]), taught[left.source])[0])
        assert (left.prompts, left.seen) == (61 - seen, seen)
    assert sum(left.seen for left in found) >= 1


def test_what_is_there_is_not_made_again_and_a_missing_source_is(done, root, monkeypatch):
    out, found, _ = done
    (out / "cities" / "scores-2.json").unlink()
    monkeypatch.setattr(leave_out, "train", None)  # its weights are there: only measured
    again = list(leave_out.leave_out(CONFIG, root, out / "cache", out, seeds=2))
    assert again == found


def test_another_recipe_is_told_and_not_mixed_in(done, root):
    out = done[0]
    with pytest.raises(RecipeError, match="another recipe made what is there"):
        next(leave_out.leave_out(replace(CONFIG, seed=1), root, out / "cache", out, ["sums"], seeds=2))


def test_a_source_that_is_not_there_and_the_only_one_are_told(tmp_path, root):
    with pytest.raises(CorpusError, match="streets"):
        next(leave_out.leave_out(CONFIG, root, tmp_path, tmp_path, ["streets"]))
    with pytest.raises(RecipeError, match="no source left"):
        without(replace(CONFIG, sources=("sums",)), "sums")


def test_the_command_leaves_out_one_source_and_writes_its_table(tmp_path, root, done):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "sources: [sums, cities]\nleft_out: [words]\nsteps: 2\nwarmup: 1\nadapter: {connector: layers, axes: 4}\n"
        "head: {hidden: 8}\nepisodes: {policies: 4, queries: 8, most_context: 20}\n"
    )
    places = ["--data", str(root), "--out", str(tmp_path / "out"), "--cache", str(done[0] / "cache")]
    asked = ["--recipe", str(recipe), "--sources", "sums", "--seeds", "1"]
    answer = CliRunner().invoke(app, ["leave-out", *places, *asked])
    assert answer.exit_code == 0, answer.output
    text = (tmp_path / "out" / "leave-out.md").read_text()
    assert text.strip() in answer.output
    assert "| sums |" in text
    assert "| cities |" not in text
    assert json.loads((tmp_path / "out" / "sums" / "scores-1.json").read_text())["source"] == "sums"


def made_up(leads):
    """Scores of four models, two draws; beside the fleet V0 leads ridge by so much at each N, unevenly at 1,024."""
    scores = []
    for size, lead in leads.items():
        auc = {"ridge": 0.6, "knn": 0.58, "v0": 0.6, "v0-fleet": 0.6 + lead, "mean": 0.5}
        for model in range(4):
            for seed in range(2):
                noise = 0.01 * (model - 1.5) + 0.005 * (
                    seed - 0.5
                )  # of model and draw: gone from paired differences
                for name, mean in auc.items():
                    uneven = 0.02 * (model - 1.5) if (size, name) == (1024, "v0-fleet") else 0.0
                    found = {"auc": mean + noise + uneven, "mse": 0.2, "ece": 0.03}
                    scores.append(Score("made", f"m{model}", name, size, seed, found))
    return scores


def test_the_table_says_which_bars_are_reached_by_paired_differences():
    text = tables([Left("made", 2000, 0, "", made_up({32: -0.01, 256: 0.04, 1024: 0.01}))])
    row = next(line for line in text.splitlines() if line.startswith("| made | 2,000 | 4 |"))
    assert "0.600 / 0.640 / 0.600 / 0.580" in row
    assert "+0.040 [+0.040, +0.040] reached" in row
    assert "+0.010 [-0.0" in row.split(" | ")[7]  # missed, with an interval over models
    assert row.split(" | ")[7].endswith("] missed")
    assert row.split(" | ")[8] == "+0.010 [+0.010, +0.010] reached |"  # .59 with 32, kNN's .58 with 256
    assert "- lead at N=256, bar +0.03: reached on 1 of 1 sources, +0.040 on average." in text
    assert "- lead at N=1024, bar +0.02: reached on 0 of 1 sources, +0.010 on average." in text
    assert "| made | 0.200 / 0.200 / 0.200 | 0.030 / 0.030 / 0.030 |" in text


def test_a_source_too_small_for_a_context_has_a_dash_and_is_not_counted():
    text = tables([Left("made", 60, 0, "", made_up({32: 0.05}))])
    row = next(line for line in text.splitlines() if line.startswith("| made | 60 |"))
    assert row.split(" | ")[4:] == ["–", "–", "–", "–", "– |"]
    assert "on average" not in text
    assert "ECE" not in text
