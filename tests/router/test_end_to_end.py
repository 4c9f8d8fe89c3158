"""The official SDK against a real server: the way from a prompt to a better next decision."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import openai
import pytest

from fleet.fleet import Fleet
from fleet.model import Model, Prices
from fleet.providers.openai_compatible import OpenAiCompatible
from fleet.replay import Replay
from router.app import create_app
from tests.router.fakes import Fails, FakeScorer, Says, Scripted, fleet_of
from tests.router.serving import serving

ASK = [{"role": "user", "content": "What is 17 + 25?"}]


@asynccontextmanager
async def client_of(app):
    async with (
        serving(app) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=5) as client,
    ):
        yield client


@asynccontextmanager
async def scripted(settings, script=None):
    upstream = Scripted({each.name: Says("it is four") for each in settings.fleet} | (script or {}))
    async with client_of(
        create_app(settings, scorer=FakeScorer(), fleet=fleet_of(upstream, *settings.fleet))
    ) as client:
        yield client, upstream


async def collect(stream, words):
    async for chunk in await stream:
        words += [chunk.choices[0].delta.content]


async def test_the_sdk_is_routed_streams_and_sees_models(settings):
    async with scripted(replace(settings, beta=0.0)) as (client, _):
        whole = await client.chat.completions.with_raw_response.create(model="auto", messages=ASK)
        assert whole.headers["x-router-model"] == "weak"
        assert whole.parse().choices[0].message.content == "it is four"
        assert whole.parse().usage.prompt_tokens == 10
        stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(words) == "it is four "
        assert [each.id async for each in client.models.list()] == ["auto", "strong", "middle", "weak"]
        assert (await client.models.retrieve("weak")).owned_by == "openai"


async def test_feedback_through_the_sdk_changes_the_next_decision(settings):
    async with scripted(replace(settings, beta=0.9)) as (client, _):
        reply = await client.chat.completions.create(model="strong", messages=ASK)
        await client.post("/feedback", cast_to=object, body={"id": reply.id, "score": True})
        for _ in range(100):
            chosen = await client.chat.completions.with_raw_response.create(model="auto", messages=ASK)
            if chosen.headers["x-router-model"] == "strong":
                break
            await asyncio.sleep(0.02)
    assert chosen.headers["x-router-model"] == "strong"


async def test_the_sdk_raises_its_own_errors(settings):
    script = {
        "weak": Fails(429, headers={"retry-after": "1"}),
        "strong": Says("a b c", breaks_off=True, after=2),
    }
    async with scripted(settings, script) as (client, _):
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="gpt-9", messages=ASK)
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(
                model="auto", messages=ASK, extra_body={"router": {"beta": "much"}}
            )
        assert bad.value.param == "router.beta"
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="weak", messages=ASK)
        words = []
        with pytest.raises(openai.APIError, match="broke off"):
            await collect(client.chat.completions.create(model="strong", messages=ASK, stream=True), words)
        assert words == ["", "a ", "b "]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_socket_that_closes_lets_the_upstream_go_at_once(settings, stream):
    script = {"weak": Says("one two", stalls=True, after=1)}
    async with scripted(settings, script) as (client, upstream):
        call = asyncio.create_task(
            client.chat.completions.create(model="weak", messages=ASK, stream=stream, timeout=30)
        )
        await upstream.thinking.wait()
        if stream:
            reply = await call
            await anext(aiter(reply))
            left_at = time.perf_counter()
            await reply.close()
        else:
            await asyncio.sleep(0.05)
            left_at = time.perf_counter()
            call.cancel()
        while "weak" not in upstream.closed_at:
            assert time.perf_counter() - left_at < 1
            await asyncio.sleep(0.002)


async def test_the_simulated_fleet_answers_through_a_second_gateway(settings):
    """Two gateways in a row: raw bytes, usage and ids survive the real HTTP upstream."""
    simulated = Model("tally", "replay/tally", Prices(0.05, 0.2))
    inner = create_app(
        replace(settings, fleet=(simulated,)),
        scorer=FakeScorer(),
        fleet=Fleet([simulated], {"replay": Replay(pace=0)}),
    )
    async with serving(inner) as url:
        there = Model("there", "hosted_vllm/auto", Prices(0.05, 0.2), api_base=f"{url}/v1")
        http = OpenAiCompatible(settings.timeouts)
        store = replace(settings.store, url=f"{settings.store.url}.outer")
        outer = create_app(
            replace(settings, fleet=(there,), store=store),
            scorer=FakeScorer(),
            fleet=Fleet([there], {"openai_compatible": http}),
        )
        async with client_of(outer) as client:
            whole = await client.chat.completions.create(model="auto", messages=ASK)
            stream = await client.chat.completions.create(
                model="auto", messages=ASK, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
        await http.aclose()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "42" in text
    assert text == whole.choices[0].message.content
    assert whole.system_fingerprint == "simulated"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_reaches_the_upstreams_upstream(settings, stream):
    """A client leaves the outer gateway: the HTTP connection to the inner one is closed, and so is its upstream."""
    script = Scripted({"weak": Says("one two", stalls=True, after=1)})
    weak = next(each for each in settings.fleet if each.name == "weak")
    inner = create_app(replace(settings, fleet=(weak,)), scorer=FakeScorer(), fleet=fleet_of(script, weak))
    async with serving(inner) as url:
        there = Model("there", "hosted_vllm/weak", Prices(1, 1), api_base=f"{url}/v1")
        outer_settings = replace(
            settings, fleet=(there,), store=replace(settings.store, url=f"{settings.store.url}.outer")
        )
        outer = create_app(outer_settings, scorer=FakeScorer())
        async with client_of(outer) as client:
            call = asyncio.create_task(
                client.chat.completions.create(model="there", messages=ASK, stream=stream, timeout=30)
            )
            await script.thinking.wait()
            await asyncio.sleep(0.05)
            left_at = time.perf_counter()
            if stream:
                await (await call).close()
            else:
                call.cancel()
            while "weak" not in script.closed_at:
                assert time.perf_counter() - left_at < 1
                await asyncio.sleep(0.002)
