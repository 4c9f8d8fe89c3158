"""What every Upstream promises. A test class per provider inherits this one and provides three fixtures."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from fleet.errors import UpstreamError
from fleet.usage import ReplyReader

if TYPE_CHECKING:
    from fleet.model import Model
    from fleet.upstream import Reply, Upstream

QUESTION: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "What is 17 + 25?"}]}


async def read(reply: Reply) -> bytes:
    """The whole content; the reply is closed."""
    try:
        return b"".join([chunk async for chunk in reply.content])
    finally:
        await reply.aclose()


async def read_to_break(reply: Reply) -> tuple[bytes, UpstreamError]:
    """What came before the upstream broke off, and its error; the reply is closed."""
    received = b""
    try:
        async for chunk in reply.content:
            received += chunk
    except UpstreamError as error:
        return received, error
    finally:
        await reply.aclose()
    raise AssertionError("the reply came to its end")


def events(stream: bytes) -> list[bytes]:
    """The data of each server-sent event."""
    return [block.removeprefix(b"data: ") for block in stream.split(b"\n\n") if block.startswith(b"data: ")]


class UpstreamContract:
    """
    Inherit, and provide the fixtures `upstream`, `model` (one it can reach) and `missing` (one that the provider
    does not have).
    """

    async def test_a_plain_reply_is_one_chat_completion_with_usage(self, upstream: Upstream, model: Model):
        reply = await upstream.chat(model, QUESTION)
        completion = orjson.loads(await read(reply))
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("application/json")
        assert completion["object"] == "chat.completion"
        assert completion["id"]
        assert completion["choices"][0]["message"]["role"] == "assistant"
        assert completion["choices"][0]["message"]["content"]
        assert completion["choices"][0]["finish_reason"] == "stop"
        assert completion["usage"]["prompt_tokens"] > 0
        assert completion["usage"]["completion_tokens"] > 0

    async def test_a_streamed_reply_is_chunks_then_usage_then_done(self, upstream: Upstream, model: Model):
        reply = await upstream.chat(model, {**QUESTION, "stream": True})
        *chunks, last = events(await read(reply))
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert last == b"[DONE]"
        parsed = [orjson.loads(chunk) for chunk in chunks]
        assert {chunk["object"] for chunk in parsed} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in parsed}) == 1
        assert any(chunk["choices"][0]["delta"].get("content") for chunk in parsed[:-1])
        assert parsed[-2]["choices"][0]["finish_reason"] == "stop"
        assert parsed[-1]["choices"] == []
        assert parsed[-1]["usage"]["completion_tokens"] > 0

    async def test_the_reader_understands_a_streamed_reply(self, upstream: Upstream, model: Model):
        reader = ReplyReader(stream=True, hide_usage=True)
        reply = await upstream.chat(model, {**QUESTION, "stream": True})
        forwarded = reader.feed(await read(reply)) + reader.finish()
        assert reader.usage is not None
        assert reader.saw_content
        assert reader.saw_done
        assert reader.finish_reason == "stop"
        assert b'"choices":[]' not in forwarded

    async def test_header_names_are_lower_case(self, upstream: Upstream, model: Model):
        reply = await upstream.chat(model, QUESTION)
        await reply.aclose()
        assert all(name == name.lower() for name in reply.headers)

    async def test_the_body_is_left_as_it_was(self, upstream: Upstream, model: Model):
        body = {**QUESTION, "stream": True, "stream_options": {"include_usage": False}}
        before = copy.deepcopy(body)
        await read(await upstream.chat(model, body))
        assert body == before

    async def test_replies_at_the_same_time_have_different_ids(self, upstream: Upstream, model: Model):
        replies = await asyncio.gather(*(upstream.chat(model, QUESTION) for _ in range(3)))
        contents = await asyncio.gather(*map(read, replies))
        assert len({orjson.loads(content)["id"] for content in contents}) == 3

    async def test_a_reply_may_be_closed_unread_and_twice(self, upstream: Upstream, model: Model):
        reply = await upstream.chat(model, {**QUESTION, "stream": True})
        await reply.aclose()
        await reply.aclose()

    async def test_a_stream_may_be_closed_half_way(self, upstream: Upstream, model: Model):
        reply = await upstream.chat(model, {**QUESTION, "stream": True})
        assert await anext(aiter(reply.content))
        await reply.aclose()
        assert await read(await upstream.chat(model, QUESTION))

    async def test_a_model_that_the_provider_lacks_is_an_error_with_its_status(
        self, upstream: Upstream, missing: Model
    ):
        with pytest.raises(UpstreamError) as caught:
            await upstream.chat(missing, QUESTION)
        assert caught.value.model == missing.name
        assert caught.value.status == 404
        assert orjson.loads(caught.value.body)["error"]["message"]
        assert caught.value.retryable
