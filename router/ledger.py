"""
Decisions between their making and their row: nothing here makes a request wait.

A reply's row is handed to the store's writer when the reply ends, whatever its end. Where the prompt has not
been embedded, because the caller named the model, that is done first, in the background and for a small part of the
time: an embedding costs several times the CPU of the call. Feedback may come before all that is over: it waits for its
decision here, whose embedding then comes first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from router.errors import DecisionPending
from router.store.rows import PromptRow, digest_of, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from router.store.rows import DecisionRow
    from router.store.writer import Writer
    from router.valuation import Loading

logger = logging.getLogger(__name__)

EMBEDDINGS_WAITING = 256  # beyond that, the oldest decisions on named models are kept without their embedding
REST = 29.0  # pause after an embedding, in its own time: a thirtieth of one core at the most
LONGEST_REST_S = 1.0  # the first one may have waited for V0 to load
NO_VERSION = "none"  # the version of a prompt that was never embedded


class Ledger:
    """Hands decisions to the writer, embedded, and lets feedback wait for its own."""

    def __init__(self, writer: Writer, loading: Loading) -> None:
        self._writer = writer
        self._loading = loading
        self._open: dict[str, asyncio.Future[None]] = {}  # by decision id and completion id
        self._waiting: OrderedDict[str, tuple[DecisionRow, str]] = (
            OrderedDict()
        )  # rows and texts by decision id
        self._under_way: set[asyncio.Task[None]] = set()
        self._embedding: asyncio.Task[None] | None = None

    def open(self, decision_id: str) -> None:
        """A decision is made; its reply goes on."""
        self._open[decision_id] = asyncio.get_running_loop().create_future()

    def name(self, decision_id: str, completion_id: str) -> None:
        """The reply of an open decision has this id."""
        self._open[completion_id] = self._open[decision_id]

    def close(self, row: DecisionRow, *, text: str, embed: bool) -> None:
        """The reply has ended. Never waits; with `embed`, the row is written once V0 has read `text`."""
        if not embed or self._loading.off:
            self._write(row)
            return
        self._waiting[row.id] = row, text
        while len(self._waiting) > EMBEDDINGS_WAITING:
            _, (oldest, _) = self._waiting.popitem(last=False)
            self._write(oldest)
        if self._embedding is None or self._embedding.done():
            self._embedding = asyncio.create_task(self._embed_waiting(), name="embed-named")

    async def settled(self, reference: str, param: str, patience_s: float) -> None:
        """Return once the decision of this id, if it is open, is on its way to the store. Raises `DecisionPending`."""
        waiting = self._open.get(reference)
        if waiting is not None:
            self._hurry(reference)
            await asyncio.wait({waiting}, timeout=patience_s)
            if not waiting.done():
                raise DecisionPending(reference, param)

    async def aclose(self) -> None:
        """Embed and write what waits."""
        if self._embedding is not None:
            self._embedding.cancel()
            await asyncio.wait({self._embedding})
        while self._waiting:
            _, (row, text) = self._waiting.popitem(last=False)
            await self._embed_and_write(row, text)
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _hurry(self, reference: str) -> None:
        """Somebody waits for this decision: embed it now, if that is what it waits for."""
        for identity, (row, text) in self._waiting.items():
            if reference in (identity, row.completion_id):
                del self._waiting[identity]
                self._embed_now(row, text)
                return

    def _embed_now(self, row: DecisionRow, text: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._embed_and_write(row, text))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _embed_waiting(self) -> None:
        """One after another, with rests."""
        while self._waiting:
            _, (row, text) = self._waiting.popitem(last=False)
            began = time.perf_counter()
            await asyncio.shield(self._embed_now(row, text))
            await asyncio.sleep(min(LONGEST_REST_S, REST * (time.perf_counter() - began)))

    async def _embed_and_write(self, row: DecisionRow, text: str) -> None:
        try:
            scorer = (await self._loading.ready(patience_s=60)).scorer
            embedding = await scorer.embed(text)
            row = replace(row, prompt=replace(row.prompt, version=scorer.version, embedding=pack(embedding)))
        except Exception as error:
            logger.warning("decision %s kept without its embedding: %s", row.id, type(error).__name__)
        finally:
            self._write(row)

    def _write(self, row: DecisionRow) -> None:
        self._writer.decision(row)
        for reference in (row.id, row.completion_id):
            future = self._open.pop(reference, None) if reference else None
            if future is not None and not future.done():
                future.set_result(None)


def prompt_row(
    text: str,
    tokens: int,
    *,
    stored: bool,
    version: str = NO_VERSION,
    embedding: NDArray[np.float32] | Sequence[float] | None = None,
) -> PromptRow:
    """The prompt as the store keeps it; its text only where the operator asked for that (`stored`)."""
    return PromptRow(
        digest=digest_of(text),
        version=version,
        embedding=None if embedding is None else pack(embedding),
        text=text if stored else None,
        tokens=tokens,
    )
