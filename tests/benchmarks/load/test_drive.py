from __future__ import annotations

import asyncio
import itertools

import orjson
import pytest

from benchmarks.load import gateways
from benchmarks.load.drive import Plan, body, drive, prompt, schedule
from benchmarks.load.mock import MockUpstream, Pace
from tests.fleet.serving import answer, read_body, serve


def test_an_open_loop_has_its_schedule_from_the_start():
    even = list(schedule(Plan("", "", rate=10.0, arrivals="even", requests=4)))
    assert even == pytest.approx([0, 0.1, 0.2, 0.3])
    assert len(list(schedule(Plan("", "", rate=10.0, arrivals="even", duration_s=1.0)))) == 10
    poisson = list(schedule(Plan("", "", rate=50.0, requests=5000, seed=1)))
    assert poisson == list(schedule(Plan("", "", rate=50.0, requests=5000, seed=1)))
    assert poisson != list(schedule(Plan("", "", rate=50.0, requests=5000, seed=2)))
    gaps = [after - before for before, after in itertools.pairwise(poisson)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 50, rel=0.1)
    assert sum(gap < 1 / 100 for gap in gaps) / len(gaps) == pytest.approx(1 - 2.718281828**-0.5, abs=0.03)


def test_prompts_are_distinct_unless_told_otherwise():
    plan = Plan("", "m", prompt_tokens=30, seed=3)
    prompts = [prompt(plan, number) for number in range(-20, 200)]
    assert len(set(prompts)) == len(prompts)
    assert prompts == [prompt(plan, number) for number in range(-20, 200)]
    assert prompt(plan, 0) != prompt(Plan("", "m", prompt_tokens=30, seed=4), 0)
    same = Plan("", "m", same_prompt=True)
    assert prompt(same, 0) == prompt(same, 1)
    asked = orjson.loads(body(Plan("", "m", stream=True), 0))
    assert asked["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_closed_loop_asks_as_often_as_told(stream):
    mock = MockUpstream(Pace(tokens=5))
    async with serve(mock) as url:
        plan = Plan(f"{url}/v1/chat/completions", "m", concurrency=3, requests=20, warm_up=6, stream=stream)
        load = await drive(plan)
    assert mock.chats == 26
    assert mock.streams == (26 if stream else 0)
    assert load.errors == {}
    assert len(load.latency_ms) == 20
    assert len(load.first_token_ms) == (20 if stream else 0)
    assert load.sent == 20
    assert load.cpu_load_s > 0


async def test_an_open_loop_counts_from_when_a_request_was_due():
    """One reply every 50 ms for requests that are due every 10 ms: the last waits for all before it."""
    turn = asyncio.Lock()

    async def one_at_a_time(scope, receive, send):
        await read_body(receive)
        async with turn:
            await asyncio.sleep(0.05)
        await answer(send, 200, b'{"choices": []}')

    async with serve(one_at_a_time) as url:
        load = await drive(Plan(url, "m", rate=100.0, arrivals="even", requests=10, warm_up=0))
    assert len(load.late_ms) == 10
    assert sum(load.latency_ms) >= sum(50 * (number + 1) - 10 * number for number in range(10)) - 10


async def test_failures_are_counted_by_kind_and_have_no_latency():
    async def failing(scope, receive, send):
        asked = orjson.loads(await read_body(receive))
        sse = [(b"content-type", b"text/event-stream")]
        event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
        if asked["model"] == "busy":
            await answer(send, 429, b"{}")
        elif asked["model"] == "empty":
            await answer(send, 200, b"{}")
        elif asked["model"] == "slow":
            await asyncio.sleep(0.6)
            await answer(send, 200, b"{}")
        else:
            await send({"type": "http.response.start", "status": 200, "headers": sse})
            await send({"type": "http.response.body", "body": event, "more_body": True})
            if asked["model"] == "breaks":
                raise ConnectionError
            last = b'data: {"error": {"message": "x"}}\n\n' if asked["model"] == "event" else b""
            await send({"type": "http.response.body", "body": last})

    async with serve(failing) as url:
        for model, stream, kind in (
            ("busy", False, "status 429"),
            ("empty", False, "no choices"),
            ("slow", False, "timeout"),
            ("cut", True, "cut stream"),
            ("event", True, "error event"),
            ("breaks", True, "broken off: ClientPayloadError"),
        ):
            patience = 0.2 if model == "slow" else 30.0
            plan = Plan(url, model, stream=stream, concurrency=1, requests=2, warm_up=0, timeout_s=patience)
            load = await drive(plan)
            assert load.errors == {kind: 2}
            assert load.latency_ms == []
    load = await drive(
        Plan(f"http://127.0.0.1:{gateways.free_port()}", "m", concurrency=1, requests=1, warm_up=2)
    )
    assert load.errors == {"no connection": 1}
