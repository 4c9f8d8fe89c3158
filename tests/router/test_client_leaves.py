"""A trainer that leaves before its answer came: others are served, and what it reported is kept once, whole."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress

import pytest

from router.client import AsyncClient, Outcome
from router.schedule import budget
from tests.router.fakes import FakeScorer


class CountingScorer(FakeScorer):
    """Counts who waits to embed."""

    def __init__(self):
        super().__init__()
        self.arrived = 0

    async def embed_many(self, texts):
        self.arrived += 1
        return await super().embed_many(texts)


@asynccontextmanager
async def served(serve):
    scorer = CountingScorer()
    async with serve(scorer=scorer) as (url, _), AsyncClient(url, retries=0) as stays:
        yield url, scorer, stays


async def leave(call, when):
    """Begin a call, and leave once `when` says so."""
    task = asyncio.create_task(call)
    async with asyncio.timeout(10):
        while not when():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_client_that_leaves_a_prediction_leaves_its_place_too(serve):
    async with served(serve) as (url, scorer, stays):
        scorer.gate.clear()
        for turn in range(12):  # more than may wait
            async with AsyncClient(url, retries=0) as gone:
                asked = gone.predict_from(["a"], [Outcome(f"prompt {turn}", 1.0)])  # none embedded before
                await leave(asked, lambda: scorer.arrived)
            scorer.gate.set()
            prediction = await asyncio.wait_for(stays.predict_from(["a"], [Outcome("b", 0.25)]), 10)
            assert prediction.values == [0.25]
            scorer.gate.clear()
            scorer.arrived = 0
        scorer.gate.set()


async def test_what_a_client_reported_before_it_left_is_kept_once(serve):
    async with served(serve) as (url, scorer, stays):
        scorer.gate.clear()
        async with AsyncClient(url, retries=0) as gone:
            await leave(gone.report("run", [Outcome("a", 1.0), Outcome("b", 0.0)]), lambda: scorer.arrived)
        scorer.gate.set()
        told = await stays.report("run", [Outcome("c", 1.0)])  # its turn comes after the one who left
        assert (told.size, told.mean_reward) == (3, pytest.approx(2 / 3))
        assert await stays.policies() == [told]


async def test_a_client_that_leaves_a_budget_or_rounds_disturbs_nobody(serve, monkeypatch):
    entered, go_on = threading.Event(), threading.Event()

    def slow(values, total, *, low, high):
        entered.set()
        assert go_on.wait(10)
        return budget.uniform(values, total, low=low, high=high)

    monkeypatch.setitem(budget.POLICIES, "greedy", slow)
    async with served(serve) as (url, _, stays):
        async with AsyncClient(url, retries=0) as gone:
            await leave(gone.budget([0.5, 0.5], 8), entered.is_set)
            rounds = asyncio.create_task(gone.start([0.5]))
            await asyncio.sleep(0.05)  # it waits behind the budget
            rounds.cancel()
        waits = asyncio.create_task(stays.budget([0.5, 0.5], 8, method="uniform"))
        await asyncio.sleep(0.05)
        assert not waits.done()
        go_on.set()
        assert await asyncio.wait_for(waits, 10) == [4, 4]
        assert (await stays.start([0.5])).allocation == [4]
