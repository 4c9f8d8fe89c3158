"""Tasks are verifiable, repeatable and split without leaks."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from datetime import date, timedelta
from itertools import islice
from random import Random

import pytest

from fleet.tasks import DIFFICULTIES, DOMAINS, FAMILIES, Task, generate, stream
from fleet.tasks.task import Split, side
from router.verifiers import VERIFIERS, grade

OWNERS: tuple[Split, ...] = ("train", "validation", "test")
SAMPLE = generate(len(FAMILIES) * len(DIFFICULTIES) * 6, seed=11, split="test")


def near_miss(task: Task) -> str:
    """An answer of the right form that is wrong by little."""
    answer = task.answer
    match task.verifier:
        case "number":
            return f"{float(answer) + 1:.2f}"
        case "list":
            entries = answer.split(", ")
            return ", ".join([*entries[1:], "7"])
        case "date":
            return (date.fromisoformat(answer) + timedelta(1)).isoformat()
        case "choice":
            return "BCDA"["ABCD".index(answer)]
        case "json":
            return json.dumps({**json.loads(answer), "name": "Nobody"})
        case _:
            return answer[:-1] + ("x" if answer[-1] != "x" else "y")


def test_there_are_enough_families_and_domains() -> None:
    assert len(FAMILIES) >= 20
    assert len(DOMAINS) == 7
    assert {task.verifier for task in SAMPLE} >= {"number", "exact", "list", "date", "choice", "json"}
    assert {task.verifier for task in SAMPLE} <= set(VERIFIERS)


def test_tasks_are_spread_evenly_over_families_and_difficulties() -> None:
    assert set(Counter((task.family, task.difficulty) for task in SAMPLE).values()) == {6}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_is_accepted_and_near_misses_are_not(family: str) -> None:
    for task in (task for task in SAMPLE if task.family == family):
        assert grade(task.verifier, task.answer, task.answer) == 1.0, task
        assert grade(task.verifier, f"Let me see.\nThe answer is {task.answer}", task.answer) == 1.0, task
        assert grade(task.verifier, near_miss(task), task.answer) == 0.0, task
        assert grade(task.verifier, "I don't know.", task.answer) == 0.0, task


@pytest.mark.parametrize("family", ["loops", "lists", "functions"])
def test_the_answer_to_a_program_is_what_python_prints(family: str) -> None:
    for task in (task for task in SAMPLE if task.family == family):
        program = task.prompt.split("\n\n", 1)[1].replace("```python\n", "").replace("```", "")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, {})
        assert grade(task.verifier, printed.getvalue(), task.answer) == 1.0, task


def test_the_same_seed_gives_the_same_tasks_and_another_gives_others() -> None:
    assert generate(60, 5, "profile") == generate(60, 5, "profile") == generate(90, 5, "profile")[:60]
    assert not {t.prompt for t in generate(60, 5, "profile")} & {t.prompt for t in generate(60, 6, "profile")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_problem_belongs_to_one_split_whatever_its_wording(family: str) -> None:
    rng, sides = Random(3), Counter[str]()
    for _ in range(240):
        draft = FAMILIES[family].draw(rng, rng.choice(DIFFICULTIES))
        sides[side(family, draft.key)] += 1
    assert sides["train"] > 120, "most problems are for training"
    assert min(sides["validation"], sides["test"]) > 10
    prompts = [{t.prompt for t in generate(60, 1, split, [family])} for split in OWNERS]
    assert len(set.union(*prompts)) == sum(map(len, prompts))


def test_profile_is_another_name_of_validation() -> None:
    assert generate(30, 4, "profile") == generate(30, 4, "validation")


def test_a_split_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="no split is called 'dev'"):
        generate(1, 1, "dev")  # type: ignore[arg-type]


def test_a_stream_goes_on_for_ever_evenly_and_repeatably() -> None:
    drawn = list(islice(stream(5), 440))
    assert drawn == list(islice(stream(5), 440)) != list(islice(stream(6), 440))
    assert set(Counter((task.family, task.difficulty) for task in drawn).values()) == {4}
    easy = list(islice(stream(5, "validation", ["sums", "units"], (1, 2)), 40))
    assert {(task.family, task.difficulty) for task in easy} == {
        (f, d) for f in ("sums", "units") for d in (1, 2)
    }


def test_what_a_stream_trains_on_is_in_no_other_split() -> None:
    trained = {task.prompt for task in islice(stream(1), 4000)}
    assert not trained & {task.prompt for split in OWNERS[1:] for task in generate(1000, 1, split)}


def test_the_key_of_a_problem_does_not_depend_on_its_wording() -> None:
    """Two draws that differ only in the words around the numbers have one key."""
    draws = [FAMILIES["products"].draw(Random(n), 1) for n in range(2000)]
    wordings: dict[str, set[str]] = {}
    for draft in draws:
        wordings.setdefault(draft.key, set()).add(draft.prompt)
    assert max(map(len, wordings.values())) > 3


def test_prompts_come_in_many_wordings() -> None:
    for family in FAMILIES:
        openings = {task.prompt[:18] for task in generate(40, 2, "test", [family])}
        assert len(openings) > 6, family


def test_families_can_be_chosen_and_an_unknown_one_is_an_error() -> None:
    assert {task.family for task in generate(20, 1, "test", ["sums", "units"])} == {"sums", "units"}
    with pytest.raises(KeyError, match="juggling"):
        generate(1, 1, "test", ["juggling"])
