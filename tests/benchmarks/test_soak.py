from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import orjson
import pytest

from benchmarks import soak
from benchmarks.load.faulty import FaultyUpstream, counted, identity, read_identity, what
from router.store.engine import open_store
from router.store.writer import Writer
from tests.router.store.rows import decision, feedback


def test_an_answers_id_says_what_it_must_have_cost():
    number = next(n for n in range(100) if counted(n).cached)
    tokens = counted(number)
    assert read_identity(identity("b", number)) == ("b", number)
    assert soak.expected_usd(identity("b", number)) == pytest.approx(
        ((tokens.prompt - tokens.cached) * 1.0 + tokens.cached * 0.1 + tokens.completion * 3.0) / 1e6
    )


async def test_the_upstream_does_what_its_numbers_say_and_counts_it():
    app = FaultyUpstream()
    transport = httpx.ASGITransport(app)
    seen = []
    async with httpx.AsyncClient(transport=transport, base_url="http://upstream") as http:
        for number in range(150):
            doing = what(number, "a")
            if doing in ("nothing", "cut"):  # needs a real connection to break
                app.numbers += 1
                continue
            reply = await http.post("/v1/chat/completions", json={"model": "a", "messages": []})
            seen.append(doing)
            if doing.isdigit():
                assert reply.status_code == int(doing)
                continue
            said = reply.json()
            assert said["id"] == identity("a", number)
            assert said.get("usage") == (None if doing == "uncounted" else counted(number).usage)
        stats = (await http.get("/v1/stats")).json()
    assert stats["done"] == {doing: seen.count(doing) for doing in set(seen)}
    assert {"answer", "uncounted", "503"} <= set(seen)


@pytest.fixture
def store(tmp_path):
    """A store with one decision that cost what it must have, and feedback on it: the database and the decision's id."""
    path = tmp_path / "router.db"

    def fill(cost):
        async def work():
            writer = Writer(engine)
            writer.start()
            row = replace(
                decision("dec_1"), completion_id=identity("a", 7), cost_usd=cost, usage_estimated=False
            )
            writer.decision(replace(row, status=200))
            await writer.feedback(feedback("dec_1"))
            await writer.aclose()

        engine = open_store(f"sqlite:///{path}")
        asyncio.run(work())
        engine.dispose()
        return path

    return fill


def test_what_is_missing_in_the_store_or_wrong_is_found(store):
    path = store(soak.expected_usd(identity("a", 7)) * 1.001)
    found = soak.Soak(told={"dec_1", "dec_2"}, acknowledged={"dec_1", "dec_3"})
    soak.look(path, found)
    assert dict(found.problems) == {
        "a wrong cost in the log of decisions": 1,
        "decisions that clients were told of are not in the store": 1,
        "acknowledged outcomes are not in the store": 1,
        "the key's spending is not the sum of its decisions": 1,  # no key was charged
    }
    assert found.stored["decisions"] == 1


def test_memory_that_grows_has_a_slope_and_a_start_has_none():
    def after(mib):
        return soak.Soak(requests=1000, memory=[(n, mib(n)) for n in range(1000)])

    assert after(lambda n: 600 + n * 0.001).slope() == pytest.approx(100)
    assert after(lambda n: min(600 + n, 900)).slope() == pytest.approx(0)
    assert after(lambda n: 600 + n % soak.LOOKS).slope() == pytest.approx(0)  # given back again and again
    assert after(lambda n: 600 + n % soak.LOOKS + n * 0.001).slope() == pytest.approx(100)
    assert soak.Soak(requests=10, memory=[(5, 1.0)]).slope() is None


def test_a_reply_that_costs_another_sum_or_ends_too_soon_is_noticed():
    clients = soak.Clients("http://gateway", "key", 1, 0, print)
    said = orjson.dumps({"id": identity("c", 3)})
    right = {"x-router-cost-usd": str(soak.expected_usd(identity("c", 3)))}
    assert clients._check(said, False, right)
    assert not clients.found.problems
    assert clients._check(said, False, {"x-router-cost-usd": "0.5"})
    assert not clients._check(b'data: {"id": "x"}\n\n', True, {})
    assert dict(clients.found.problems) == {
        "a client was told a wrong cost": 1,
        "a cut stream without an error event": 1,
    }


async def test_a_short_soak_finds_nothing_wrong(tmp_path):
    found = await soak.soak(100, 0, tmp_path, lambda _done: None)
    assert dict(found.problems) == {}
    assert found.requests == 100
    assert found.costs_checked > 60
    assert found.stored["decisions"] == len(found.told) > 80
    assert found.stored["spending_usd"] == pytest.approx(found.stored["cost_usd"])
