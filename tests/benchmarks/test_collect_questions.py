"""Questions come from our own tasks or from a file whose every mistake is named by its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.collect_questions import Source, digest, from_file, questions
from benchmarks.settings import SettingsError
from fleet.tasks import generate
from router.probes import BadProbes

SUM = {"prompt": "What is 3 + 4?", "answer": "7", "verifier": "number"}
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 3 + 5?"}]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_procedural_tasks_are_those_of_the_library() -> None:
    asked = questions(Source("procedural:40", "validation", "sums,units", 3))
    tasks = generate(40, 3, "validation", ["sums", "units"])
    assert [q.text for q in asked] == [task.prompt for task in tasks]
    assert asked[0].messages == [{"role": "user", "content": tasks[0].prompt}]
    assert {q.dataset for q in asked} == {"arithmetic", "dates and units"}
    assert asked[0].facts == {"family": tasks[0].family, "difficulty": tasks[0].difficulty}
    assert len({q.id for q in asked}) == 40


def test_a_file_may_hold_prompts_or_conversations(tmp_path: Path) -> None:
    talk = {"messages": TALK, "answer": "8", "verifier": "number", "dataset": "talk", "id": "t1"}
    asked = from_file(write(tmp_path / "mine.jsonl", SUM, "", talk, {**SUM, "note": "again"}))
    assert [(q.dataset, q.text, q.answer) for q in asked] == [
        ("mine", "What is 3 + 4?", "7"),
        ("talk", "What is 3 + 5?\n\nBe brief.", "8"),  # as the gateway reads it
    ]
    assert asked[1].messages == TALK
    assert asked[1].id == "t1"
    assert digest(asked) == digest(from_file(tmp_path / "mine.jsonl")) != digest(asked[:1])


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        SUM,
        '{"prompt": "half a line',
        {"prompt": "no answer", "verifier": "number"},
        {**SUM, "verifier": "vibes"},
        {**SUM, "answer": "8"},
        {**SUM, "messages": TALK},
        {"messages": [], "answer": "8", "verifier": "number"},
        {"messages": [{"content": "hi"}], "answer": "8", "verifier": "number"},
        {"messages": [{"role": "user", "content": 3}], "answer": "8", "verifier": "number"},
        {**SUM, "id": 7},
        {**SUM, "prompt": "one", "id": "x"},
        {**SUM, "prompt": "another", "id": "x"},
        '{"prompt": "\\ud800", "answer": "7", "verifier": "number"}',
    )
    with pytest.raises(BadProbes) as caught:
        from_file(path)
    wanted = {
        2: "is not JSON",
        3: "lacks answer",
        4: "unknown verifier 'vibes'",
        5: "asks what an earlier line asks, with another answer",
        6: "has both prompt and messages",
        7: "messages must be a list",
        8: "every message must be an object with a role",
        9: "there is no text that the gateway would read",
        10: "id must be text",
        12: "id 'x' came before, with another prompt",
        13: "cannot be sent as JSON",
    }
    assert len(caught.value.problems) == len(wanted)
    for problem, (line, words) in zip(caught.value.problems, wanted.items(), strict=True):
        assert problem.startswith(f"{path}:{line}: ")
        assert words in problem
    with pytest.raises(SettingsError, match=r"mine\.jsonl:2: is not JSON"):
        questions(Source(str(path)))
