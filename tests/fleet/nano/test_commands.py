"""The commands as processes: training several models, serving until told to end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading

import httpx
import pytest
from typer.testing import CliRunner

from fleet.nano import roster, train
from fleet.nano.engine import load_fleet
from fleet.nano.examples import Diet
from fleet.nano.roster import Recipe
from router.cli import app
from tests.fleet.nano import tiny


def recipe(name, tokens):
    return Recipe(name, "", 16, 1, 2, 32, tokens, Diet(("algebra",)), batch_tokens=1024, pool_tasks=48)


def test_train_nano_trains_what_is_not_trained_yet(tmp_path, monkeypatch):
    recipes = {name: recipe(name, 3_000) for name in ("one", "two")}
    monkeypatch.setattr(train, "TOKENIZER_TASKS", 220)
    monkeypatch.setattr(roster, "RECIPES", recipes)
    train.train(recipes["two"], tmp_path, lambda _: None, worker=False)
    written = (tmp_path / "two" / "model.safetensors").stat().st_mtime_ns
    told = CliRunner().invoke(app, ["fleet", "train-nano", "--out", str(tmp_path), "--jobs", "1"])
    assert told.exit_code == 0, told.output
    assert list(load_fleet(tmp_path)) == ["one", "two"]
    assert (tmp_path / "two" / "model.safetensors").stat().st_mtime_ns == written
    last = json.loads((tmp_path / "training" / "one" / "log.jsonl").read_text().splitlines()[-1])
    assert last["tokens"] >= 3_000


def test_train_nano_says_that_a_recipe_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "TOKENIZER_TASKS", 220)
    monkeypatch.setattr(roster, "RECIPES", {"one": recipe("one", 4_000)})
    train.train(recipe("one", 1_000), tmp_path, lambda _: None, worker=False)
    told = CliRunner().invoke(app, ["fleet", "train-nano", "--out", str(tmp_path), "--jobs", "1"])
    assert told.exit_code == 2
    assert "another recipe" in told.output


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_serve_nano_finishes_replies_before_it_ends(tmp_path):
    tiny.write(tmp_path / "tiny", window=4096)
    run = [sys.executable, "-m", "router", "fleet", "serve-nano", "--models", str(tmp_path), "--port", "0"]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.]+:\d+", line)))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "max_tokens": 60,
            "temperature": 0,
        }
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(60) in (0, -signal.SIGTERM)  # uvicorn ends by the signal that asked it to
