"""
What a trainer's policies can do: their support buffers, and V0's values of many prompts at once.

All of it runs in V0's own threads in pieces, between the gateway's decisions, and one request after another.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.errors import BadRequest, PolicyNotFound
from router.gate import Gate
from router.schedule.support import CAPACITY, Sampling
from router.store import policies
from router.store.policies import SupportRow, TooManyPolicies
from router.store.rows import digest_of, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Engine

    from router.store.policies import PolicyRow
    from router.valuation import Loading
    from router.value.batcher import Scorer

    Floats = NDArray[np.float32]
    Progress = Callable[[int], Awaitable[None]]  # told how many of a request's prompts are embedded

PIECE = 16  # texts embedded in one pass: what a decision may have to wait for
VALUED = 128  # embeddings valued in one pass: the same; a third slower than all at once
EMBEDDINGS_KEPT = 8192  # 25 MB
CONTEXTS_KEPT = 8
PATIENCE_S = 30.0  # for V0 to load


@dataclass(frozen=True)
class Outcome:
    """What a policy earned on a prompt: a reward in [0, 1], at a training step (None: its latest)."""

    prompt: str
    reward: float
    step: int | None = None


@dataclass(frozen=True)
class Prediction:
    """Success rates (N,) by a version of V0 that read `context_size` rows; `timings` in ms."""

    values: Floats
    version: str
    context_size: int
    revision: str | None  # the buffer's; None for a context of the request's own
    timings: dict[str, float]


async def untold(_done: int) -> None:
    """Progress that nobody asked for."""


class Policies:
    """Named policies in the store, and predictions for them. Use it from one event loop."""

    def __init__(self, engine: Engine, loading: Loading, *, store_prompts: bool, waiting: int = 8) -> None:
        self._engine = engine
        self._loading = loading
        self._store_prompts = store_prompts
        self._gate = Gate(waiting)
        self._embeddings: OrderedDict[str, Floats] = OrderedDict()  # by digest: no prompt is kept
        self._contexts: OrderedDict[tuple[str, Sampling, int | None], tuple[Any, int]] = OrderedDict()

    async def add(self, name: str, outcomes: Sequence[Outcome]) -> PolicyRow:
        """Add outcomes to a policy's buffer; on the disk on return. Raises `TooBusy`, `NotReady`, `BadRequest`."""
        async with self._gate.passing():
            scorer = (await self._loading.ready(PATIENCE_S)).scorer
            embeddings = await self._embed(scorer, [each.prompt for each in outcomes])
            rows = [
                SupportRow(
                    version=scorer.version,
                    embedding=pack(embedding),
                    reward=each.reward,
                    step=each.step,
                    text=each.prompt if self._store_prompts else None,
                )
                for each, embedding in zip(outcomes, embeddings, strict=True)
            ]
            try:
                return await asyncio.to_thread(policies.add_support, self._engine, name, rows, CAPACITY)
            except TooManyPolicies as error:
                raise BadRequest(str(error), param="name") from None

    async def listed(self) -> list[PolicyRow]:
        """Every policy, by name."""
        return await asyncio.to_thread(policies.list_policies, self._engine)

    async def delete(self, name: str) -> None:
        """Forget a policy and its buffer. Raises `PolicyNotFound`."""
        if not await asyncio.to_thread(policies.delete_policy, self._engine, name):
            raise PolicyNotFound(name)

    async def predict(
        self,
        name: str,
        prompts: Sequence[str],
        sampling: Sampling,
        until_step: int | None = None,
        progress: Progress = untold,
    ) -> Prediction:
        """
        Values of prompts for a policy, from a sample of its rows up to a step.

        `progress` is first awaited, with 0, once nothing can be refused any more, then after each piece of prompts.
        Raises `PolicyNotFound`, `TooBusy`, `NotReady`.
        """
        async with self._gate.passing():
            clock = _Clock()
            scorer = (await self._loading.ready(PATIENCE_S)).scorer
            context, size, revision = await self._context(scorer, name, sampling, until_step)
            clock.lap("context")
            await progress(0)
            return await self._valued(scorer, prompts, context, size, revision, clock, progress)

    async def predict_from(
        self, outcomes: Sequence[Outcome], prompts: Sequence[str], progress: Progress = untold
    ) -> Prediction:
        """As `predict`, for whoever earned these outcomes; nothing is stored. Raises `TooBusy`, `NotReady`."""
        async with self._gate.passing():
            clock = _Clock()
            scorer = (await self._loading.ready(PATIENCE_S)).scorer
            await progress(0)
            rows = await self._embed(scorer, [each.prompt for each in outcomes])
            context = await scorer.fit(rows, np.array([each.reward for each in outcomes], np.float32))
            clock.lap("context")
            return await self._valued(scorer, prompts, context, len(outcomes), None, clock, progress)

    async def _valued(
        self,
        scorer: Scorer,
        prompts: Sequence[str],
        context: Any,
        size: int,
        revision: str | None,
        clock: _Clock,
        progress: Progress,
    ) -> Prediction:
        rows = await self._embed(scorer, prompts, progress)
        clock.lap("embed")
        pieces = [await scorer.value_many(rows[i : i + VALUED], context) for i in range(0, len(rows), VALUED)]
        clock.lap("head")
        return Prediction(np.concatenate(pieces), scorer.version, size, revision, clock.laps)

    async def _context(
        self, scorer: Scorer, name: str, sampling: Sampling, until_step: int | None
    ) -> tuple[Any, int, str]:
        """A policy's fitted context, its rows, and the buffer's revision."""
        revision = await asyncio.to_thread(policies.revision_of, self._engine, name)
        key = (revision or "", sampling, until_step)
        if revision is not None and key in self._contexts:
            self._contexts.move_to_end(key)
            return *self._contexts[key], revision
        support = await asyncio.to_thread(policies.read_support, self._engine, name, scorer.version)
        if support is None:
            raise PolicyNotFound(name)
        eligible = np.arange(len(support.steps))
        if until_step is not None:
            eligible = eligible[support.steps <= until_step]
        chosen = eligible[sampling.rows(len(eligible))]
        rows = support.embeddings[chosen].astype(np.float32).reshape(len(chosen), scorer.dim)
        context = await scorer.fit(rows, support.rewards[chosen])
        self._contexts[support.revision, sampling, until_step] = (context, len(chosen))
        while len(self._contexts) > CONTEXTS_KEPT:
            self._contexts.popitem(last=False)
        return context, len(chosen), support.revision

    async def _embed(self, scorer: Scorer, prompts: Sequence[str], progress: Progress = untold) -> Floats:
        """Embeddings (N, dim): each text once, in pieces of similar lengths, remembered also by who breaks off."""
        digests = [digest_of(prompt) for prompt in prompts]
        texts = dict(zip(digests, prompts, strict=True))
        found = {digest: self._embeddings[digest] for digest in texts if digest in self._embeddings}
        missing = sorted(texts.keys() - found.keys(), key=lambda digest: (len(texts[digest]), digest))
        try:
            if found:
                await progress(sum(digest in found for digest in digests))
            for i in range(0, len(missing), PIECE):
                piece = missing[i : i + PIECE]
                rows = await scorer.embed_many([texts[digest] for digest in piece])
                found |= dict(zip(piece, rows, strict=True))
                await progress(sum(digest in found for digest in digests))
        finally:
            self._remember(found)
        return (
            np.stack([found[digest] for digest in digests])
            if prompts
            else np.zeros((0, scorer.dim), np.float32)
        )

    def _remember(self, found: dict[str, Floats]) -> None:
        for digest, row in found.items():
            self._embeddings[digest] = row
            self._embeddings.move_to_end(digest)
        while len(self._embeddings) > EMBEDDINGS_KEPT:
            self._embeddings.popitem(last=False)


class _Clock:
    """Laps in ms."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = (now - self._since) * 1e3
        self._since = now
