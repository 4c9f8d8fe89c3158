"""GET /v1/router/decisions: filters, pages, and who may look."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.store.keys import add_key
from tests.router.fakes import Fails
from tests.router.running import ASK

PATH = "/v1/router/decisions"


async def asked(running, name="auto", **fields):
    """A chat's decision id, once it is in the store."""
    reply = await running.chat(name, **fields)
    decision = reply.headers["x-router-decision"]
    await running.decision(decision)
    return decision


async def get(running, **params):
    reply = await running.http.get(PATH, params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def ids(running, **params):
    return [row["id"] for row in (await get(running, **params))["data"]]


async def test_a_decision_is_told_with_its_candidates_cost_and_score_and_without_its_prompt(start, settings):
    async with start(store=replace(settings.store, store_prompts=True)) as running:
        decision = await asked(running)
        for source, score in (("feedback", 1.0), ("verifier", 0.5)):
            await running.feedback(decision_id=decision, score=score, source=source)
        reply = await running.http.get(PATH)
    page = reply.json()
    [row] = page["data"]
    assert page["next_cursor"] is None
    assert (row["id"], row["chosen"], row["status"], row["key"]) == (decision, "weak", 200, None)
    assert (row["score"], row["input_tokens"], row["reason"]) == (0.75, 10, "best_score")
    assert [each["model"] for each in row["candidates"]] == ["weak", "middle", "strong"]
    assert ASK[0]["content"] not in reply.text


async def test_every_filter_narrows_and_the_newest_is_first(start):
    async with start({"middle": Fails(503)}) as running:
        weak = await asked(running, "weak")
        failed = await asked(running, "middle")
        strong = await asked(running, "strong")
        between = (await running.decision(failed)).created_at
        assert await ids(running) == [strong, failed, weak]
        assert await ids(running, model="weak") == [weak]
        assert await ids(running, status=503) == await ids(running, status="5xx") == [failed]
        assert await ids(running, since=repr(between)) == [strong, failed]
        assert await ids(running, until=repr(between)) == [weak]
        assert await ids(running, since="2001-01-01", until="2001-01-02T00:00:00Z") == []


async def test_a_key_sees_its_own_and_an_admin_key_everybodys(start, settings):
    async with start(server=replace(settings.server, require_key=True)) as running:
        engine = running.app.state.services.engine
        one, other = ({"authorization": f"Bearer {add_key(engine, name)[1]}"} for name in ("one", "other"))
        assert (await running.http.get(PATH)).status_code == 401
        first, second = await asked(running, headers=one), await asked(running, headers=other)
        running.http.headers.update(one)
        assert await ids(running) == [first]
        assert await ids(running, key="other") == []
        _, admin = add_key(engine, "boss", admin=True)
        running.http.headers.update({"authorization": f"Bearer {admin}"})
        assert await ids(running) == [second, first]
        assert await ids(running, key="other") == [second]


async def test_pages_give_everything_once_also_where_times_are_equal(start, monkeypatch):
    monkeypatch.setattr("router.exchange.time.time", lambda: 1000.0)
    async with start() as running:
        made = {await asked(running, "weak") for _ in range(5)}
        got, cursor, sizes = [], None, []
        while True:
            page = await get(running, limit=2, **({"cursor": cursor} if cursor else {}))
            got += [row["id"] for row in page["data"]]
            sizes.append(len(page["data"]))
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert sizes == [2, 2, 1]
    assert sorted(got) == sorted(made)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"since": "yesterday"}, "since"),
        ({"until": ""}, "until"),
        ({"status": "teapot"}, "status"),
        ({"status": "6xx"}, "status"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"cursor": "ä"}, "cursor"),
        ({"cursor": "bm9uZQ"}, "cursor"),
        ({"cursor": "WzEsMl0"}, "cursor"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(start, params, param):
    async with start() as running:
        reply = await running.http.get(PATH, params=params)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
