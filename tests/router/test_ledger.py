"""Decisions on named models: embedded in a small part of the time, at once for whoever waits, and never lost."""

from __future__ import annotations

import asyncio
import time

import pytest

from router import ledger
from tests.router.fakes import FakeScorer


class Slow(FakeScorer):
    """Takes a while to read a text."""

    seconds = 0.02

    async def embed(self, text):
        await asyncio.sleep(self.seconds)
        return await super().embed(text)


async def test_embedding_takes_a_small_part_of_the_time_and_feedback_does_not_wait_for_its_turn(start):
    async with start(scorer=Slow()) as running:
        running.scorer.seconds = 0.2
        replies = [await running.chat("weak") for _ in range(8)]
        began = time.perf_counter()
        answer = await running.feedback(decision_id=replies[-1].headers["x-router-decision"], score=1.0)
        took = time.perf_counter() - began
        waiting = len(running.gateway.ledger._waiting)
    assert answer.status_code == 200
    assert waiting > 0  # in their turn the eight would take ten seconds
    assert took < 5


@pytest.mark.parametrize("named_by", ["decision_id", "completion_id"])
async def test_whoever_waits_is_found_by_either_id(start, named_by):
    async with start(scorer=Slow()) as running:
        replies = [await running.chat("weak") for _ in range(4)]
        reference = {
            "decision_id": replies[-1].headers["x-router-decision"],
            "completion_id": replies[-1].json()["id"],
        }[named_by]
        answer = await running.feedback(**{named_by: reference}, score=0.5)
        row = await running.decision(replies[-1].headers["x-router-decision"])
    assert answer.status_code == 200
    assert row.prompt.version == "fake-1"


async def test_beyond_what_may_wait_the_oldest_are_written_as_they_are(start, monkeypatch):
    monkeypatch.setattr(ledger, "EMBEDDINGS_WAITING", 2)
    async with start(scorer=Slow()) as running:
        running.scorer.seconds = 0.2
        replies = [await running.chat("weak") for _ in range(6)]
        rows = [await running.decision(reply.headers["x-router-decision"]) for reply in replies[1:4]]
    assert "none" in [row.prompt.version for row in rows]


async def test_at_the_end_all_that_waits_is_embedded_and_written(start, settings):
    from router.store import queries
    from router.store.engine import open_store

    async with start(scorer=Slow()) as running:
        replies = [await running.chat("weak") for _ in range(5)]
    engine = open_store(settings.store.url)
    rows = [queries.decision(engine, reply.headers["x-router-decision"]) for reply in replies]
    engine.dispose()
    assert [row.prompt.version for row in rows] == ["fake-1"] * 5
