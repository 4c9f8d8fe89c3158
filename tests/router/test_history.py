"""A history on its way to another provider: sealed reasoning stays behind, ids of tool calls are made to fit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.history import fit, sealed

CALL = {"id": "toolu_01A", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "how many?"}
THOUGHT = {
    "role": "assistant",
    "content": None,
    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "c2VhbA=="}],
    "reasoning_content": "hm",
    "tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": "x"}}}],
}
RESULT = {"role": "tool", "tool_call_id": "toolu_01A", "content": "4"}
BODY = {"model": "auto", "messages": [USER, THOUGHT, RESULT], "temperature": 0}


def test_a_providers_own_history_is_the_same_object():
    assert fit(BODY, "anthropic", foreign=False) is BODY
    plain = {"messages": [USER, {"role": "assistant", "content": "four"}, USER]}
    assert fit(plain, "mistral", foreign=True) is plain
    text = {"prompt": "once"}
    assert fit(text, "mistral", foreign=True) is text


def test_sealed_reasoning_does_not_cross_providers_and_all_else_does():
    sent = fit(BODY, "openai", foreign=True)
    user, assistant, result = sent["messages"]
    assert assistant == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert (user, result, sent["temperature"]) == (USER, RESULT, 0)
    assert "thinking_blocks" in THOUGHT  # the caller's is not changed


@given(st.text(min_size=1, max_size=80))
@pytest.mark.parametrize(
    ("provider", "pattern"),
    [("mistral", "[a-zA-Z0-9]{9}"), ("anthropic", "[a-zA-Z0-9_-]{1,64}"), ("openai", r"[\s\S]{1,40}")],
)
def test_ids_fit_their_provider_and_calls_still_meet_their_results(provider, pattern, identity):
    calls = {"role": "assistant", "tool_calls": [{**CALL, "id": identity}, {**CALL, "id": identity + "2"}]}
    results = [{**RESULT, "tool_call_id": identity}, {**RESULT, "tool_call_id": identity + "2"}]
    body = {"messages": [USER, calls, *results]}
    _, sent, *answers = fit(body, provider, foreign=False)["messages"]
    ids = [call["id"] for call in sent["tool_calls"]]
    assert ids == [answer["tool_call_id"] for answer in answers]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(pattern, each) for each in ids)
    assert fit(body, provider, foreign=False) == fit(body, provider, foreign=False)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "reasoning"]),
            st.none()
            | st.sampled_from(["assistant", "tool", "x"])
            | st.lists(st.none() | st.text(max_size=2)),
        ),
        max_size=4,
    )
)
def test_messages_of_any_shape_pass(messages):
    fitted = fit({"messages": messages}, "mistral", foreign=True)["messages"]
    assert len(fitted) == len(messages)
    assert sealed(messages) in (True, False)


def test_only_a_turn_that_reasons_and_waits_for_its_tools_is_sealed():
    assert sealed([USER, THOUGHT, RESULT])
    assert not sealed([USER, THOUGHT, RESULT, USER])
    assert not sealed([USER, {"role": "assistant", "tool_calls": [CALL]}, RESULT])
    assert not sealed([])
