"""
Every key's account, kept in step with the store: keys made and revoked elsewhere, spending of other processes.

Looked at by every request, and so in memory. What this process spends is written twice a second, what others wrote and
the keys are read every two, in a thread: the table `spending` has rows of its own for every process.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from router.keys.account import Account, Admission, Clock
from router.keys.spending import day_of
from router.store.errors import StoreUnavailable, reason_of
from router.store.keys import Keyring, save_spending, spent_by_day

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from router.keys.spending import Sum
    from router.store.rows import KeyRow

logger = logging.getLogger(__name__)

SAVE_EVERY_S = 0.5
READ_EVERY_S = 2.0
LATE_DAYS = 2  # how long rows of a day may still grow after it: a reply may take hours, the writer seconds
SYSTEM = Clock(time.time, time.monotonic)


class Book:
    """Accounts by key. `process` names this process' rows of spending; no other may have that name, ever."""

    def __init__(self, engine: Engine, process: str | None = None, *, clock: Clock = SYSTEM) -> None:
        self.keyring = Keyring(engine)
        self._engine = engine
        self._process = secrets.token_hex(8) if process is None else process
        self._clock = clock
        self._accounts: dict[int, Account] = {}
        self._stored: dict[int, dict[int, Sum]] = {}
        self._read_days: int | None = None  # the day on which all days were last read

    @property
    def configured(self) -> bool:
        """Whether there is, or ever was, a key: then callers need one, unless router.yaml says otherwise."""
        return self.keyring.configured

    async def start(self) -> None:
        """Read keys and spending. Raises `StoreUnavailable`."""
        await self.refresh()

    async def follow(self) -> None:
        """Write and read again and again, until cancelled; while the store is away, what is known holds."""
        read_at = time.monotonic()
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            try:
                await self.save()
                if time.monotonic() - read_at >= READ_EVERY_S:
                    read_at = time.monotonic()
                    await self.refresh()
            except StoreUnavailable as error:
                logger.warning("keys and their spending are not in step with the store: %s", error.reason)

    async def save(self) -> None:
        """Write what was spent since the last time. Raises `StoreUnavailable`; then the next time writes it."""
        changed = [
            (number, each.spending) for number, each in self._accounts.items() if each.spending.unsaved
        ]
        sums = {(number, day): spending.ours[day] for number, spending in changed for day in spending.unsaved}
        if not sums:
            return
        for _, spending in changed:
            spending.unsaved = set()
        try:
            await asyncio.to_thread(save_spending, self._engine, self._process, sums)
        except BaseException:
            for number, day in sums:
                self._accounts[number].spending.unsaved.add(day)
            raise

    async def aclose(self) -> None:
        """Write what is still to be written."""
        try:
            await self.save()
        except StoreUnavailable as error:
            logger.error("what keys spent last was not written: %s", error.reason)

    async def refresh(self) -> None:
        """Read keys and spending now. Raises `StoreUnavailable`."""
        stored = await asyncio.to_thread(self._read)
        self._stored = stored
        for number, account in self._accounts.items():
            account.spending.stored = stored.get(number, {})

    async def verify(self, secret: str) -> KeyRow | None:
        """The living key of a secret, or None. Raises `StoreUnavailable`."""
        return await self.keyring.verify(secret)

    def admission(self, key: KeyRow) -> Admission:
        """A request of this key, which has not entered yet."""
        return Admission(self.account(key), self._clock)

    def account(self, key: KeyRow) -> Account:
        """A key's account, with the limits that it has now."""
        account = self._accounts.get(key.id)
        if account is None:
            account = self._accounts[key.id] = Account(key)
            account.spending.stored = self._stored.get(key.id, {})
        account.key = key
        return account

    def accounts(self) -> list[Account]:
        """Of keys that were used since the start, oldest first."""
        return list(self._accounts.values())

    def _read(self) -> dict[int, dict[int, Sum]]:
        """Keys, and what other processes and earlier runs spent; all days once a day, else the latest only."""
        self.keyring.refresh()
        today = day_of(self._clock.now())
        since = None if self._read_days != today else today - LATE_DAYS
        try:
            found = spent_by_day(self._engine, since_day=since, except_process=self._process)
        except DBAPIError as error:
            raise StoreUnavailable(reason_of(error)) from None
        if since is not None:
            merged = {key: dict(days) for key, days in self._stored.items()}
            for key, days in found.items():
                merged.setdefault(key, {}).update(days)
            found = merged
        self._read_days = today
        return found
