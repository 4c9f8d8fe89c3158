"""What a request says about itself."""

from __future__ import annotations

import pytest

from fleet.model import Model, Prices
from router.eligibility import unfit
from router.features import TOKENS_PER_IMAGE, extract


def chat(*messages, **fields):
    return {"model": "auto", "messages": list(messages), **fields}


def user(content):
    return {"role": "user", "content": content}


LONG = "Which of the rivers that flow into the Black Sea is the longest one of all?"


def system(content, role="system"):
    return {"role": role, "content": content}


def assistant(content, **fields):
    return {"role": "assistant", "content": content, **fields}


def tool(content):
    return {"role": "tool", "tool_call_id": "1", "content": content}


def test_the_text_is_the_last_user_turn_without_history():
    features = extract(chat(user("first"), assistant("yes"), user(LONG), assistant("a prefill")))
    assert features.text == LONG


def test_a_turn_of_a_few_words_is_read_with_what_came_before_it_newest_first():
    history = (
        user("first " * 20),
        assistant("yes"),
        user("second"),
        assistant(None),
        tool("7"),
        assistant("ok"),
    )
    assert extract(chat(*history, user("go on"))).text == "go on\n\n7\n\nsecond\n\n" + "first " * 20
    assert extract(chat(*history, user(LONG), assistant("ok"), user("go on"))).text == f"go on\n\n{LONG}"
    assert extract(chat(*history, user("继续" * 11))).text == "继续" * 11  # 66 bytes


def test_tools_results_after_a_short_turn_come_before_the_history():
    messages = (
        user(LONG),
        assistant("done"),
        user("and the next?"),
        assistant(None),
        tool("4"),
        tool("x" * 70),
    )
    assert extract(chat(*messages)).text == "and the next?\n\n" + "x" * 70
    assert extract(chat(user(LONG), assistant(None), tool("x" * 70))).text == LONG


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_beginning_of_the_system_prompt_stands_behind_the_turn(role):
    assert extract(chat(system("be brief", role), user(LONG))).text == f"{LONG}\n\nbe brief"
    assert extract(chat(system("b" * 500, role), user(LONG))).text == f"{LONG}\n\n" + "b" * 128
    assert extract(chat(system("", role), user(LONG))).text == LONG


def test_the_text_of_a_message_in_parts_is_its_text_parts():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    features = extract(
        chat(user([{"type": "text", "text": "what"}, image, {"type": "text", "text": "is it?"}]))
    )
    assert features.text == "what\nis it?"


def test_without_a_user_message_the_last_message_is_read():
    assert extract(chat({"role": "system", "content": "say hello"})).text == "say hello"


@pytest.mark.parametrize(
    "content", [None, 7, [], ["text"], [{"type": ["text"]}], [{"text": 3}], {"text": "x"}]
)
def test_content_of_any_shape_gives_an_empty_text(content):
    assert extract(chat(user(content))).text == ""


@pytest.mark.parametrize(
    ("fields", "need"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "tools"),
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "json_schema"}}, "json"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "logprobs"),
    ],
)
def test_a_field_needs_an_ability(fields, need):
    assert extract(chat(user("hi"), **fields)).needs == {need}


@pytest.mark.parametrize(
    ("message", "need"),
    [
        (user([{"type": "image_url", "image_url": {}}]), "vision"),
        (user([{"type": "input_audio", "input_audio": {}}]), "audio"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "tools"),
        ({"role": "tool", "tool_call_id": "1", "content": "4"}, "tools"),
    ],
)
def test_a_message_anywhere_in_the_history_needs_an_ability(message, need):
    assert extract(chat(message, user("and now?"))).needs == {need}


@pytest.mark.parametrize(
    "fields", [{"tools": []}, {"tools": None}, {"logprobs": False}, {"response_format": {"type": "text"}}]
)
def test_fields_that_ask_for_nothing_need_nothing(fields):
    assert extract(chat(user("hi"), **fields)).needs == frozenset()


def test_tokens_are_a_quarter_of_the_characters_and_images_count_by_piece_not_by_bytes():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    features = extract(chat(user([{"type": "text", "text": "x" * 401}, image])))
    assert features.input_tokens == 101 + TOKENS_PER_IMAGE


def test_tool_definitions_count_as_input():
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 400}}]
    assert extract(chat(user("hi"), tools=tools)).input_tokens > 100


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 9),
        ({"max_tokens": "5"}, None),
    ],
)
def test_the_output_limit_is_the_callers(fields, limit):
    assert extract(chat(user("hi"), **fields)).output_tokens == limit


def model(name, window=None, abilities=()):
    return Model(name, f"openai/{name}", Prices(1, 1), context_window=window, abilities=frozenset(abilities))


def test_models_that_lack_an_ability_are_named_with_what_they_lack():
    features = extract(chat(user([{"type": "image_url"}]), tools=[{}]))
    reasons = unfit(
        [model("blind", abilities=["tools"]), model("able", abilities=["tools", "vision"])], features
    )
    assert reasons == {"blind": "lacks vision"}


def test_a_window_must_hold_the_prompt_and_the_requested_output():
    features = extract(chat(user("x" * 400), max_tokens=100))
    assert features.input_tokens == 100
    assert unfit([model("just", window=200), model("unknown")], features) == {}
    assert set(unfit([model("short", window=199)], features)) == {"short"}
