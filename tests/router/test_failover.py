"""Failing well: another round where that is safe, hedges, breakers, overflow, and an SDK's retries not multiplied."""

from __future__ import annotations

import asyncio
import time
from random import Random

import openai
import pytest

from fleet.breaker import Breakers, BreakerSettings
from fleet.errors import UpstreamError
from router.failover import Retries
from tests.router.fakes import Fails, Says, model
from tests.router.running import ASK

TOO_LONG = (
    b'{"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}'
)
QUICK = Retries(rounds=2, pause_s=0.01)


class Flaky(dict):
    """A script whose model fails so many times before it speaks."""

    def __init__(self, name, *failures):
        super().__init__({name: Says("at last")})
        self.name, self.failures = name, list(failures)

    def __ror__(self, other):
        self.update({key: value for key, value in other.items() if key != self.name})
        return self

    def __getitem__(self, key):
        return self.failures.pop(0) if key == self.name and self.failures else super().__getitem__(key)


def names(running):
    return [name for name, _ in running.upstream.asked]


@pytest.mark.parametrize("failure", [Fails(503), Fails(429), Fails(None, cause="connect")])
async def test_who_said_no_without_generating_is_asked_again(start, failure):
    async with start(Flaky("weak", failure, failure), retries=QUICK) as running:
        reply = await running.chat("weak")
    assert reply.json()["choices"][0]["message"]["content"] == "at last"
    assert reply.headers["x-router-reason"] == "pinned"
    assert names(running) == ["weak"] * 3


@pytest.mark.parametrize("failure", [Fails(None, cause="timeout"), Fails(None, cause="cut"), Fails(400)])
async def test_who_may_have_generated_or_will_say_no_again_is_not(start, failure):
    async with start(Flaky("weak", failure), retries=QUICK) as running:
        reply = await running.chat("weak")
    assert reply.status_code in (400, 502, 504)
    assert names(running) == ["weak"]


async def test_fallbacks_come_before_repetitions(start):
    down = {name: Fails(503) for name in ("weak", "middle", "strong")}
    async with start(down, retries=Retries(rounds=1, pause_s=0.01), beta=0.0) as running:
        reply = await running.chat()
    assert reply.status_code == 503
    assert names(running) == ["weak", "middle", "strong"] * 2


def test_pauses_grow_are_shortened_by_chance_and_wait_for_whoever_asked_for_it():
    retries, rng = Retries(pause_s=1.0, longest_pause_s=6.0), Random(0)
    plain = [UpstreamError("m", "status", 503)]
    first = {retries.pause(1, plain, rng) for _ in range(50)}
    assert len(first) == 50
    assert all(0.5 <= pause <= 1.0 for pause in first)
    assert 2.0 <= retries.pause(3, plain, rng) <= 4.0
    assert retries.pause(9, plain, rng) <= 6.0
    later = [UpstreamError("m", "status", 429, {"retry-after": "3"})]
    assert 3.5 <= retries.pause(1, later, rng) <= 4.0
    assert retries.pause(1, [UpstreamError("m", "status", 429, {"retry-after": "60"})], rng) is None


async def test_a_long_retry_after_is_passed_on_and_honoured(start):
    limited = Fails(429, headers={"retry-after": "60"})
    async with start({"weak": limited}, retries=QUICK, beta=0.0) as running:
        first = await running.chat("weak")
        second = await running.chat("weak")
        other = await running.chat()
        nobody = await running.chat(router={"models": ["weak"]})
    assert (first.status_code, first.headers["retry-after"]) == (429, "60")
    assert second.status_code == 429
    assert second.json()["error"]["code"] == "rate_limit_exceeded"
    assert 55 <= int(second.headers["retry-after"]) <= 60
    assert names(running) == ["weak", "middle"]
    assert other.headers["x-router-model"] == "middle"
    assert nobody.status_code == 429
    assert 55 <= int(nobody.headers["retry-after"]) <= 60
    message = nobody.json()["error"]["message"]
    assert "weak: has asked to be left alone" in message
    assert "strong: is not among the models of router" in message


async def test_a_model_that_keeps_failing_rests_then_one_request_finds_it_well(start):
    async with start(Flaky("weak", *[Fails(500)] * 5), beta=0.0) as running:
        now = [0.0]
        running.gateway.fleet.breakers = Breakers(BreakerSettings(failures=5, rest_s=10), lambda: now[0])
        while_failing = [await running.chat() for _ in range(5)]
        resting = await running.chat()
        named = await running.chat("weak")
        asked = names(running).count("weak")
        now[0] = 10.1
        back = await running.chat()
    assert {reply.headers["x-router-reason"] for reply in while_failing} == {"fallback"}
    assert resting.headers["x-router-model"] == "middle"
    assert resting.headers["x-router-reason"] == "best_score"
    assert (named.status_code, named.json()["error"]["code"]) == (503, "upstream_resting")
    assert int(named.headers["retry-after"]) >= 1
    assert asked == 5
    assert back.headers["x-router-model"] == "weak"


async def test_an_overflow_moves_on_to_a_larger_window_and_past_smaller_ones(start):
    fleet = (
        model("small", 1.0, context_window=1000),
        model("smaller", 2.0, context_window=900),
        model("large", 9.0, context_window=9000),
    )
    async with start({"small": Fails(400, TOO_LONG)}, fleet=fleet, beta=0.0) as running:
        reply = await running.chat()
    assert reply.headers["x-router-model"] == "large"
    assert names(running) == ["small", "large"]


async def test_an_overflow_everywhere_keeps_its_code(start):
    down = {name: Fails(400, TOO_LONG) for name in ("weak", "middle", "strong")}
    async with start(down, retries=QUICK) as running:
        reply = await running.chat()
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert len(names(running)) == 3


async def test_a_hedge_answers_for_a_slow_model_which_is_let_go(start):
    hedging = Retries(rounds=0, hedge_after_s=0.05)
    async with start({"weak": Says(headers_after_s=30)}, retries=hedging, beta=0.0) as running:
        began = time.perf_counter()
        reply = await running.chat(stream=True)
        row = await running.decision(reply.headers["x-router-decision"])
    assert time.perf_counter() - began < 5
    assert reply.headers["x-router-model"] == "middle"
    assert "[DONE]" in reply.text
    assert "weak" in running.upstream.closed_at
    assert {c.model: c.excluded for c in row.candidates}["weak"] == "failed: overtaken"


def client(url, **more):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=30, **more)


async def test_an_sdks_retries_are_not_multiplied(serve):
    down = {"weak": Fails(503, headers={"retry-after-ms": "1"})}
    async with (
        serve(down, retries=Retries(rounds=2, pause_s=0.01)) as (url, upstream),
        client(url, max_retries=2) as sdk,
    ):
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model="weak", messages=ASK)
    # three rounds of ours for the SDK's first request, one for each of its repetitions; multiplied it would be nine
    assert 3 < len(upstream.asked) <= 5


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_upstream_within_100_ms(serve, stream):
    slow = Says("one two three", stalls=True, after=1) if stream else Says(headers_after_s=30)
    async with serve({"weak": slow}) as (url, upstream), client(url, max_retries=0) as sdk:

        async def ask():
            reply = await sdk.chat.completions.create(model="weak", messages=ASK, stream=stream)
            async for _ in reply:
                pass

        task = asyncio.create_task(ask())
        await upstream.thinking.wait()
        await asyncio.sleep(0.2)
        task.cancel()
        left = time.perf_counter()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.5)
    assert upstream.closed_at["weak"] - left < 0.1
