"""The asynchronous front of V0: requests that wait at the same moment share one forward pass.

V0 runs in a thread of its own, so that torch never blocks the event loop. Contexts are fitted in a second
thread: a rebuild in the background does not delay a decision.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from router.value.amounts import Amounts
    from router.value.backbone import Precision
    from router.value.library import FromPairs
    from router.value_settings import TabpfnSettings

MOST_TOGETHER = 32  # requests in one pass
REMEMBERED = 2048  # embeddings kept by text; probes come once per model, explain before chat


@dataclass(frozen=True)
class Scored:
    """Values (M,) of one prompt against M contexts, its embedding (dim,), and where the time went, in ms."""

    embedding: NDArray[np.float32]
    values: NDArray[np.float32]
    timings: dict[str, float]


@dataclass(frozen=True)
class _Job:
    text: str
    contexts: tuple[Any, ...]
    future: asyncio.Future[Scored]


class Scorer:
    """Scores prompts against contexts. Build it inside a running event loop."""

    def __init__(self, value_model: FromPairs[Any]) -> None:
        self._value_model = value_model
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="v0-score")
        self._fit_pool = ThreadPoolExecutor(1, thread_name_prefix="v0-fit")
        self._pending: list[_Job] = []
        self._busy = False
        self._remembered: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self.version = value_model.version
        self.dim = value_model.dim
        self.precision = value_model.precision

    @classmethod
    async def load(
        cls,
        weights: Path | None,
        backbone: str | None,
        device: str,
        tabpfn: TabpfnSettings | None = None,
        precision: Precision = "auto",
    ) -> Scorer:
        """
        Load V0, with its own head or TabPFN, in a thread and warm it up; takes seconds, blocks nothing.

        `precision` is the backbone's, as in `Backbone.at`. Raises what loading raises.
        """

        def work() -> FromPairs[Any]:
            import torch

            torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
            value_model: FromPairs[Any]
            if tabpfn is None:
                from router.value.model import V0

                value_model = V0.load(weights, backbone, device).at(precision)
            else:
                from router.value.tabpfn_model import TabpfnV0

                value_model = TabpfnV0.of(tabpfn, weights, backbone, device)
            value_model.embed(["warm up"])
            return value_model

        return cls(await asyncio.to_thread(work))

    async def embed(self, text: str) -> NDArray[np.float32]:
        """V0's embedding (dim,) of a text."""
        return (await self.score(text, ())).embedding

    async def score(self, text: str, contexts: Sequence[Any]) -> Scored:
        """Value a prompt against every context, together with whoever asks at the same time."""
        future: asyncio.Future[Scored] = asyncio.get_running_loop().create_future()
        self._pending.append(_Job(text, tuple(contexts), future))
        self._pump()
        return await future

    async def fit(
        self,
        embeddings: NDArray[np.floating],
        labels: NDArray[np.floating],
        beside: Any = None,
    ) -> Any:
        """Read a context's rows (N, dim) and labels (N,), beside a fleet that was read together."""
        loop = asyncio.get_running_loop()
        fit = self._value_model.fit_context
        return await loop.run_in_executor(self._fit_pool, lambda: fit(embeddings, labels, beside))

    async def fit_fleet(
        self, histories: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]
    ) -> list[Any]:
        """Read the rows and labels of a whole fleet together."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._fit_pool, self._value_model.fit_fleet, histories)

    async def fit_amounts(
        self, histories: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]
    ) -> list[Amounts | None]:
        """Read what a fleet's rows cost, or how long their answers were; None where V0 cannot tell."""
        from router.value.amounts import fit_amounts
        from router.value.model import V0

        if not isinstance(self._value_model, V0):
            return [None] * len(histories)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._fit_pool, fit_amounts, self._value_model, histories)

    async def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings (N, dim) of a few texts in one pass of its own, after the decisions' pass that runs."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._value_model.embed, texts)

    async def value_many(self, embeddings: NDArray[np.floating], context: Any) -> NDArray[np.float32]:
        """Values (N,) of one context's policy, from embeddings (N, dim), in one pass of its own."""
        loop = asyncio.get_running_loop()
        values = await loop.run_in_executor(self._pool, self._value_model.value, embeddings, (context,))
        return values[:, 0]

    async def aclose(self) -> None:
        """Finish what runs, refuse what waits."""
        for job in self._pending:
            job.future.cancel()
        self._pending.clear()
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._fit_pool.shutdown)

    def _pump(self) -> None:
        self._pending = [job for job in self._pending if not job.future.done()]  # who left need not be scored
        if self._busy or not self._pending:
            return
        jobs, self._pending = self._pending[:MOST_TOGETHER], self._pending[MOST_TOGETHER:]
        self._busy = True
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._work, jobs)
        work.add_done_callback(lambda done: self._deliver(jobs, done))

    def _deliver(self, jobs: list[_Job], done: asyncio.Future[list[Scored]]) -> None:
        self._busy = False
        error = done.exception()
        for i, job in enumerate(jobs):
            if job.future.done():
                continue
            if error is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(done.result()[i])
        self._pump()

    def _work(self, jobs: list[_Job]) -> list[Scored]:
        started = time.perf_counter()
        unknown = list(dict.fromkeys(job.text for job in jobs if job.text not in self._remembered))
        encoded_at = adapted_at = started
        if unknown:
            encoded = self._value_model.encode(unknown)
            encoded_at = time.perf_counter()
            for text, row in zip(unknown, self._value_model.adapt(encoded, unknown), strict=True):
                self._remembered[text] = row
            adapted_at = time.perf_counter()
        embeddings = []
        for job in jobs:
            self._remembered.move_to_end(job.text)
            embeddings.append(self._remembered[job.text])
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        values: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(jobs)
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, job in enumerate(jobs):
            groups.setdefault(tuple(map(id, job.contexts)), []).append(i)
        for members in groups.values():
            rows = np.stack([embeddings[i] for i in members])
            scored = self._value_model.value(rows, jobs[members[0]].contexts)
            for i, row in zip(members, scored, strict=True):
                values[i] = row
        finished = time.perf_counter()
        timings = {
            "backbone": (encoded_at - started) * 1e3,
            "adapter": (adapted_at - encoded_at) * 1e3,
            "head": (finished - adapted_at) * 1e3,
        }
        return [Scored(e, v, timings) for e, v in zip(embeddings, values, strict=True)]
