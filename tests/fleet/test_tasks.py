"""Tasks are verifiable, repeatable and split without leaks; answers are accepted, near misses are not."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import Counter
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import islice, pairwise
from random import Random
from statistics import fmean

import pytest

from fleet.tasks import DIFFICULTIES, DOMAINS, FAMILIES, Task, generate, stream
from fleet.tasks.task import Split, side
from router.verifiers import VERIFIERS, grade

OWNERS: tuple[Split, ...] = ("train", "validation", "test")
SAMPLE = generate(len(FAMILIES) * len(DIFFICULTIES) * 6, seed=11, split="test")
EACH = 60  # tasks that a property is tried on, in each family


def near_misses(task: Task) -> list[str]:
    """Answers of the right form that are wrong by little."""
    answer = task.answer
    match task.verifier:
        case "number":
            decimals = len(answer.partition(".")[2])
            small = Fraction(1, 10**decimals)
            wrong = [Fraction(answer) + small, Fraction(answer) - small, Fraction(answer) * 10]
            wrong += [-Fraction(answer), Fraction(answer) + 10, _swapped(answer)]
            return [f"{float(n):.{decimals}f}" for n in wrong if n is not None and n != Fraction(answer)]
        case "list":
            entries = answer.split(", ")
            turned = entries[1:] + entries[:1]
            wrong_lists = [entries[:-1], [*entries, entries[0]], turned, [*entries[:-1], "7"], entries[::-1]]
            return [", ".join(each) for each in wrong_lists if each and each != entries]
        case "date":
            day = date.fromisoformat(answer)
            return [(day + timedelta(n)).isoformat() for n in (-365, -30, -1, 1, 7, 31)]
        case "choice":
            return [letter for letter in "ABCD" if letter != answer]
        case "json":
            record = json.loads(answer)
            less = dict(list(record.items())[1:])
            key = next(iter(record))
            changed = {**record, key: str(record[key])[:-1]}
            return [json.dumps(each) for each in (less, changed, {**record, "note": ""}, [record])]
    if re.fullmatch(r"\d\d:\d\d", answer):
        then = datetime.strptime(answer, "%H:%M")
        return [f"{then + timedelta(minutes=n):%H:%M}" for n in (-60, -1, 1, 10, 720)]
    wrong_words = [answer[:-1], answer + answer[-1], answer[:-1] + ("x" if answer[-1] != "x" else "y")]
    said = re.findall(r"\b[A-Z][a-z]+\b|[A-Z]{2}-\d+|[\w.]+@[\w.]+\w", task.prompt)
    return [word for word in [*wrong_words, *said] if word and word.casefold() != answer.casefold()]


def _swapped(answer: str) -> Fraction | None:
    """Two neighbouring digits changed places."""
    for at, (one, two) in enumerate(pairwise(answer)):
        if one.isdigit() and two.isdigit() and one != two:
            return Fraction(answer[:at] + two + one + answer[at + 2 :])
    return None


def test_there_are_enough_families_and_domains() -> None:
    assert len(FAMILIES) >= 20
    assert len(DOMAINS) == 7
    assert {task.verifier for task in SAMPLE} >= {"number", "exact", "list", "date", "choice", "json"}
    assert {task.verifier for task in SAMPLE} <= set(VERIFIERS)


def test_tasks_are_spread_evenly_over_families_and_difficulties() -> None:
    assert set(Counter((task.family, task.difficulty) for task in SAMPLE).values()) == {6}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_accepted_however_it_is_put(family: str) -> None:
    for task in islice(stream(1, "train", [family]), EACH):
        for reply in (task.answer, f"Let me see.\nThe answer is {task.answer}", f"**{task.answer}**"):
            assert grade(task.verifier, reply, task.answer) == 1.0, (reply, task)
        assert len(task.answer) <= 130
        assert "\n" not in task.answer


@pytest.mark.parametrize("family", FAMILIES)
def test_near_misses_and_shrugs_are_not_accepted(family: str) -> None:
    for task in islice(stream(2, "train", [family]), EACH):
        misses = near_misses(task)
        assert len(misses) >= 2
        for reply in (*misses, *(f"The answer is {miss}" for miss in misses), "I don't know.", ""):
            assert grade(task.verifier, reply, task.answer) == 0.0, (reply, task)


STEPPED = sorted(set(FAMILIES) - {"sorting", "messages", "records"})


@pytest.mark.parametrize("family", STEPPED)
def test_steps_end_in_the_answer_and_every_equation_in_them_holds(family: str) -> None:
    for task in islice(stream(3, "train", [family]), EACH):
        assert task.steps is not None
        assert grade(task.verifier, task.steps, task.answer) == 1.0, task
        for near_miss in near_misses(task):
            assert grade(task.verifier, task.steps, near_miss) == 0.0, (near_miss, task)
        for part in re.split(r"\n|, |: ", task.steps):
            sides = part.removesuffix("...").split(" = ")
            if len(sides) > 1 and all(re.fullmatch(r"[\d\s+*/().-]+", side) for side in sides):
                values = [_value(side) for side in sides]
                tolerance = Fraction(1, 10**4) if part.endswith("...") else 0
                assert all(abs(value - values[0]) <= tolerance for value in values), (part, task)


def _value(expression: str) -> Fraction:
    exact = re.sub(r"\d+(?:\.\d+)?", lambda number: f"Fraction('{number[0]}')", expression)
    value: Fraction = eval(exact, {"Fraction": Fraction})
    return value


def test_tasks_without_anything_to_work_out_have_no_steps() -> None:
    assert {task.family for task in SAMPLE if task.steps is None} == set(FAMILIES) - set(STEPPED)


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
    trained = {task.prompt for task in islice(stream(1), 3000)}
    assert not trained & {task.prompt for split in OWNERS[1:] for task in generate(500, 1, split)}


def test_the_key_of_a_problem_does_not_depend_on_its_wording() -> None:
    """Two draws that differ only in the words around the numbers have one key."""
    draws = [FAMILIES["products"].draw(Random(n), 1) for n in range(2000)]
    wordings: dict[str, set[str]] = {}
    for draft in draws:
        wordings.setdefault(draft.key, set()).add(draft.prompt)
    assert max(map(len, wordings.values())) > 3


def test_no_prompt_comes_twice_while_there_are_others() -> None:
    prompts = [task.prompt for task in generate(300, 3, "test", ["weekday"])]
    assert len(set(prompts)) == 300


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_come_in_many_wordings(family: str) -> None:
    questions = [phrases for phrases in FAMILIES[family].phrases if phrases]
    assert sum(map(len, questions)) >= 12, "ways of asking"
    assert all(len(set(phrases)) == len(phrases) for phrases in questions)
    prompts = [task.prompt for task in generate(80, 2, "test", [family])]
    assert len({re.sub(r"[^a-z ]", "", prompt.lower())[:24] for prompt in prompts}) > 25


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_look_typed_and_not_assembled(family: str) -> None:
    for task in generate(80, 9, "train", [family]):
        assert task.prompt == task.prompt.strip()
        prose = task.prompt if task.domain != "code tracing" else task.prompt.split("\n\n")[0]
        prose = re.sub(r" = \?| \.\.\.|, \?", "", prose)  # as in 3 + 4 = ?
        assert not re.search(r"[{}]|  | [.,?]|\.\.|\.\?", prose), task.prompt


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"units", "sequences", "weekday"}))
def test_difficult_problems_have_more_to_read_and_to_work_out(family: str) -> None:
    """Of the other three, the difficulty lies in what must be known: units, kinds of pattern, the calendar."""
    tasks = generate(400, 4, "train", [family])
    work = [
        fmean(len(t.prompt) / 4 + len(t.steps or t.answer) for t in tasks if t.difficulty == d)
        for d in DIFFICULTIES
    ]
    assert work[0] < work[2] < work[4]
    assert work[4] > 1.3 * work[0]


def test_families_can_be_chosen_and_an_unknown_one_is_an_error() -> None:
    assert {task.family for task in generate(20, 1, "test", ["sums", "units"])} == {"sums", "units"}
    with pytest.raises(KeyError, match="juggling"):
        generate(1, 1, "test", ["juggling"])
