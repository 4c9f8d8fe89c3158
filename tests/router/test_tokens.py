"""Counting tokens: exact once the tokenizer is there, corrected by what models report."""

from __future__ import annotations

import pytest

from router.tokens import AT_ONCE, STEP, TokenCounter


@pytest.fixture(scope="module")
def counter():
    counter = TokenCounter()
    counter.load()
    return counter


def test_before_it_has_loaded_four_characters_are_a_token():
    counter = TokenCounter()
    assert not counter.exact
    assert counter.now(["x" * 9, ""]) == 3


async def test_it_counts_as_o200k_does_and_long_texts_alike(counter):
    assert counter.exact
    assert counter.now(["Hello, world!"]) == 4
    text = "one two three four " * (AT_ONCE // 10)
    assert await counter.count([text]) == counter.now([text]) < len(text) / 3
    assert counter.now(["<|endoftext|>"]) > 1  # a caller's text is text


def test_a_model_that_counts_otherwise_is_learned_from_its_reports():
    counter = TokenCounter()
    counter.load()
    counter.learn("claude", 1000, 1300)
    assert counter.of_model("claude", 100) == 130
    counter.learn("claude", 1000, 1500)
    assert counter.of_model("claude", 1000) == round(1300 + STEP * 200)
    counter.learn("claude", 3, 900)  # a template's tokens, not a tokenizer's
    assert counter.of_model("claude", 1000) == 1320
    assert counter.of_model("gpt", 100) == 100
