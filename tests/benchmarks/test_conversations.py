"""Chats made of outcome data, the texts that are read of them, and what a choice of text is worth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import conversations
from benchmarks.conversations import AGAINST, ARRANGEMENTS, CHOICES, SHIPPED, measure, placements
from router.features import extract
from router.value.corpus import Source
from router.value.metrics import auc

INSTRUCTION = "\n\nAnswer with one word and nothing else, please: yes or no."


def source(texts, datasets=None, seed=0):
    """Models 0 and 2 are good at the first half of the prompts, the others at the second."""
    rng = np.random.default_rng(seed)
    half = len(texts) // 2
    likely = [[0.9 if (p < half) == (m % 2 == 0) else 0.1 for m in range(4)] for p in range(len(texts))]
    scores = (rng.random((len(texts), 4)) < np.array(likely)).astype(np.float32)
    ids = [str(number) for number in range(len(texts))]
    return Source("toy", ids, texts, datasets or ["a"] * len(texts), [f"m{m}" for m in range(4)], scores)


SUMS = [f"What is {i} + {i * 7 % 11}?" for i in range(60)]
CITIES = [f"Name the country in which the old city number {i} lies." for i in range(60)]


def test_a_short_follow_up_is_worth_nothing_to_whoever_reads_only_the_last_turn(value_model):
    found = {
        (each.arrangement, each.choice): each
        for each in measure(
            [source(SUMS + CITIES)], value_model, 40, 2, [AGAINST, "turns, newest first", SHIPPED]
        )
    }
    assert all(each.gain == 0 for (name, _), each in found.items() if name == "plain")
    better = found["short follow-up (made)", "turns, newest first"]
    assert better.gain > 0.1
    assert better.gain > 1.96 * better.error > 0
    assert better.auc == pytest.approx(found["plain", AGAINST].auc, abs=0.03)
    assert better.by_source == {"toy": better.gain}
    assert found["short follow-up (made)", AGAINST].gain == 0
    assert "tools (real)" not in {name for name, _ in found}


def test_every_arrangement_keeps_the_prompt_and_makes_chats_that_the_gateway_takes():
    made = source(SUMS + CITIES)
    for name, arrange in ARRANGEMENTS.items():
        chats = arrange(made)
        if chats is None:
            continue
        for prompt, chat in zip(made.texts, chats, strict=True):
            assert any(prompt in str(message["content"]) for message in chat["messages"]), name
            assert CHOICES[SHIPPED](chat) == extract({"model": "auto", **chat}).text
        if "made" in name:
            longer = sum(len(chat["messages"]) > 1 for chat in chats)
            assert longer == (len(chats) if "for all" in name else len(chats) / 2)


def test_an_instruction_that_a_data_set_repeats_is_its_system_prompt():
    texts = [text + INSTRUCTION for text in SUMS[:10]] + CITIES[:4]
    chats = conversations.instruction(source(texts, ["a"] * 10 + ["b"] * 4))  # four are too few to tell
    system, user = chats[3]["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert INSTRUCTION.strip() in system["content"]
    assert user["content"] == SUMS[3].removesuffix("?")  # which all of them end in
    assert [message["role"] for message in chats[12]["messages"]] == ["user"]


def test_functions_are_tools_and_second_turns_turns():
    called = 'Question: add 2 and 3\n\nAnswer by calling.\nFunctions: [{"name": "add"}]'
    [chat] = conversations.tools(source([called])) or [None]
    assert chat["messages"] == [{"role": "user", "content": "add 2 and 3"}]
    assert chat["tools"] == [{"type": "function", "function": {"name": "add"}}]
    assert json.loads(CHOICES["last turn, tools"](chat).partition("\n\n")[2]) == chat["tools"]
    assert conversations.tools(source(SUMS)) is None
    first, second = conversations.two_turns(source(["Sing.", "Sing.\n\nLouder."], ["x", "x_turn2"]))
    assert [message["content"] for message in second["messages"]] == ["Sing.", "Louder."]
    assert len(first["messages"]) == 1


def test_placements_are_the_auc_and_its_variance():
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        values = rng.normal(size=80)
        outcomes = (values + rng.normal(size=80) > 0.5).astype(float)
        found, shares = placements(values, outcomes)
        assert found == pytest.approx(auc(values, outcomes))
        assert shares.sum() == pytest.approx(0, abs=1e-9)
        drawn.append((found, np.sqrt((shares**2).sum())))
    aucs, errors = np.array(drawn).T
    assert errors.mean() == pytest.approx(aucs.std(), rel=0.15)
    assert np.isnan(placements(np.ones(3), np.ones(3))[0])
