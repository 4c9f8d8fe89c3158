"""Every verifier forgives form, never substance, and never raises on what a model may write."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.verifiers import VERIFIERS, UnknownVerifier, grade

RIGHT = [
    ("number", "42", "42"),
    ("number", "The answer is 42.", "42"),
    ("number", "482 + 917 = 1399, minus 33 leaves 1,366", "1366"),
    ("number", "That is $16.30 in change.", "16.30"),
    ("number", "It costs 16.3 dollars", "16.30"),
    ("number", "x = -7", "-7"),
    ("number", "x = −7", "-7"),
    ("number", "so 3/4 of it", "0.75"),
    ("number", "\\boxed{\\frac{3}{4}}", "3/4"),
    ("number", "about 1.2e3 km", "1200"),
    ("number", "**15**", "15.0"),
    ("exact", "olleh", "olleh"),
    ("exact", "Olleh.", "olleh"),
    ("exact", "Letter by letter:\no l l e h\nThe answer is 'olleh'.", "olleh"),
    ("exact", "It ends at **14:25**.", "14:25"),
    ("exact", "```\nolleh\n```", "olleh"),
    ("exact", "Arrival: 14:25", "14:25"),
    ("list", "3, 5, 9", "3, 5, 9"),
    ("list", "Sorted: [3, 5, 9].", "3, 5, 9"),
    ("list", "The answer is apple, kiwi, and pear.", "apple, kiwi, pear"),
    ("list", "Answer: island, kiwi", "island, kiwi"),
    ("exact", "The answer is Isla.", "Isla"),
    ("list", "Here you go:\n- apple\n- kiwi\n- pear", "apple, kiwi, pear"),
    ("list", "1. apple\n2. kiwi", "apple, kiwi"),
    ("date", "2024-04-25", "2024-04-25"),
    ("date", "From March 11, 2024 you reach April 25th, 2024.", "2024-04-25"),
    ("date", "It is **25 April 2024**.", "2024-04-25"),
    ("date", "04/25/2024", "2024-04-25"),
    ("date", "3/4/2024", "2024-04-03"),
    ("choice", "B", "B"),
    ("choice", "(b)", "B"),
    ("choice", "The correct answer is **B**.", "B"),
    ("choice", "Option A fails, so I choose B", "B"),
    ("choice", "B) the door is open", "B"),
    ("choice", "A chain of rules leads there.\nB) the door is open", "B"),
    ("contains", "The capital, of course, is Paris!", "paris"),
    ("json", 'Sure!\n```json\n{"b": 2, "a": [1.0, "x"]}\n```', '{"a": [1, "x"], "b": 2}'),
    ("json", "[1, 2]", "[1, 2]"),
    ("json", "7", "7"),
    ("regex", "order KX-123 it is", r"\bKX-\d{3}\b"),
]

WRONG = [
    ("number", "42 is less than 43", "42"),
    ("number", "", "42"),
    ("number", "forty-two", "42"),
    ("number", "7", "-7"),
    ("number", "10 - 7", "-7"),
    ("number", "16.31", "16.30"),
    ("number", "1366", "136.6"),
    ("number", "1/0", "1"),
    ("exact", "hello", "olleh"),
    ("exact", "the answer is not olleh at all", "olleh"),
    ("exact", "north west", "west"),
    ("list", "3, 9, 5", "3, 5, 9"),
    ("list", "3, 5", "3, 5, 9"),
    ("list", "3, 5, 9, 9", "3, 5, 9"),
    ("date", "2024-04-26", "2024-04-25"),
    ("date", "2024-13-45", "2024-04-25"),
    ("date", "April 25", "2024-04-25"),
    ("choice", "C", "B"),
    ("choice", "It is A or B", "B"),
    ("choice", "A bell rings", "A"),
    ("contains", "Parisian", "Paris"),
    ("json", '{"a": true}', '{"a": 1}'),
    ("json", '{"a": 1, "b": 2}', '{"a": 1}'),
    ("json", '{"a": 1', '{"a": 1}'),
    ("regex", "order KX-12", r"\bKX-\d{3}\b"),
    ("regex", "anything", "("),
]


@pytest.mark.parametrize(("verifier", "reply", "answer"), RIGHT)
def test_a_right_reply_in_any_form_is_accepted(verifier: str, reply: str, answer: str) -> None:
    assert grade(verifier, reply, answer) == 1.0


@pytest.mark.parametrize(("verifier", "reply", "answer"), WRONG)
def test_a_near_miss_is_rejected(verifier: str, reply: str, answer: str) -> None:
    assert grade(verifier, reply, answer) == 0.0


def test_every_verifier_has_both_kinds_of_example() -> None:
    assert {case[0] for case in RIGHT} == {case[0] for case in WRONG} == set(VERIFIERS)


def test_an_unknown_verifier_is_named_together_with_the_known_ones() -> None:
    with pytest.raises(UnknownVerifier, match=r"'nmber'.*exact, number, list") as caught:
        grade("nmber", "1", "1")
    assert caught.value.names == tuple(VERIFIERS)


@pytest.mark.parametrize("verifier", [name for name in VERIFIERS if name != "regex"])
@given(reply=st.text(max_size=80), answer=st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_no_reply_makes_a_verifier_raise(verifier: str, reply: str, answer: str) -> None:
    assert grade(verifier, reply, answer) in (0.0, 1.0)


@pytest.mark.parametrize("verifier", list(VERIFIERS))
@pytest.mark.parametrize(
    "reply",
    [
        "1" * 30_000 + "a1",
        "answer" + " " * 30_000,
        " and" * 8_000,
        "[" * 30_000,
        '{"a":' * 6_000,
        "1," * 15_000,
        "**`" * 10_000,
        "A " * 15_000,
        "1 " + " " * 30_000,
        ": " * 15_000,
        "9e999 1/" + "0" * 5_000,
        "answer is " * 3_000,
    ],
)
def test_long_odd_replies_are_graded_quickly(verifier: str, reply: str) -> None:
    started = time.perf_counter()
    grade(verifier, reply, "2024-04-25")
    grade(verifier, reply, "[1]")
    assert time.perf_counter() - started < 10


def test_only_the_end_of_a_very_long_reply_is_read() -> None:
    assert grade("contains", "needle" + " hay" * 10_000, "needle") == 0.0
    assert grade("number", "7 " * 20_000 + "so 8", "8") == 1.0
