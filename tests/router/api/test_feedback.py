"""POST /v1/feedback."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest

from router.api import feedback as room
from router.store.errors import StoreUnavailable
from tests.router.fakes import Says
from tests.router.running import ASK


@pytest.mark.parametrize("name", ["decision_id", "id"])
async def test_a_score_is_acknowledged_with_the_model_it_is_for(start, name):
    async with start() as running:
        reply = await running.chat("middle")
        decision = reply.headers["x-router-decision"]
        answer = await running.feedback(**{name: decision, "score": 0.25, "comment": "meh"})
    assert answer.status_code == 200
    outcome = answer.json()
    assert isinstance(outcome.pop("id"), int)
    assert outcome == {"decision_id": decision, "model": "middle", "score": 0.25}


@pytest.mark.parametrize("name", ["completion_id", "id"])
async def test_a_completions_id_names_its_decision(start, name):
    async with start() as running:
        reply = await running.chat()
        answer = await running.feedback(**{name: reply.json()["id"], "score": True})
    assert answer.json()["decision_id"] == reply.headers["x-router-decision"]
    assert answer.json()["score"] == 1.0


async def test_feedback_that_comes_before_its_decision_is_embedded_waits_for_it(start):
    async with start() as running:
        running.scorer.gate.clear()
        reply = await running.chat("middle")
        waiting = asyncio.create_task(running.feedback(id=reply.json()["id"], score=1))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        running.scorer.gate.set()
        answer = await waiting
        await running.gateway.loading.now().contexts.refresh()
        rows = {
            name: c.rows for name, c in running.gateway.loading.now().contexts.current.capabilities.items()
        }
    assert answer.status_code == 200
    assert rows == {"strong": 0, "middle": 1, "weak": 0}


async def test_feedback_for_a_reply_that_does_not_end_is_asked_to_come_back(start, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_S", 0.05)
    async with start({"weak": Says(stalls=True)}) as running:
        chat = asyncio.create_task(running.chat("weak"))
        await running.upstream.thinking.wait()
        [decision] = running.gateway.ledger._open
        answer = await running.feedback(decision_id=decision, score=1)
        chat.cancel()
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "decision_pending")


async def test_an_unknown_decision_is_404_naming_the_field(start):
    async with start() as running:
        answer = await running.feedback(completion_id="chatcmpl-none", score=1)
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "completion_id"
    assert answer.json()["error"]["code"] == "decision_not_found"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"id": "x"}, "score"),
        ({"id": "x", "score": 1.5}, "score"),
        ({"id": "x", "score": -1}, "score"),
        ({"id": "x", "score": "1"}, "score"),
        ({"id": "x", "score": None}, "score"),
        ({"score": 1}, "decision_id"),
        ({"id": "x", "decision_id": "y", "score": 1}, "decision_id"),
        ({"id": 7, "score": 1}, "id"),
        ({"id": " ", "score": 1}, "id"),
        ({"completion_id": "\t", "score": 1}, "completion_id"),
        ({"id": "x", "score": 1, "comment": "c" * 2001}, "comment"),
        ({"id": "x", "score": 1, "source": "import"}, "source"),
        ({"id": "x", "score": 1, "rating": 5}, "rating"),
    ],
)
async def test_a_field_that_is_wrong_is_named(start, fields, param):
    async with start() as running:
        answer = await running.feedback(**fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_store_that_is_away_is_503_with_retry_after(start):
    async with start() as running:
        reply = await running.chat()

        async def away(row):
            raise StoreUnavailable("OperationalError SQLITE_FULL")

        with patch.object(running.app.state.services.writer, "feedback", away):
            answer = await running.feedback(id=reply.json()["id"], score=1)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_the_same_prompt_to_two_models_teaches_both(start):
    async with start() as running:
        await running.teach(strong=1, weak=0)
        current = running.gateway.loading.now().contexts.current
    assert {name: c.mean_score for name, c in current.capabilities.items()} == {
        "strong": 1.0,
        "middle": None,
        "weak": 0.0,
    }
    assert running.scorer.read == [ASK[0]["content"]] * 2
