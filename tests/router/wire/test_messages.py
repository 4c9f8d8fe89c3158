"""Anthropic's messages to chat and back, checked against the types of its SDK."""

from __future__ import annotations

import anthropic.types as shapes
import orjson
import pytest
from pydantic import TypeAdapter

from router.errors import BadRequest
from router.wire.messages import shows_thinking, to_chat
from router.wire.messages_reply import Messages
from router.wire.parts import Unreadable
from router.wire.stream import LARGEST_EVENT, Retelling

EVENT = TypeAdapter(shapes.RawMessageStreamEvent)
ASK = {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}


def completion(message, reason="stop", **more):
    return {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [{"message": message, "finish_reason": reason, **more}],
    }


def chunk(delta=None, reason=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return b"data: " + orjson.dumps({"id": "chatcmpl-1", "model": "m", "choices": choices, **more}) + b"\n\n"


def tool(index, name=None, arguments="", identity=None):
    call = {"index": index, "function": {"arguments": arguments}}
    call |= {"id": identity} if identity else {}
    if name:
        call["function"]["name"] = name
    return {"tool_calls": [call]}


def told(*chunks, wire=None, size=None):
    """The events of a stream that comes in pieces of a size, each valid by the SDK's types."""
    retelling = Retelling((wire or Messages(7, thinking=True)).story())
    stream = b"".join(chunks)
    size = size or len(stream)
    out = b"".join(retelling.feed(stream[i : i + size]) for i in range(0, len(stream), size))
    events = []
    for block in out.split(b"\n\n"):
        if block and not block.startswith(b":"):
            name, data = block.split(b"\n")
            event = orjson.loads(data.removeprefix(b"data: "))
            assert name == b"event: " + event["type"].encode()
            if event["type"] != "error":
                EVENT.validate_python(event)
            events.append(event)
    return events


def test_a_conversation_with_tools_and_pictures_becomes_chat():
    chat = to_chat(
        {
            **ASK,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "stop_sequences": ["END"],
            "temperature": 0.5,
            "top_k": 3,
            "metadata": {"user_id": "u1"},
            "router": {"beta": 0.2},
            "tools": [{"name": "look", "description": "looks", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="},
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "secret"},
                        {"type": "text", "text": "I look"},
                        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                        {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "a cat"},
                        {
                            "type": "tool_result",
                            "tool_use_id": "t2",
                            "is_error": True,
                            "content": [
                                {"type": "text", "text": "dark"},
                                {"type": "image", "source": {"type": "url", "url": "http://h/i.png"}},
                            ],
                        },
                        {"type": "text", "text": "and?"},
                    ],
                },
            ],
        }
    )
    assert chat == {
        "model": "auto",
        "max_tokens": 50,
        "temperature": 0.5,
        "top_k": 3,
        "stop": ["END"],
        "user": "u1",
        "router": {"beta": 0.2},
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "description": "looks", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
                ],
            },
            {
                "role": "assistant",
                "content": "I look",
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}},
                    {"id": "t2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "a cat"},
            {"role": "tool", "tool_call_id": "t2", "content": "Error: dark"},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "http://h/i.png"}},
                    {"type": "text", "text": "and?"},
                ],
            },
        ],
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 30000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        (
            {"tool_choice": {"type": "tool", "name": "a"}},
            {"tool_choice": {"type": "function", "function": {"name": "a"}}},
        ),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"container": None, "system": ""}, {}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
    ],
)
def test_a_field_with_a_counterpart_is_translated(fields, said):
    assert to_chat(ASK | fields) == ASK | said


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"speed": "fast"}, "speed"),
        ({"messages": None}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "judge", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
            "messages[0].content[0].type",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "a", "input_schema": {}, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tool_choice": {"type": "most"}}, "tool_choice.type"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"output_config": {"effort": []}}, "output_config.effort"),
        ({"metadata": {"team": 1}}, "metadata.team"),
    ],
)
def test_what_chat_cannot_say_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as caught:
        to_chat(ASK | fields)
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_whole_reply_is_a_message_of_the_sdk():
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    message = {"reasoning_content": "hm", "content": "I look", "tool_calls": [call]}
    reply = Messages(7, thinking=True).whole({**completion(message, "tool_calls"), "usage": USAGE})
    parsed = shapes.Message.model_validate(reply)
    assert [block.type for block in parsed.content] == ["thinking", "text", "tool_use"]
    assert parsed.content[2].input == {"at": 1}
    assert (parsed.stop_reason, parsed.model, parsed.id) == ("tool_use", "m", "chatcmpl-1")
    usage = parsed.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (6, 4, 5)


