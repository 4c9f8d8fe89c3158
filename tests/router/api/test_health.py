"""Health, readiness, keys, and what works while the value model loads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import patch

import pytest

from router import gateway
from router.store.keys import add_key, revoke_key
from router.store.writer import WriterHealth
from tests.router.fakes import FakeScorer


class SlowScorer(FakeScorer):
    """One whose first fit, and so its loading, waits for `loaded`."""

    def __init__(self):
        super().__init__()
        self.loaded = asyncio.Event()

    async def fit(self, embeddings, labels, beside=None):
        await self.loaded.wait()
        return await super().fit(embeddings, labels)


class BrokenScorer(FakeScorer):
    async def fit(self, embeddings, labels, beside=None):
        raise RuntimeError("weights are missing")


async def ready(running):
    reply = await running.http.get("/readyz")
    return reply.status_code, reply.json().get("reasons", [])


async def test_a_gateway_that_can_route_is_ready(start):
    async with start() as running:
        await running.chat()
        assert await ready(running) == (200, [])
        assert (await running.http.get("/healthz")).status_code == 200


async def test_while_the_value_model_loads_named_models_work_and_auto_waits(start):
    scorer = SlowScorer()
    async with start(scorer=scorer) as running:
        assert (await running.http.get("/healthz")).status_code == 200
        status, reasons = await ready(running)
        assert (status, len(reasons)) == (503, 1)
        assert "loading" in reasons[0]
        assert (await running.chat("weak")).status_code == 200
        routed = asyncio.create_task(running.chat())
        await asyncio.sleep(0.05)
        assert not routed.done()
        scorer.loaded.set()
        assert (await routed).status_code == 200


async def test_auto_does_not_wait_for_ever(start, monkeypatch):
    monkeypatch.setattr(gateway, "PATIENCE_S", 0.05)
    scorer = SlowScorer()
    async with start(scorer=scorer) as running:
        reply = await running.chat()
        scorer.loaded.set()
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert reply.json()["error"]["code"] == "not_ready"


async def test_without_a_value_model_named_models_still_work(start, caplog):
    async with start(scorer=BrokenScorer()) as running:
        await asyncio.sleep(0.05)
        assert (await running.chat()).status_code == 503
        assert (await running.chat("weak")).status_code == 200
        status, [reason] = await ready(running)
    assert status == 503
    assert "could not be loaded" in reason
    assert "weights are missing" in caplog.text


async def test_a_store_that_cannot_be_written_is_a_reason_not_to_be_ready(start):
    async with start() as running:
        await running.chat()
        broken = WriterHealth(True, 3, 0, "OperationalError SQLITE_FULL")
        with patch.object(running.app.state.services.writer, "health", lambda: broken):
            status, reasons = await ready(running)
    assert status == 503
    assert reasons == ["the store could not be written: OperationalError SQLITE_FULL"]


@pytest.fixture
def guarded(settings):
    return replace(settings.server, require_key=True)


async def test_without_a_living_key_nothing_but_health_is_served(start, guarded):
    async with start(server=guarded) as running:
        replies = [
            await running.chat(),
            await running.chat(headers={"authorization": "Bearer sk-v0-wrong"}),
            await running.chat(headers={"authorization": "Basic abc"}),
            await running.feedback(id="x", score=1),
            await running.http.get("/v1/models"),
            await running.http.post("/v1/router/explain", json={}),
        ]
        assert (await running.http.get("/healthz")).status_code == 200
        assert not running.upstream.asked
    assert {reply.status_code for reply in replies} == {401}
    assert {reply.json()["error"]["code"] for reply in replies} == {"invalid_api_key"}
    assert "sk-v0-wrong" not in replies[1].text


async def test_a_key_serves_and_is_recorded_until_it_is_revoked(start, guarded):
    async with start(server=guarded) as running:
        engine = running.app.state.services.engine
        key, secret = await asyncio.to_thread(add_key, engine, "ci")
        reply = await running.chat(headers={"authorization": f"Bearer {secret}"})
        row = await running.decision(reply.headers["x-router-decision"])
        await asyncio.to_thread(revoke_key, engine, "ci")
        await running.app.state.services.book.refresh()
        after = await running.chat(headers={"authorization": f"Bearer {secret}"})
    assert (reply.status_code, row.key_id, after.status_code) == (200, key.id, 401)


async def test_what_was_given_is_not_closed(start):
    async with start() as running:
        pass
    assert not running.scorer.closed
