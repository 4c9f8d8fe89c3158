"""The client against a served gateway; the fake value model's value is the mean reward of the context's rows."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import pytest
from rich.progress import Progress

from router import client
from router.client import AsyncClient, Client, ClientError, Limits, Outcome, Rule, Sample
from router.schedule import budget, fusion, robust, rounds
from tests.router.fakes import FakeScorer

ROOT = Path(__file__).parents[2]
PROMPTS = ["2 + 2?", "3 * 3?", "7 - 4?"]


async def using(serve, use):
    async with serve() as (url, _):

        def work():
            with Client(url) as gateway:
                return use(gateway)

        return await asyncio.to_thread(work)


async def test_policies_are_taught_predicted_listed_and_forgotten(serve):
    def use(gateway):
        told = gateway.report(
            "run", [Outcome("a", 1.0, 3), Outcome("b", -1.0, 4), Outcome("c", 1.0)], reward_range=(-1, 1)
        )
        assert (told.size, told.step, told.mean_reward) == (3, 4, pytest.approx(2 / 3))
        assert gateway.policies() == [told]
        prediction = gateway.predict(PROMPTS, "run")
        assert prediction.values == pytest.approx([2 / 3] * 3, abs=1e-5)
        assert (prediction.context_size, prediction.revision) == (3, told.revision)
        assert gateway.predict(PROMPTS, "run", sample=Sample(size=1), until_step=3).values == [1.0] * 3
        gateway.delete("run")
        assert gateway.policies() == []
        assert gateway.predict_from(PROMPTS, [Outcome("a", 1.0), Outcome("b", 0.0)]).values == [0.5] * 3

    await using(serve, use)


async def test_a_refusal_carries_what_the_gateway_said(serve):
    def use(gateway):
        with pytest.raises(ClientError, match="no outcomes are known") as caught:
            gateway.predict(PROMPTS, "nobody")
        assert (caught.value.status, caught.value.param, caught.value.code) == (
            404,
            "policy",
            "policy_not_found",
        )

        with pytest.raises(ClientError, match="400: name"):
            gateway.report("run?step=1", [Outcome("a", 1.0)])

    await using(serve, use)


async def test_budgets_are_the_librarys(serve):
    values = np.random.default_rng(0).random(50)

    def use(gateway):
        for name, policy in budget.POLICIES.items():
            found = gateway.budget(values.tolist(), 400, method=name, low=3, high=64)
            assert found == policy(values, 400, low=3, high=64).tolist()

    await using(serve, use)


async def test_the_last_epochs_rates_are_budgeted_as_the_library_does(serve):
    rates = [0.25, None, 1.0, None, 0.5]
    known = np.array(rates, dtype=float)

    def use(gateway):
        for name, policy in budget.POLICIES.items():
            found = gateway.budget_from_epoch(rates, 100, method=name, high=40)
            assert found == budget.PreviousEpoch(known, policy)(np.zeros(5), 100, high=40).tolist()
        with pytest.raises(ClientError, match=r"rates\.1"):
            gateway.budget_from_epoch([0.5, 1.5], 8)

    await using(serve, use)


@pytest.mark.parametrize(
    ("rule", "library"),
    [
        (Rule(), fusion.Shrinkage()),
        (Rule("mixture"), robust.RobustMixture()),
        (Rule("mixture", 1 / 128, (0.0, 1.0)), robust.RobustMixture(cost=1 / 128, rewards=fusion.BINARY)),
    ],
)
async def test_rounds_over_http_are_the_librarys(serve, rule, library):
    priors = [0.05, 0.3, 0.5, 0.9]
    draw = np.random.default_rng(1)

    def use(gateway):
        ours = rounds.start(priors, library, rounds.Limits(start=2, multiple=2, cap=12))
        theirs = gateway.start(priors, rule, Limits(start=2, multiple=2, cap=12))
        while not theirs.done:
            assert theirs.allocation == ours.allocation.tolist()
            assert theirs.advantages is None
            rewards = [draw.choice(rule.reward_range, size=count).tolist() for count in theirs.allocation]
            ours, theirs = ours.report(rewards), gateway.next(theirs, rewards)
        assert ours.reports > 1
        assert ours.done
        assert theirs.baselines == pytest.approx(ours.baselines.tolist())
        for got, wanted in zip(theirs.advantages, ours.advantages(), strict=True):
            assert got == pytest.approx(wanted.tolist())

    await using(serve, use)


def test_rounds_are_dispatched_as_the_library_does_unless_told():
    assert asdict(Limits()) == asdict(rounds.DEFAULT_LIMITS)


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_refused_before_it_is_sent(reward):
    with Client("http://127.0.0.1:9") as gateway, pytest.raises(ValueError, match="JSON"):
        gateway.report("run", [Outcome("a", reward)])


async def test_the_async_client_gets_what_the_other_gets(serve):
    async with serve() as (url, _), AsyncClient(url) as gateway:
        told = await gateway.report("run", [Outcome("a", 1.0), Outcome("b", 0.0), Outcome("c", 1.0)])
        assert await gateway.policies() == [told]
        values = (await gateway.predict(PROMPTS, "run")).values
        assert values == pytest.approx([2 / 3] * 3, abs=1e-5)
        assert (await gateway.predict_from(PROMPTS, [Outcome("a", 1.0)])).values == [1.0] * 3
        by_value = await gateway.budget(values, 48, method="variance")
        by_epoch = await gateway.budget_from_epoch([2 / 3, None, 2 / 3], 48, method="variance")
        assert by_value == by_epoch == [16] * 3
        rounds = await gateway.start([0.9, 0.5])
        while not rounds.done:
            rounds = await gateway.next(rounds, [[-1.0] * count for count in rounds.allocation])
        assert [len(each) for each in rounds.advantages] == [24, 24]
        with pytest.raises(ClientError, match="no outcomes are known"):
            await gateway.predict(PROMPTS, "nobody")
        await gateway.delete("run")
        assert await gateway.policies() == []


def test_the_two_clients_have_the_same_methods():
    def methods_of(kind):
        found = {name: value for name, value in vars(kind).items() if callable(value) and name[0] != "_"}
        return {name.removeprefix("a"): inspect.signature(value) for name, value in found.items()}

    assert methods_of(Client) == methods_of(AsyncClient)


async def test_the_async_client_waits_for_a_busy_gateway(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(client.asyncio, "sleep", sleep)
    replies = iter(
        [httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(200, json={"data": []})]
    )
    async with AsyncClient("http://gateway", retries=2) as gateway:
        transport = httpx.MockTransport(lambda _: next(replies))
        gateway._http = httpx.AsyncClient(base_url="http://gateway", transport=transport)
        assert await gateway.policies() == []
    assert slept == [7.0]


def test_a_busy_gateway_is_tried_again_and_a_busier_one_given_up(monkeypatch):
    slept = []
    monkeypatch.setattr(client.time, "sleep", slept.append)
    busy = httpx.Response(429, headers={"retry-after": "7"}, json={"error": {"message": "busy"}})

    def gateway_of(replies):
        gateway = Client("http://gateway", retries=2)
        gateway._http = httpx.Client(
            base_url="http://gateway", transport=httpx.MockTransport(lambda _: next(replies))
        )
        return gateway

    well = httpx.Response(200, json={"data": []})
    assert gateway_of(iter([busy, httpx.Response(503), well])).policies() == []
    assert slept == [7.0, 1.0]
    with pytest.raises(ClientError, match="429: busy"):
        gateway_of(iter([busy] * 3)).policies()


LONG = [f"{i} + 1?" for i in range(40)]


def story(*events):
    """A stream of these events, through a proxy that keeps connections awake."""
    return httpx.Response(200, text=": awake\n\n" + "".join(f"data: {each}\n\n" for each in events))


def begun(done=0):
    return json.dumps({"object": "value.progress", "done": done, "total": 2})


FOUND = json.dumps(
    {"values": [0.5, 0.5], "version": "v", "context_size": 0, "revision": None, "timings_ms": {}}
)


async def test_progress_is_told_up_to_the_total_and_changes_nothing(serve):
    def use(gateway):
        gateway.report("run", [Outcome("a", 1.0), Outcome("b", 0.0)])
        told = []
        watched = gateway.predict(LONG, "run", progress=lambda *each: told.append(each))
        assert told == [(0, 40), (16, 40), (32, 40), (40, 40)]
        plain = gateway.predict(LONG, "run")
        assert {**asdict(watched), "timings_ms": 0} == {**asdict(plain), "timings_ms": 0}
        assert gateway.predict_from(LONG, [Outcome("a", 1.0)], progress=print).values == [1.0] * 40
        with pytest.raises(ClientError, match="404: no outcomes are known"):
            gateway.predict(LONG, "nobody", progress=print)

    await using(serve, use)


async def test_the_async_client_is_told_the_same(serve):
    async with serve() as (url, _), AsyncClient(url) as gateway:
        await gateway.report("run", [Outcome("a", 1.0)])
        told = []
        found = await gateway.predict(LONG, "run", progress=lambda *each: told.append(each))
        assert found.values == [1.0] * 40
        assert told == [(0, 40), (16, 40), (32, 40), (40, 40)]
        own = await gateway.predict_from(LONG, [Outcome("b", 0.5)], progress=lambda *each: told.append(each))
        assert own.values == [0.5] * 40
        assert told[4:] == [(0, 40), (40, 40)]


class Slow(FakeScorer):
    """Takes its time for every piece."""

    async def embed_many(self, texts):
        await asyncio.sleep(0.2)
        return await super().embed_many(texts)


async def test_what_the_callback_raises_ends_the_prediction_here_and_there(serve):
    scorer = Slow()

    def use(url):
        def stop(done, total):
            if done:
                raise KeyboardInterrupt

        with Client(url) as gateway:
            with pytest.raises(KeyboardInterrupt):
                gateway.predict_from(LONG, [], progress=stop)
            assert gateway.predict_from(["a"], [Outcome("b", 0.25)]).values == [0.25]

    async with serve(scorer=scorer) as (url, _):
        await asyncio.to_thread(use, url)
    assert 16 <= len(set(LONG) & set(scorer.read)) < 40
    assert {"a", "b"} < set(scorer.read)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_stream_is_tried_again_before_it_begins_and_told_apart_when_it_breaks(kind, monkeypatch):
    monkeypatch.setattr(client, "_wait_s", lambda reply: 0.0)
    error = {"error": {"message": "ends", "type": "server_error", "param": None, "code": "not_ready"}}

    async def predict(*replies):
        coming = iter(replies)
        asked, told = [], []

        def answer(request):
            asked.append(json.loads(request.content))
            return next(coming)

        gateway = kind("http://gateway")
        http = {Client: httpx.Client, AsyncClient: httpx.AsyncClient}[kind]
        gateway._http = http(base_url="http://gateway", transport=httpx.MockTransport(answer))
        found = gateway.predict(["a", "b"], "run", progress=lambda *each: told.append(each))
        found = await found if kind is AsyncClient else found
        assert all(each["stream"] is True for each in asked)
        return found.values, told, len(asked)

    busy = httpx.Response(429, headers={"retry-after": "7"})
    whole = story(begun(), begun(2), FOUND, "[DONE]")
    assert await predict(busy, httpx.Response(503), whole) == ([0.5, 0.5], [(0, 2), (2, 2)], 3)
    with pytest.raises(ClientError, match="500: ends") as caught:
        await predict(story(begun(), json.dumps(error)))
    assert caught.value.code == "not_ready"
    for cut in (story(begun()), story(begun(), FOUND), httpx.Response(200, text=f"data: {FOUND[:20]}")):
        with pytest.raises(httpx.TransportError, match="broke off"):
            await predict(cut)


def test_the_client_needs_neither_torch_nor_numpy():
    found = subprocess.run(
        [sys.executable, "-c", "import sys, router.client; print({'torch', 'numpy'} & sys.modules.keys())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "set()"


async def test_the_documented_loop_runs(serve):
    page = (ROOT / "docs" / "scheduler.md").read_text()
    (example,) = re.findall(r"```python\n(from router\.client import Client, .*?)```", page, re.DOTALL)
    draw = np.random.default_rng(0)
    scope = {
        "prompts": PROMPTS * 4,
        "roll_out": lambda counts: [draw.choice([-1.0, 1.0], size=n).tolist() for n in counts],
        "train": lambda prompts, advantages: trained.append((len(prompts), len(advantages))),
    }
    trained = []

    async with serve() as (url, _):
        await asyncio.to_thread(exec, example.replace("http://127.0.0.1:8000", url), scope)
    assert trained == [(12, 12)] * 3


async def test_the_documented_loop_of_ones_own_runs_as_it_stands_and_learns(serve):
    page = (ROOT / "docs" / "scheduler.md").read_text()
    (example,) = re.findall(r"```python\n(import numpy .*?)```", page, re.DOTALL)
    scope = {}
    async with serve() as (url, _):
        await asyncio.to_thread(exec, example.replace("http://127.0.0.1:8000", url), scope)
    assert scope["skill"].mean() > 0.5  # from 0: half of the rollouts won
    assert set(scope["rounds"].counts) > {4}


async def test_the_documented_bar_fills(serve, monkeypatch):
    page = (ROOT / "docs" / "scheduler.md").read_text()
    (example,) = re.findall(r"```python\n(from rich\.progress .*?)```", page, re.DOTALL)
    scope = {"prompts": LONG}
    shown = []
    monkeypatch.setattr(Progress, "update", lambda bar, task, **fields: shown.append(fields))
    async with serve() as (url, _):
        async with AsyncClient(url) as gateway:
            await gateway.report("run-1", [Outcome("a", 1.0)])
        await asyncio.to_thread(exec, example.replace("http://127.0.0.1:8000", url), scope)
    assert scope["values"] == [1.0] * 40
    assert shown[-1] == {"completed": 40, "total": 40}
