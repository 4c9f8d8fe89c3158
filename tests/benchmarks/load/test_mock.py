from __future__ import annotations

import aiohttp
from openai import AsyncOpenAI

from benchmarks.load.drive import Plan, drive
from benchmarks.load.mock import MockUpstream, Pace
from tests.fleet.serving import serve


async def test_the_mock_speaks_openai():
    mock = MockUpstream(Pace(tokens=7))
    async with serve(mock) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        messages = [{"role": "user", "content": "one two three four"}]
        whole = await client.chat.completions.create(model="some", messages=messages)
        assert whole.model == "some"
        assert len(whole.choices[0].message.content.split()) == 7
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage.completion_tokens == 7
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + 7
        for options in ({}, {"stream_options": {"include_usage": True}}):
            stream = await client.chat.completions.create(
                model="some", messages=messages, stream=True, **options
            )
            chunks = [chunk async for chunk in stream]
            usages = [chunk.usage for chunk in chunks if not chunk.choices]
            said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(said) == whole.choices[0].message.content
            assert len([piece for piece in said if piece]) == 7
            assert chunks[0].id != whole.id
            assert [usage.completion_tokens for usage in usages] == ([7] if options else [])
        assert [model.id async for model in client.models.list()] == ["mock"]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/v1/stats") as reply:
                assert await reply.json() == {"chats": 3, "streams": 2}
            for sent, path, status in (
                (b"{}", "/v1/chat/completions", 400),
                (b"[", "/v1/chat/completions", 400),
                (b"", "/no", 404),
            ):
                async with session.post(url + path, data=sent) as reply:
                    assert reply.status == status
                    assert (await reply.json())["error"]["message"]


async def test_the_mock_takes_the_time_it_is_told():
    async with serve(MockUpstream(Pace(tokens=5, first_byte_ms=60, chunk_ms=10))) as url:
        for stream in (False, True):
            plan = Plan(
                f"{url}/v1/chat/completions", "m", stream=stream, concurrency=1, requests=1, warm_up=0
            )
            load = await drive(plan)
            assert load.latency_ms[0] >= 110
            assert all(first >= 60 for first in load.first_token_ms)
