"""The writer under pressure: full queues, full disks, locked files, impatient callers, kill -9."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import event

from router.store import queries
from router.store import writer as writer_module
from router.store.engine import open_store, writing
from router.store.errors import StoreUnavailable
from router.store.writer import Writer
from tests.contracts.store import count, writer_on
from tests.router.store.disk import full_disk
from tests.router.store.rows import decision, feedback, prompt

ROOT = Path(__file__).parents[3]

FEED_FOREVER = """
import asyncio, sys
from router.store.engine import open_store
from router.store.writer import Writer
from tests.router.store.rows import decision, feedback

async def feed(writer, client):
    for i in range(1_000_000):
        name = f"dec_{sys.argv[2]}_{client}_{i}"
        writer.decision(decision(name, text=name))
        await writer.feedback(feedback(name))
        print(name, flush=True)

async def main():
    writer = Writer(open_store(sys.argv[1]))
    writer.start()
    await asyncio.gather(*(feed(writer, client) for client in range(64)))

asyncio.run(main())
"""


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db", busy_timeout_s=0.05)
    yield engine
    engine.dispose()


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(writer_module, "RETRY_AFTER_S", (0.01, 0.01, 0.01))


async def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        await asyncio.sleep(0.005)


async def test_a_full_queue_drops_and_counts_and_never_waits(engine, caplog):
    writer = Writer(engine, capacity=3)
    started = time.monotonic()
    for i in range(1000):
        writer.decision(decision(f"dec_{i}", prompt=prompt("a secret prompt", stored=True)))
    with pytest.raises(StoreUnavailable, match="full"):
        await writer.feedback(feedback())
    assert time.monotonic() - started < 5
    assert (writer.health().queued, writer.health().dropped) == (3, 997)
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
    assert "secret" not in caplog.text
    writer.start()
    await writer.aclose()
    assert count(engine, "decisions") == 3


async def test_closing_writes_what_is_queued(engine):
    async with writer_on(engine, batch=7) as writer:
        for i in range(100):
            writer.decision(decision(f"dec_{i}"))
    assert count(engine, "decisions") == 100
    assert writer.health() == writer_module.WriterHealth(False, 0, 0, None)


async def test_a_closed_writer_refuses_and_may_be_closed_again(engine):
    async with writer_on(engine) as writer:
        pass
    writer.decision(decision())
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.feedback(feedback())
    await writer.aclose()
    assert writer.health().dropped == 1


async def test_rows_that_come_together_are_one_commit(engine):
    commits = []
    event.listen(engine, "commit", commits.append)
    writer = Writer(engine)
    for i in range(200):
        writer.decision(decision(f"dec_{i}"))
    scores = [asyncio.create_task(writer.feedback(feedback(f"dec_{i}"))) for i in range(200)]
    await asyncio.sleep(0)
    writer.start()
    await asyncio.gather(*scores)
    await writer.aclose()
    assert len(commits) == 1


async def test_feedback_does_not_wait_for_company(engine):
    async with writer_on(engine, linger_s=30.0) as writer:
        writer.decision(decision())
        await asyncio.wait_for(writer.feedback(feedback()), timeout=5)


async def test_a_full_disk_fails_feedback_and_the_thread_lives_on(engine, quick_retries):
    async with writer_on(engine) as writer:
        writer.decision(decision("dec_before"))
        await writer.feedback(feedback("dec_before"))
        with full_disk(engine):
            big = prompt("x" * 200_000, stored=True)
            writer.decision(decision("dec_lost", prompt=big))
            with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
                await writer.feedback(feedback("dec_lost"))
            await until(lambda: writer.health().dropped == 1)
            assert writer.health().last_error == "OperationalError SQLITE_FULL"
        writer.decision(decision("dec_after"))
        await writer.feedback(feedback("dec_after"))
        assert writer.health().last_error is None
    assert [row.decision_id for row in queries.outcomes_since(engine, 0)] == ["dec_before", "dec_after"]


async def test_decisions_are_retried_in_their_order_before_what_came_later(engine, monkeypatch):
    monkeypatch.setattr(writer_module, "RETRY_AFTER_S", (0.3, 0.3))
    async with writer_on(engine) as writer:
        with writing(engine).begin():
            writer.decision(decision("dec_1"))
            await until(lambda: writer.health().last_error is not None)
        # The lock is gone, but the decision still waits for its second attempt.
        assert queries.decision(engine, "dec_1") is None
        assert (await writer.feedback(feedback("dec_1"))).decision_id == "dec_1"
    assert writer.health().dropped == 0


async def test_closing_a_writer_whose_database_is_away_takes_one_attempt(engine):
    async with writer_on(engine, batch=10) as writer:
        with writing(engine).begin():
            for i in range(1000):
                writer.decision(decision(f"dec_{i}"))
            started = time.monotonic()
            await writer.aclose()
            assert time.monotonic() - started < 2
    assert writer.health().dropped == 1000


async def test_a_caller_who_leaves_disturbs_nobody(engine):
    async with writer_on(engine) as writer:
        with writing(engine).begin():
            writer.decision(decision("dec_1"))
            leaving = asyncio.create_task(writer.feedback(feedback("dec_1")))
            await asyncio.sleep(0.01)
            leaving.cancel()
        writer.decision(decision("dec_2"))
        assert (await writer.feedback(feedback("dec_2"))).decision_id == "dec_2"
        assert writer.health().running


async def test_errors_quote_no_content(engine, caplog):
    async with writer_on(engine) as writer:
        with full_disk(engine):
            secret = prompt("a secret prompt" * 10_000, stored=True)
            writer.decision(decision(prompt=secret))
            with pytest.raises(StoreUnavailable) as caught:
                await writer.feedback(feedback(comment="a secret comment"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "secret" not in str(caught.value) + caplog.text


def acknowledged_until_killed(url: str, run: int) -> set[str]:
    """Feed from another process, kill it the moment it reports some random acknowledgement; all it reported."""
    feeder = subprocess.Popen(
        [sys.executable, "-c", FEED_FOREVER, url, str(run)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert feeder.stdout is not None
    try:
        reported = [feeder.stdout.readline() for _ in range(random.randint(200, 1000))]
    finally:
        feeder.kill()
    reported += feeder.stdout.readlines()
    feeder.stdout.close()
    feeder.wait()
    return {line.strip() for line in reported if line.endswith("\n")}


def test_every_acknowledged_feedback_survives_kill_9(tmp_path):
    url = f"sqlite:///{tmp_path}/router.db"
    acknowledged = acknowledged_until_killed(url, 1) | acknowledged_until_killed(url, 2)
    engine = open_store(url)
    found: set[str | None] = set()
    revision = 0
    while page := queries.outcomes_since(engine, revision):
        found.update(row.decision_id for row in page)
        revision = page[-1].revision
    engine.dispose()
    assert len(acknowledged) >= 400
    assert acknowledged <= found
