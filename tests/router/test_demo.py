"""The demo tells the whole story on the shipped models, with a small stand-in for V0."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console

from fleet.nano.commands import shipped
from fleet.nano.prices import models_in
from fleet.tasks import Task
from router.config import load
from router.demo.asking import Answer, at_random, line, oracle
from router.demo.local import CannotServe, add_model, nano_fleet, serving, write_settings
from router.demo.story import Sizes, tell
from router.value.batcher import Scored

SMALL = Sizes(
    probes=110,
    held_out=44,
    betas=(0.0, 0.75, 1.0),
    most_feedback=60,
    specialist_probes=64,
    specialist_prompts=44,
)


class Neighbours:
    """Values a prompt by its eight most similar prompts in the context; words make similarity."""

    version, dim = "neighbours-1", 256

    async def fit(self, embeddings: Any, labels: Any, beside: Any = None) -> Any:
        return np.asarray(embeddings, np.float32), np.asarray(labels, np.float32)

    async def fit_fleet(self, histories: Any) -> Any:
        return [await self.fit(*history) for history in histories]

    async def fit_amounts(self, histories: Any) -> Any:
        return [None for _ in histories]

    def read(self, text: str) -> Any:
        counts = np.zeros(self.dim, np.float32)
        words = re.findall(r"[a-z]+|\d|[^\w\s]", text.lower())
        for word in (*words, *map("".join, pairwise(words))):
            counts[zlib.crc32(word.encode()) % self.dim] += 1
        return np.sqrt(counts) / (np.linalg.norm(np.sqrt(counts)) + 1e-9)

    async def embed(self, text: str) -> Any:
        return self.read(text)

    async def score(self, text: str, contexts: Any) -> Scored:
        prompt = self.read(text)
        values = [self.value(prompt, *context) for context in contexts]
        timings = {"backbone": 0.0, "adapter": 0.0, "head": 0.0}
        return Scored(prompt, np.array(values, np.float32), timings)

    def value(self, prompt: Any, embeddings: Any, labels: Any) -> float:
        if not len(labels):
            return 0.5
        nearest = np.argsort(-(embeddings @ prompt))[:8]
        return float(labels[nearest].mean())

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("demo")
    console = Console(file=io.StringIO(), width=100)
    seen: list[str] = []

    async def afterwards(url: str) -> None:
        async with httpx.AsyncClient() as client:
            seen.append((await client.get(f"{url}/healthz")).text)

    results = asyncio.run(tell(console, out, seed=3, sizes=SMALL, scorer=Neighbours(), afterwards=afterwards))
    assert seen, "the gateway still serves when the story is over"
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), results, out


def lines(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in results["lines"]}


class TestTheStory:
    def test_every_beta_and_every_reference_is_measured(self, told: Any) -> None:
        text, results, _ = told
        measured = lines(results)
        assert {
            "β = 0",
            "β = 0.75",
            "β = 1",
            "cheapest: xs",
            "strongest: think",
            "random",
            "oracle",
        } <= set(measured)
        assert all(name in text for name in measured)
        assert measured["β = 0"]["shares"] == {"xs": 1.0}
        assert measured["oracle"]["accuracy"] > measured["strongest: think"]["accuracy"]
        assert measured["random"]["accuracy"] > measured["cheapest: xs"]["accuracy"]

    def test_a_higher_beta_buys_accuracy_for_money(self, told: Any) -> None:
        measured = lines(told[1])
        for low, high in (("β = 0", "β = 0.75"), ("β = 0", "β = 1")):  # of high ones, either may be dearer
            assert measured[low]["usd_per_1k"] < measured[high]["usd_per_1k"]
        assert measured["β = 0.75"]["accuracy"] > measured["β = 0"]["accuracy"] + 0.2

    def test_the_picture_and_the_numbers_lie_where_the_story_says(self, told: Any) -> None:
        text, results, out = told
        picture = (out / "frontier.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert str(out / "frontier.png") in text
        assert json.loads((out / "results.json").read_text())["lines"] == results["lines"]

    def test_feedback_changes_a_decision(self, told: Any) -> None:
        text, results, _ = told
        feedback = results["feedback"]
        assert feedback["before"]["chosen"] != feedback["after"]["chosen"]
        assert f"it goes to {feedback['after']['chosen']}" in text

    def test_a_sixth_model_raises_accuracy_in_its_domain_without_a_restart(self, told: Any) -> None:
        sixth = told[1]["sixth"]
        assert sixth["after"]["shares"]["dates"] > 0.2
        assert "dates" not in sixth["before"]["shares"]
        assert sixth["after"]["accuracy"] > sixth["before"]["accuracy"]
        assert sixth["elsewhere_after"]["accuracy"] > sixth["elsewhere_before"]["accuracy"] - 0.1

    def test_nothing_stays_behind_but_what_was_asked_for(self, told: Any) -> None:
        assert sorted(path.name for path in told[2].iterdir()) == ["frontier.png", "results.json"]


TASKS = [Task(f"task {n}", "1", "exact", "sums", "arithmetic", 1) for n in range(3)]


def answers(model: str, scores: list[float], cost: float) -> list[Answer]:
    return [Answer(task, model, score, cost, "dec") for task, score in zip(TASKS, scores, strict=True)]


def test_the_oracle_takes_the_cheapest_right_answer_else_the_cheapest() -> None:
    by_model = {"dear": answers("dear", [1, 1, 0], 0.5), "cheap": answers("cheap", [1, 0, 0], 0.1)}
    assert [answer.model for answer in oracle(by_model)] == ["cheap", "dear", "cheap"]
    perfect = line("oracle", oracle(by_model))
    assert perfect.accuracy == pytest.approx(2 / 3)
    assert perfect.usd_per_1k == pytest.approx(1000 * 0.7 / 3)
    assert perfect.shares == {"cheap": pytest.approx(2 / 3), "dear": pytest.approx(1 / 3)}


def test_chance_is_the_mean_of_the_models() -> None:
    by_model = {"dear": answers("dear", [1, 1, 0], 0.5), "cheap": answers("cheap", [0, 0, 0], 0.1)}
    die = at_random(by_model)
    assert die.accuracy == pytest.approx(1 / 3)
    assert die.usd_per_1k == pytest.approx(300)


MODELS = models_in(shipped(), "http://127.0.0.1:8100/v1")


def test_a_model_joins_router_yaml_as_one_line_at_its_end(tmp_path: Path) -> None:
    path = write_settings(tmp_path, MODELS[:2], 0.9)
    assert list(load(path).fleet) == MODELS[:2]
    added = add_model(path, MODELS[2])
    assert added.count("\n") == 1
    assert list(load(path).fleet) == MODELS[:3]


def test_a_port_that_is_taken_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = write_settings(tmp_path, MODELS[:1], 0.9)
    with serving(path, scorer=Neighbours()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(CannotServe, match=str(port)), serving(path, port, Neighbours()):
            pass


def test_a_fleet_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match=r"config\.json"), nano_fleet(tmp_path, tmp_path):
        pass