def test_thoughts_are_told_on_request_only_and_missing_usage_is_estimated():
    reply = Messages(7, thinking=False).whole(completion({"reasoning_content": "hm", "content": "four"}))
    assert [block["type"] for block in reply["content"]] == ["text"]
    assert reply["usage"] == {"input_tokens": 7, "output_tokens": 2}
    assert shows_thinking({"thinking": {"type": "adaptive"}})
    assert not shows_thinking({"thinking": {"type": "enabled", "display": "omitted"}})
    assert not shows_thinking({})


@pytest.mark.parametrize(
    ("reason", "more", "stop_reason", "sequence"),
    [
        ("stop", {}, "end_turn", None),
        ("length", {}, "max_tokens", None),
        ("content_filter", {}, "refusal", None),
        ("stop", {"stop_reason": "END"}, "stop_sequence", "END"),
        ("stop", {"stop_reason": 128009}, "end_turn", None),
    ],
)
def test_the_reason_for_the_end_is_translated(reason, more, stop_reason, sequence):
    reply = Messages(0, thinking=False).whole(completion({"content": "a"}, reason, **more))
    shapes.Message.model_validate(reply)
    assert (reply["stop_reason"], reply["stop_sequence"]) == (stop_reason, sequence)


def test_a_refusal_is_text_with_its_stop_reason():
    reply = Messages(0, thinking=False).whole(completion({"content": None, "refusal": "no"}))
    assert (reply["content"], reply["stop_reason"]) == ([{"type": "text", "text": "no"}], "refusal")


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"choices": [{}]},
        completion({"tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}),
        completion({"tool_calls": [{"function": {"arguments": "{}"}}]}),
    ],
)
def test_a_reply_that_is_none_is_unreadable(broken):
    with pytest.raises(Unreadable):
        Messages(0, thinking=False).whole(broken)


STREAM = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning": "hm"}),
    chunk({"content": "I "}),
    b": keepalive\n\n",
    chunk({"content": "look"}),
    chunk(tool(0, "look", "", "t1")),
    chunk(tool(0, arguments='{"at"')),
    chunk(tool(0, arguments=": 1}")),
    chunk(tool(1, "stop", "{}", "t2")),
    chunk({}, "tool_calls"),
    chunk(None, usage=USAGE),
    b"data: [DONE]\n\n",
)


@pytest.mark.parametrize("size", [None, 1, 7, 300])
def test_a_stream_is_told_in_anthropics_sequence_however_it_is_cut_up(size):
    events = told(*STREAM, size=size)
    blocks = [
        (each["index"], each["content_block"]["type"])
        for each in events
        if each["type"] == "content_block_start"
    ]
    assert blocks == [(0, "thinking"), (1, "text"), (2, "tool_use"), (3, "tool_use")]
    assert [each["type"].removeprefix("content_block_") for each in events] == [
        "message_start",
        *("start", "delta", "stop"),
        *("start", "delta", "delta", "stop"),
        *("start", "delta", "delta", "stop"),
        *("start", "delta", "stop"),
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 7
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"] == {
        "input_tokens": 6,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 5,
    }


def test_calls_that_all_count_zero_are_told_apart_by_their_ids():
    events = told(chunk(tool(0, "a", "{}", "t1")), chunk(tool(0, "b", "{}", "t2")), b"data: [DONE]\n\n")
    assert [e["content_block"]["id"] for e in events if e["type"] == "content_block_start"] == ["t1", "t2"]


@pytest.mark.parametrize(
    "last",
    [
        b'data: {"error": {"message": "overloaded", "type": "overloaded_error"}}\n\n',
        b'data: {"error": "no"}\n\n',
        b"data: {half\n\n",
        b"data: 3\n\n",
        chunk(tool(4, arguments="late")),
        b"data: " + b"x" * (LARGEST_EVENT + 1),
    ],
)
def test_a_stream_that_breaks_off_ends_in_an_error_event(last):
    events = told(chunk({"content": "I "}), last, b"data: [DONE]\n\n")
    assert [each["type"] for each in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "error",
    ]
    assert events[-1]["error"]["message"]


def test_an_empty_stream_is_an_empty_message():
    assert [each["type"] for each in told(b"data: [DONE]\n\n")] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
