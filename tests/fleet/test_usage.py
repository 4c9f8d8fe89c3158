from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.model import Usage
from fleet.usage import ReplyReader, parse_usage

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


def chunk(delta=None, reason=None, **more) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return b"data: " + orjson.dumps({"id": "chatcmpl-7", "choices": choices, **more})


ROLE = chunk({"role": "assistant", "content": ""}, usage=None)
FIRST = chunk({"content": "Hé"}, usage=None)
SECOND = chunk({"content": 'llo "usage":{ and\n\nmore'}, usage=None)
STOP = chunk({}, "stop", usage=None)
TOLD = chunk(usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 8}})
DONE = b"data: [DONE]"
BLOCKS = [ROLE, FIRST, SECOND, STOP, TOLD, DONE]


def feed(stream: bytes, cuts: list[int] | None = None, hide_usage: bool = False) -> tuple[ReplyReader, bytes]:
    reader = ReplyReader(stream=True, hide_usage=hide_usage)
    edges = [0, *sorted(cuts or []), len(stream)]
    forwarded = b"".join(reader.feed(stream[a:b]) for a, b in pairwise(edges))
    return reader, forwarded + reader.finish()


def state(reader: ReplyReader):
    names = (
        "usage",
        "completion_id",
        "finish_reason",
        "saw_content",
        "saw_done",
        "error",
        "output_tokens_guess",
    )
    return {name: getattr(reader, name) for name in names}


def test_a_stream_is_forwarded_byte_by_byte_and_understood():
    stream = b"".join(block + b"\n\n" for block in BLOCKS)
    reader, forwarded = feed(stream)
    assert forwarded == stream
    assert state(reader) == {
        "usage": Usage(12, 3, 8),
        "completion_id": "chatcmpl-7",
        "finish_reason": "stop",
        "saw_content": True,
        "saw_done": True,
        "error": None,
        "output_tokens_guess": 4,
    }


def test_only_the_event_that_carries_nothing_but_usage_is_hidden():
    stream = b"".join(block + b"\n\n" for block in BLOCKS)
    reader, forwarded = feed(stream, hide_usage=True)
    assert forwarded == b"".join(block + b"\n\n" for block in BLOCKS if block is not TOLD)
    assert reader.usage == Usage(12, 3, 8)


def test_usage_beside_choices_is_read_and_not_hidden():
    stream = chunk({"content": "x"}, "stop", usage=USAGE) + b"\n\n"
    reader, forwarded = feed(stream, hide_usage=True)
    assert forwarded == stream
    assert reader.usage == Usage(12, 3)


def test_an_event_without_choices_and_usage_is_not_hidden():
    stream = chunk(prompt_filter_results=[]) + b"\n\n"
    assert feed(stream, hide_usage=True)[1] == stream


def test_the_last_usage_counts():
    stream = b"".join(
        chunk({"content": "x"}, usage={**USAGE, "completion_tokens": tokens}) + b"\n\n"
        for tokens in (1, 2, 3)
    )
    assert feed(stream)[0].usage == Usage(12, 3)


def test_a_stream_without_usage_leaves_it_open_and_guesses_by_events():
    stream = b"".join(block + b"\n\n" for block in (ROLE, FIRST, b": keep-alive", SECOND, STOP, DONE))
    reader, _ = feed(stream)
    assert reader.usage is None
    assert reader.output_tokens_guess == 4


def test_content_is_seen_with_the_first_text_not_with_the_role():
    reader = ReplyReader(stream=True, hide_usage=False)
    reader.feed(ROLE + b"\n\n")
    assert not reader.saw_content
    reader.feed(FIRST + b"\n\n")
    assert reader.saw_content


@pytest.mark.parametrize(
    "delta", [{"tool_calls": [{"index": 0}]}, {"refusal": "no"}, {"reasoning_content": "hm"}]
)
def test_a_tool_call_a_refusal_and_reasoning_are_content(delta):
    assert feed(chunk(delta) + b"\n\n")[0].saw_content


