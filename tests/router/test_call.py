"""Reading a chat request: only what we use is checked, the rest passes untouched."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call import read
from router.errors import BadRequest
from router.features import extract

GOOD = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


def body(**changes):
    return orjson.dumps(GOOD | changes)


def test_unknown_fields_pass_and_our_own_is_taken_out():
    call = read(body(router={"beta": 0.7, "models": ["a"]}, new_field={"deep": [1, None]}))
    assert call.body == GOOD | {"new_field": {"deep": [1, None]}}
    assert (call.beta, call.only) == (0.7, ("a",))


def test_beta_comes_from_the_body_then_from_the_header():
    assert read(body(router={"beta": 0}), "0.9").beta == 0
    assert read(body(), "0.9").beta == 0.9
    assert read(body()).beta is None


def test_usage_is_hidden_unless_asked_for():
    assert read(body()).hide_usage
    assert read(body(stream_options={"include_usage": False})).hide_usage
    assert not read(body(stream_options={"include_usage": True})).hide_usage


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user"}, "hi"]}, "messages[1]"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"router": 0.5}, "router"),
        ({"router": {"betta": 0.5}}, "router.betta"),
        ({"router": {"beta": 1.01}}, "router.beta"),
        ({"router": {"beta": -0.1}}, "router.beta"),
        ({"router": {"beta": True}}, "router.beta"),
        ({"router": {"beta": "0.5"}}, "router.beta"),
        ({"router": {"models": []}}, "router.models"),
        ({"router": {"models": "a"}}, "router.models"),
        ({"router": {"models": [1]}}, "router.models"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(changes, param):
    with pytest.raises(BadRequest) as caught:
        read(body(**changes))
    assert caught.value.param == param


@pytest.mark.parametrize("header", ["", "much", "nan", "inf", "1.5", "-1"])
def test_a_header_that_is_no_beta_is_named(header):
    with pytest.raises(BadRequest) as caught:
        read(body(), header)
    assert caught.value.param == "x-router-beta"
    with pytest.raises(BadRequest):
        read(body(router={"beta": 0.5}), header)  # which goes before it, but does not make it right


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"x"', b'{"model": NaN}', b"\xff\xfe", b"[" * 5000]
)
def test_what_is_not_a_json_object_is_refused(raw):
    with pytest.raises(BadRequest) as caught:
        read(raw)
    assert caught.value.code == "invalid_json"


def test_a_body_that_could_not_be_written_again_is_refused():
    deep = orjson.dumps(GOOD)[:-1] + b',"tools":' + b"[" * 400 + b"]" * 400 + b"}"
    with pytest.raises(BadRequest, match="nested too deeply"):
        read(deep)
    many = read(body(tools=[{"type": "function"}] * 400))
    assert len(many.body["tools"]) == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "router",
    "tools",
    "modalities",
    "response_format",
    "max_tokens",
)
MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "tool_calls"]),
        JSON | st.lists(st.dictionaries(st.sampled_from(["type", "text"]), JSON), max_size=2),
    ),
    max_size=3,
)


@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON), messages=MESSAGES)
def test_whatever_json_comes_is_read_or_refused(changes, messages):
    raw = json.dumps(GOOD | {"messages": messages or GOOD["messages"]} | changes).encode()
    try:
        call = read(raw)
    except BadRequest:
        return
    assert extract(call.body).input_tokens >= 0
    assert orjson.dumps(call.body)
