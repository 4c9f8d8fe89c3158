"""Accounts in memory, kept in step with the store."""

from __future__ import annotations

import time

import pytest
from sqlalchemy.exc import OperationalError

from router.keys.account import Clock
from router.keys.book import Book
from router.keys.limits import Limits
from router.keys.spending import DAY_S, Sum, day_of
from router.store.engine import open_store
from router.store.errors import StoreUnavailable
from router.store.keys import add_key, limit_key, revoke_key, save_spending, spent_by_day


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    yield engine
    engine.dispose()


def spend(engine, key, process, at, usd):
    save_spending(engine, process, {(key.id, day_of(at)): Sum(1, 12, 34, usd)})


async def test_a_process_knows_what_the_others_spent_and_counts_its_own_once(engine):
    key, _ = add_key(engine, "ci", Limits(total_usd=10.0))
    mine, other = Book(engine), Book(engine)
    now = time.time()
    for book, usd in ((mine, 2.0), (other, 3.0), (mine, 1.0)):
        await book.refresh()
        book.admission(key).settle(Sum(1, 0, 0, usd), now)
        await book.save()
    for book in (mine, other):
        await book.refresh()
        assert book.account(key).left_usd(now) == 4.0
    assert spent_by_day(engine)[key.id][day_of(now)].cost_usd == 6.0


async def test_what_could_not_be_written_is_written_the_next_time(engine, monkeypatch):
    key, _ = add_key(engine, "ci")
    book = Book(engine)
    now = time.time()
    book.admission(key).settle(Sum(1, 0, 0, 2.0), now)

    def away(*_):
        raise StoreUnavailable("OperationalError")

    with monkeypatch.context() as broken:
        broken.setattr("router.keys.book.save_spending", away)
        with pytest.raises(StoreUnavailable):
            await book.save()
        await book.aclose()
    assert spent_by_day(engine) == {}
    book.admission(key).settle(Sum(1, 0, 0, 1.0), now)
    await book.aclose()
    assert spent_by_day(engine)[key.id][day_of(now)].cost_usd == 3.0


async def test_a_restart_knows_what_was_spent_before_by_day_and_month(engine):
    key, _ = add_key(engine, "ci", Limits(day_usd=10.0, month_usd=20.0, total_usd=30.0))
    now = 1_800_000_000.0 - 1_800_000_000.0 % DAY_S + 100  # a day in the middle of a month
    for back, usd in ((0, 1.0), (1, 2.0), (40, 4.0)):
        spend(engine, key, "before", now - back * DAY_S, usd)
    book = Book(engine, "now", clock=Clock(lambda: now, lambda: now))
    await book.start()
    left = [each.left_usd for each in book.account(key).spending.budgets(key.limits, now)]
    assert left == [9.0, 17.0, 23.0]


async def test_old_days_are_kept_while_only_the_latest_are_read_again(engine):
    key, _ = add_key(engine, "ci")
    moment = [1_800_000_000.0]
    book = Book(engine, "now", clock=Clock(lambda: moment[0], lambda: moment[0]))
    spend(engine, key, "before", moment[0] - 30 * DAY_S, 1.0)
    await book.start()
    spend(engine, key, "other", moment[0], 2.0)
    await book.refresh()
    assert book.account(key).spending.sum("total", moment[0]).cost_usd == 3.0
    moment[0] += DAY_S
    await book.refresh()
    days = book.account(key).spending.stored
    assert {day: spent.cost_usd for day, spent in days.items()} == {
        day_of(moment[0]) - 31: 1.0,
        day_of(moment[0]) - 1: 2.0,
    }


async def test_other_limits_and_a_revocation_are_noticed(engine):
    _, secret = add_key(engine, "ci", Limits(concurrent=1))
    book = Book(engine, "now")
    await book.start()
    key = await book.verify(secret)
    assert book.account(key).limits.concurrent == 1
    limit_key(engine, "ci", Limits(concurrent=5))
    await book.refresh()
    assert book.account(await book.verify(secret)).limits.concurrent == 5
    revoke_key(engine, "ci")
    await book.refresh()
    assert await book.verify(secret) is None


async def test_known_keys_go_on_working_while_the_store_is_away(engine, monkeypatch):
    _, secret = add_key(engine, "ci")
    book = Book(engine, "now")
    await book.start()
    book.keyring._known_until = 0.0  # as long ago as a store may be away

    def away(*_):
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr(book.keyring, "_look_up", away)
    assert (await book.verify(secret)).name == "ci"
