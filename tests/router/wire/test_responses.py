"""OpenAI's responses to chat and back, checked against the types of its SDK."""

from __future__ import annotations

import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from router.errors import BadRequest
from router.wire import responses_reply
from router.wire.responses import to_chat
from router.wire.responses_reply import Responses
from router.wire.stream import Retelling
from tests.router.wire.test_messages import STREAM, USAGE, chunk, completion, tool

EVENT = TypeAdapter(ResponseStreamEvent)
ASK = {"model": "auto", "input": "hi"}
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"name": "n", "schema": {"type": "object"}, "strict": True}
LOGPROB = {"token": "a", "logprob": -0.1, "bytes": None, "top_logprobs": None}


def told(*chunks, request=None, size=None):
    """The events of a stream that comes in pieces of a size, numbered in order and valid by the SDK's types."""
    retelling = Retelling(Responses(request or ASK).story())
    stream = b"".join(chunks)
    size = size or len(stream)
    out = b"".join(retelling.feed(stream[i : i + size]) for i in range(0, len(stream), size))
    events = []
    for block in out.split(b"\n\n"):
        if block and not block.startswith(b":"):
            name, data = block.split(b"\n")
            event = orjson.loads(data.removeprefix(b"data: "))
            assert name == b"event: " + event["type"].encode()
            EVENT.validate_python(event)
            events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_items_become_a_conversation():
    chat = to_chat(
        {
            "model": "auto",
            "instructions": "Be brief.",
            "input": [
                {"role": "developer", "content": "No jokes."},
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "see"},
                        {"type": "input_image", "image_url": "http://h/i.png", "detail": "low"},
                    ],
                },
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
                {
                    "type": "message",
                    "id": "msg_1",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "I look", "annotations": []}],
                },
                {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "look", "arguments": '{"at":1}'},
                {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
                {
                    "type": "function_call_output",
                    "call_id": "c2",
                    "output": [{"type": "input_text", "text": "dark"}],
                },
            ],
        }
    )
    look = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
    at = {"type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
    image = {"type": "image_url", "image_url": {"url": "http://h/i.png", "detail": "low"}}
    assert chat["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "No jokes."},
        {"role": "user", "content": [{"type": "text", "text": "see"}, image]},
        {"role": "assistant", "content": "I look", "tool_calls": [{"id": "c1", **look}, {"id": "c2", **at}]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "c2", "content": "dark"},
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"max_output_tokens": 9, "temperature": 0, "user": "u"},
            {"max_tokens": 9, "temperature": 0, "user": "u"},
        ),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        (
            {"text": {"format": {"type": "json_schema", **SCHEMA}}},
            {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        ),
        ({"top_logprobs": 2}, {"top_logprobs": 2, "logprobs": True}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"], "store": False, "metadata": {"a": "b"}}, {}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tool_choice": {"type": "function", "name": "a"}},
            {"tool_choice": {"type": "function", "function": {"name": "a"}}},
        ),
        (
            {"tools": [{"type": "function", "name": "a", "parameters": {}, "strict": False}]},
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {}, "strict": False}}]},
        ),
        ({"previous_response_id": None, "background": False, "truncation": "disabled"}, {}),
    ],
)
def test_a_field_with_a_counterpart_is_translated(fields, said):
    assert to_chat(ASK | fields) == CHAT | said


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"max_tool_calls": 1}, "max_tool_calls"),
        ({"novelty": 1}, "novelty"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": [], "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"include": [{}]}, "include"),
    ],
)
def test_what_chat_cannot_say_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as caught:
        to_chat(ASK | fields)
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_whole_reply_is_a_response_of_the_sdk():
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    message = {"reasoning_content": "hm", "content": "I look", "tool_calls": [call]}
    chat = {
        **completion(message, "tool_calls", logprobs={"content": [LOGPROB]}),
        "created": 5,
        "usage": USAGE,
    }
    request = {
        **ASK,
        "tools": [{"type": "function", "name": "look"}],
        "metadata": {"a": "b"},
        "temperature": 0.5,
    }
    reply = Response.model_validate(Responses(request).whole(chat))
    assert [item.type for item in reply.output] == ["reasoning", "message", "function_call"]
    assert (reply.output_text, reply.output[2].call_id, reply.output[2].arguments) == (
        "I look",
        "t1",
        '{"at": 1}',
    )
    assert reply.output[1].content[0].logprobs[0].token == "a"
    assert (reply.id, reply.status, reply.created_at, reply.model) == ("chatcmpl-1", "completed", 5, "m")
    assert (reply.usage.input_tokens, reply.usage.input_tokens_details.cached_tokens) == (10, 4)
    assert (reply.metadata, reply.temperature, reply.tools[0].name) == ({"a": "b"}, 0.5, "look")


@pytest.mark.parametrize(
    ("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_reply_that_was_stopped_is_incomplete(reason, why):
    reply = Response.model_validate(Responses(ASK).whole(completion({"content": "a"}, reason)))
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", why)
    last = told(chunk({"content": "a"}), chunk({}, reason), b"data: [DONE]\n\n")[-1]
    assert (last["type"], last["response"]["output"][0]["status"]) == ("response.incomplete", "incomplete")


def test_a_refusal_is_a_refusal():
    reply = Response.model_validate(Responses(ASK).whole(completion({"refusal": "no"})))
    assert reply.output[0].content[0].refusal == "no"
    kinds = [event["type"] for event in told(chunk({"refusal": "no"}), b"data: [DONE]\n\n")]
    assert "response.refusal.done" in kinds


@pytest.mark.parametrize("size", [None, 1, 7, 300])
def test_a_stream_is_told_in_the_official_sequence_however_it_is_cut_up(size):
    events = told(*STREAM, size=size)
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    final = Response.model_validate(events[-1]["response"])
    assert final.output_text == "I look"
    assert [item.arguments for item in final.output[2:]] == ['{"at": 1}', "{}"]
    assert (final.usage.input_tokens, final.status) == (10, "completed")
    assert [e["output_index"] for e in events if e["type"] == "response.output_item.done"] == [0, 1, 2, 3]
    for event in events:
        if event["type"] == "response.output_item.done":
            assert event["item"] == events[-1]["response"]["output"][event["output_index"]]


@pytest.mark.parametrize(
    "last",
    [
        b'data: {"error": {"message": "overloaded", "code": "busy"}}\n\n',
        b'data: {"error": {"message": "overloaded", "code": 529}}\n\n',
        b"data: {half\n\n",
        chunk(tool(4, arguments="late")),
    ],
)
def test_a_stream_that_breaks_off_ends_in_an_error_and_a_failed_response(last):
    events = told(chunk({"content": "I "}), last, b"data: [DONE]\n\n")
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"]["message"] == events[-2]["message"]


def test_a_reply_longer_than_can_be_kept_fails(monkeypatch):
    monkeypatch.setattr(responses_reply, "LONGEST_REPLY", 10)
    events = told(chunk({"content": "12345678"}), chunk({"content": "12345678"}), b"data: [DONE]\n\n")
    assert events[-1]["type"] == "response.failed"


def test_logprobs_are_told_with_the_words_they_belong_to():
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [LOGPROB]}}
    events = told(b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n", b"data: [DONE]\n\n")
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert deltas[0]["logprobs"][0]["logprob"] == -0.1
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"][0]["token"] == "a"
