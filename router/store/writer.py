"""The only road into the decisions and outcomes: one thread that commits in groups."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from router.store.batch import write_batch
from router.store.errors import RowRefused, StoreError, StoreUnavailable, UnknownDecision, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from router.store.rows import DecisionRow, FeedbackRow, OutcomeRow

logger = logging.getLogger(__name__)

RETRY_AFTER_S = (0.05, 0.2, 0.8, 2.0)  # a decision is tried once more after each, then dropped
LOG_EVERY_S = 10.0
PASSING = (OperationalError, InterfaceError, InternalError, PoolTimeout)  # the database's fault, not a row's


@dataclass(frozen=True)
class WriterHealth:
    """How the writer is: for /readyz."""

    running: bool
    queued: int
    dropped: int  # decisions lost since the start
    last_error: str | None  # class and code of the last error, None once a write has succeeded again


@dataclass(frozen=True)
class _Decision:
    row: DecisionRow
    attempts: int = 0


@dataclass(frozen=True)
class _Feedback:
    row: FeedbackRow
    outcome: Future[OutcomeRow]


@dataclass(frozen=True)
class _Stop:
    pass


class Writer:
    """
    Writes decisions and feedback in the order in which they came, up to `batch` rows a transaction.

    A decision costs its request nothing: it waits in a bounded queue, up to `linger_s` seconds for company,
    and is dropped and counted when the queue is full or the database stays away. Feedback does not wait for
    company; it is acknowledged only once it is on the disk.
    """

    def __init__(
        self, engine: Engine, *, capacity: int = 10_000, batch: int = 512, linger_s: float = 0.05
    ) -> None:
        self._engine = engine
        self._queue: queue.Queue[_Decision | _Feedback | _Stop] = queue.Queue(capacity)
        self._batch = batch
        self._linger_s = linger_s
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._lock = threading.Lock()  # nothing enters the queue behind the stop sign
        self._closing = threading.Event()
        self._hurry = threading.Event()  # somebody waits for what is queued
        self._dropped = 0
        self._last_error: str | None = None
        self._logged_at = -LOG_EVERY_S
        self._abandoned: str | None = None  # why nothing is written any more, once closing has met an error

    def start(self) -> None:
        """Start the thread; what was queued before is written now."""
        self._thread.start()

    async def aclose(self) -> None:
        """Write what is queued, then end. Where the database fails now, the rest is dropped, not retried."""
        with self._lock:
            first = not self._closing.is_set()
            self._closing.set()
        if not self._thread.is_alive():
            return
        if first:
            await asyncio.to_thread(self._queue.put, _Stop())
            self._hurry.set()
        await asyncio.to_thread(self._thread.join)

    def decision(self, row: DecisionRow) -> None:
        """Record a decision soon. Returns at once, never raises; a full queue drops and counts it."""
        refusal = self._enter(_Decision(row))
        if refusal:
            self._drop(1, refusal)

    async def feedback(self, row: FeedbackRow) -> OutcomeRow:
        """
        Record a score and return its outcome once it is on the disk.

        The same source may score a decision again: the latest score counts. A caller that is cancelled may
        find its score recorded. Raises `UnknownDecision`, `StoreUnavailable` (worth another try) or
        `RowRefused`.
        """
        outcome: Future[OutcomeRow] = Future()
        refusal = self._enter(_Feedback(row, outcome))
        if refusal:
            raise StoreUnavailable(refusal)
        return await asyncio.wrap_future(outcome)

    def health(self) -> WriterHealth:
        """The queue's depth, the decisions lost and the last error."""
        return WriterHealth(self._thread.is_alive(), self._queue.qsize(), self._dropped, self._last_error)

    def _enter(self, item: _Decision | _Feedback) -> str | None:
        """Queue an item; the answer says why it could not be, None if it could."""
        with self._lock:
            if self._closing.is_set():
                return "the writer is closed"
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                return "the queue is full"
        if isinstance(item, _Feedback):
            self._hurry.set()
        return None

    def _run(self) -> None:
        waiting: list[_Decision] = []  # their write failed, and they come before anything newer
        while True:
            batch: list[_Decision | _Feedback] = [*waiting]
            ended = self._gather(batch)
            waiting = self._write(batch)
            if ended:
                break
            if waiting:
                self._closing.wait(RETRY_AFTER_S[waiting[0].attempts - 1])

    def _gather(self, batch: list[_Decision | _Feedback]) -> bool:
        """Fill a batch from the queue; True when the queue has ended."""
        if not batch:
            first = self._queue.get()
            if isinstance(first, _Stop):
                return True
            batch.append(first)
            # asleep meanwhile: to be woken by every decision would cost the event loop as much as the decision
            self._hurry.wait(self._linger_s)
        self._hurry.clear()
        while len(batch) < self._batch:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return False
            if isinstance(item, _Stop):
                return True
            batch.append(item)
        if not self._queue.empty():
            self._hurry.set()  # what is left has waited already, and feedback may be in it
        return False

    def _write(self, batch: Sequence[_Decision | _Feedback]) -> list[_Decision]:
        """Write a batch and tell who waits for it; the decisions to try again are returned."""
        if not batch:
            return []
        if self._abandoned:
            return self._postpone(batch, self._abandoned)
        decisions = [item.row for item in batch if isinstance(item, _Decision)]
        feedbacks = [item for item in batch if isinstance(item, _Feedback)]
        try:
            outcomes = write_batch(self._engine, decisions, [item.row for item in feedbacks])
        except Exception as error:
            self._last_error = reason = reason_of(error)
            if isinstance(error, PASSING):
                return self._postpone(batch, reason)
            return self._refuse(batch, reason)
        self._last_error = None
        for item, outcome in zip(feedbacks, outcomes, strict=True):
            _settle(item.outcome, outcome or UnknownDecision(item.row.reference))
        return []

    def _postpone(self, batch: Sequence[_Decision | _Feedback], reason: str) -> list[_Decision]:
        """The database is away: feedback learns it now, decisions get another chance unless we are closing."""
        again: list[_Decision] = []
        for item in batch:
            if isinstance(item, _Feedback):
                _settle(item.outcome, StoreUnavailable(reason))
            elif item.attempts < len(RETRY_AFTER_S):
                again.append(replace(item, attempts=item.attempts + 1))
        if self._closing.is_set():
            self._abandoned = reason
            again = []
        lost = sum(isinstance(item, _Decision) for item in batch) - len(again)
        self._drop(lost, reason)
        return again

    def _refuse(self, batch: Sequence[_Decision | _Feedback], reason: str) -> list[_Decision]:
        """The database is well and a row is not: halve the batch until that row stands alone."""
        if len(batch) > 1:
            half = len(batch) // 2
            again = self._write(batch[:half])
            rest = batch[half:]
            return again + (self._postpone(rest, self._last_error or reason) if again else self._write(rest))
        for item in batch:
            if isinstance(item, _Feedback):
                _settle(item.outcome, RowRefused(reason))
            else:
                self._drop(1, reason)
        return []

    def _drop(self, count: int, reason: str) -> None:
        if not count:
            return
        with self._lock:
            self._dropped += count
            now = time.monotonic()
            silent = now - self._logged_at < LOG_EVERY_S
            self._logged_at = self._logged_at if silent else now
        if not silent:
            logger.warning("decisions dropped: %d so far; the last because of: %s", self._dropped, reason)


def _settle(future: Future[OutcomeRow], result: OutcomeRow | StoreError) -> None:
    if not future.set_running_or_notify_cancel():
        return  # nobody waits any more
    if isinstance(result, StoreError):
        future.set_exception(result)
    else:
        future.set_result(result)