def test_half_an_event_is_held_back_until_it_is_whole():
    reader = ReplyReader(stream=True, hide_usage=False)
    assert reader.feed(FIRST[:20]) == b""
    assert reader.feed(FIRST[20:] + b"\n") == b""
    assert reader.feed(b"\n" + SECOND[:5]) == FIRST + b"\n\n"
    assert reader.finish() == SECOND[:5]


def test_an_error_inside_the_stream_is_kept():
    stream = FIRST + b'\n\ndata: {"error": {"message": "overloaded", "code": 529}}\n\n'
    reader, forwarded = feed(stream)
    assert reader.error == {"message": "overloaded", "code": 529}
    assert not reader.saw_done
    assert forwarded == stream


def test_an_error_that_is_a_text_becomes_an_object():
    assert feed(b'data: {"error": "overloaded"}\n\n')[0].error == {"message": "overloaded"}


def test_done_without_a_last_blank_line_is_seen():
    reader, forwarded = feed(FIRST + b"\n\ndata: [DONE]")
    assert reader.saw_done
    assert forwarded.endswith(b"data: [DONE]")


def test_fields_beside_data_and_data_over_two_lines_are_read():
    stream = b'event: message\nid: 4\ndata: {"id": "x",\ndata: "choices": []}\n\n'
    assert feed(stream)[0].completion_id == "x"


@pytest.mark.parametrize(
    "junk", [b"data: not json", b"data: [1, 2]", b"data: null", b"data:", b": only a comment"]
)
def test_what_is_not_a_json_object_is_forwarded_and_ignored(junk):
    stream = junk + b"\n\n" + FIRST + b"\n\n"
    reader, forwarded = feed(stream, hide_usage=True)
    assert forwarded == stream
    assert reader.saw_content


def test_an_event_larger_than_a_megabyte_passes_before_it_ends():
    reader = ReplyReader(stream=True, hide_usage=True)
    large = chunk({"content": "x" * 3_000_000})
    forwarded = reader.feed(large[:2_000_000])
    assert len(forwarded) > 1_900_000
    forwarded += reader.feed(large[2_000_000:] + b"\n\n" + TOLD + b"\n\n") + reader.finish()
    assert forwarded == large + b"\n\n"
    assert reader.usage == Usage(12, 3, 8)
    assert reader.saw_content


block = st.sampled_from(
    [
        *BLOCKS,
        b": keep-alive",
        b"event: ping\ndata: {}",
        b"data: [1",
        b"retry: 5",
        b"",
        b'data: {"error": "e"}',
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    blocks=st.lists(
        st.tuples(block, st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"])), max_size=12
    ),
    tail=st.sampled_from([b"", b"\n", DONE, FIRST, TOLD, TOLD + b"\r\n"]),
    hide_usage=st.booleans(),
    data=st.data(),
)
def test_the_cuts_between_chunks_change_nothing(blocks, tail, hide_usage, data):
    stream = b"".join(body + end for body, end in blocks) + tail
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=30))
    whole, at_once = feed(stream, [], hide_usage)
    cut, piecewise = feed(stream, cuts, hide_usage)
    assert piecewise == at_once
    assert state(cut) == state(whole)
    if not hide_usage:
        assert at_once == stream


def test_every_single_byte_may_come_alone():
    stream = b"".join(block + b"\r\n\r\n" for block in BLOCKS)
    reader, forwarded = feed(stream, list(range(len(stream))), hide_usage=True)
    assert forwarded == b"".join(block + b"\r\n\r\n" for block in BLOCKS if block is not TOLD)
    assert reader.usage == Usage(12, 3, 8)


def completion(**more) -> bytes:
    message = {"role": "assistant", "content": "forty-two"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return orjson.dumps({"id": "chatcmpl-8", "choices": [choice], **more})


@given(cuts=st.lists(st.integers(0, 150), max_size=10))
def test_a_plain_reply_is_forwarded_at_once_and_read_at_its_end(cuts):
    body = completion(usage=USAGE)
    reader = ReplyReader(stream=False, hide_usage=True)
    edges = [0, *sorted(cuts), len(body)]
    for a, b in pairwise(edges):
        assert reader.feed(body[a:b]) == body[a:b]
    assert reader.finish() == b""
    assert reader.usage == Usage(12, 3)
    assert reader.completion_id == "chatcmpl-8"
    assert reader.finish_reason == "stop"
    assert reader.saw_content


def test_a_plain_reply_without_usage_is_guessed_by_its_characters():
    reader = ReplyReader(stream=False, hide_usage=False)
    reader.feed(completion())
    reader.finish()
    assert reader.usage is None
    assert reader.output_tokens_guess == 3  # "forty-two" has nine


def test_a_plain_reply_that_was_cut_is_not_understood():
    reader = ReplyReader(stream=False, hide_usage=False)
    reader.feed(completion(usage=USAGE)[:-4])
    assert reader.finish() == b""
    assert reader.usage is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, Usage(12, 3)),
        ({"prompt_tokens": 12, "completion_tokens": None}, Usage(12, 0)),
        ({**USAGE, "prompt_tokens_details": None}, Usage(12, 3)),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": None}}, Usage(12, 3)),
        ({**USAGE, "prompt_cache_hit_tokens": 10}, Usage(12, 3, 10)),
        ({**USAGE, "prompt_tokens_details": {"audio_tokens": 7}}, Usage(12, 3, audio_input_tokens=7)),
        ({**USAGE, "prompt_tokens_details": {"cache_write_tokens": 5}}, Usage(12, 3, cache_write_tokens=5)),
        (
            {**USAGE, "cache_creation_input_tokens": 6, "cache_read_input_tokens": 2},
            Usage(12, 3, 2, cache_write_tokens=6),
        ),
        (
            {**USAGE, "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 1}},
            Usage(12, 3, reasoning_tokens=2, audio_output_tokens=1),
        ),
        (  # OpenAI: reasoning is a part of the completion
            {**USAGE, "total_tokens": 15, "completion_tokens_details": {"reasoning_tokens": 2}},
            Usage(12, 3, reasoning_tokens=2),
        ),
        (  # xAI: it comes on top
            {**USAGE, "total_tokens": 35, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(12, 23, reasoning_tokens=20),
        ),
        ({**USAGE, "completion_tokens_details": [1]}, Usage(12, 3)),
        ({**USAGE, "completion_tokens": -3}, Usage(12, 0)),
        ({**USAGE, "completion_tokens": True}, Usage(12, 0)),
        ({}, None),
        ({"prompt_tokens": "12"}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_read_leniently(usage, expected):
    assert parse_usage(usage) == expected


def test_what_was_written_is_kept_until_its_tokens_are_told():
    tool = {"tool_calls": [{"index": 0, "function": {"name": "add", "arguments": "[1]"}}]}
    said = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "for"}),
        chunk({"reasoning_content": "hm"}),
        chunk(tool),
    ]
    reader, _ = feed(b"".join(event + b"\n\n" for event in said))
    texts, scale = reader.output_texts()
    assert ("".join(texts), scale) == ("forhmadd[1]", 1.0)


def test_of_a_very_long_stream_a_part_is_kept_and_the_rest_counted():
    reader = ReplyReader(stream=True, hide_usage=False)
    for _ in range(3000):
        reader.feed(chunk({"content": "x" * 1000}) + b"\n\n")
    texts, scale = reader.output_texts()
    assert sum(map(len, texts)) * scale == pytest.approx(3_000_000)
    assert sum(map(len, texts)) < 1_100_000


def test_of_a_plain_reply_every_text_counts():
    message = {
        "role": "assistant",
        "content": "four",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
    }
    reader = ReplyReader(stream=False, hide_usage=False)
    reader.feed(orjson.dumps({"choices": [{"message": message}, {"text": "more"}]}))
    reader.finish()
    assert sorted(reader.output_texts()[0]) == ["f", "four", "more", "{}"]


def test_done_is_left_out_for_whoever_tells_it():
    reader = ReplyReader(stream=True, hide_usage=True, hide_done=True)
    stream = FIRST + b"\n\n" + TOLD + b"\n\n" + DONE + b"\n\n"
    assert reader.feed(stream) == FIRST + b"\n\n"
    assert reader.saw_done
    assert reader.counted["prompt_tokens"] == 12
    assert reader.opening["id"]
