"""Outcomes become each model's capability context: an immutable snapshot, swapped by reference."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from router.store.errors import reason_of
from router.store.queries import last_revision, newest_outcomes, outcomes_since, stale_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Engine

    from router.store.rows import OutcomeRow
    from router.value.amounts import Amounts

logger = logging.getLogger(__name__)

BETA_STEPS = 20  # weighted contexts exist for β = 0, 0.05, … 1
BETAS_KEPT = 8  # weighted snapshots in memory; each holds a context for every model
PAGE = 1000
OUTGROWN = 0.1  # new outcomes, as a share of the rows, from which on the fleet is read together again


class Values(Protocol):
    """What contexts need of V0; `router.value.batcher.Scorer` is one."""

    version: str
    dim: int

    async def fit(
        self, embeddings: NDArray[np.floating], labels: NDArray[np.floating], beside: Any = None
    ) -> Any:
        """
        A context of rows (N, dim) with labels (N,) in [0, 1]; N may be 0. Opaque here. `beside` is a context of the
        fleet that it joins.
        """
        ...

    async def fit_fleet(
        self, histories: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]
    ) -> Sequence[Any]:
        """The contexts of a fleet, read together: what a prompt is to all is told apart from what it is to one."""
        ...

    async def fit_amounts(
        self, histories: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]
    ) -> Sequence[Amounts | None]:
        """What a fleet's rows (N, dim) say of amounts (N,), NaN where unknown; None for a model with too few."""
        ...


@dataclass(frozen=True)
class History:
    """One model's newest outcomes, oldest first. Costs in USD and output tokens are NaN where unknown."""

    ids: NDArray[np.int64]  # (N,), ascending
    embeddings: NDArray[np.float16]  # (N, dim)
    scores: NDArray[np.float32]  # (N,)
    costs: NDArray[np.float64]  # (N,)
    output_tokens: NDArray[np.float64]  # (N,)
    newest_at: float | None = None  # Unix seconds of the newest outcome ever merged

    @classmethod
    def empty(cls, dim: int) -> History:
        """A history without rows."""
        none = np.zeros(0)
        return cls(none.astype(np.int64), np.zeros((0, dim), np.float16), none.astype(np.float32), none, none)

    def __len__(self) -> int:
        return len(self.ids)

    def merged(self, rows: Sequence[OutcomeRow], size: int) -> History:
        """With these rows, the last of an id replacing those before it, cut to the newest `size` ids."""
        new = {row.id: row for row in rows}
        if not new:
            return self
        kept = ~np.isin(self.ids, list(new))
        ids = np.concatenate([self.ids[kept], np.array(list(new), np.int64)])
        order = np.argsort(ids)[-size:]

        def joined(old: NDArray[Any], values: Iterable[Any]) -> NDArray[Any]:
            return np.concatenate([old[kept], np.asarray(list(values), old.dtype)])[order]

        return History(
            ids=ids[order],
            embeddings=joined(self.embeddings, (row.embedding for row in new.values())),
            scores=joined(self.scores, (row.score for row in new.values())),
            costs=joined(self.costs, (_or_nan(row.cost_usd) for row in new.values())),
            output_tokens=joined(self.output_tokens, (_or_nan(row.output_tokens) for row in new.values())),
            newest_at=max(self.newest_at or 0.0, *(row.created_at for row in new.values())),
        )


@dataclass(frozen=True)
class Capability:
    """One model's context, ready to be read by V0, and the means over its rows (None without rows)."""

    model: str
    context: Any
    history: History = field(repr=False, compare=False)
    mean_score: float | None
    mean_cost: float | None  # USD a request
    mean_output_tokens: float | None
    lengths: Amounts | None = field(
        default=None, repr=False, compare=False
    )  # output tokens, foretold by prompt

    @property
    def rows(self) -> int:
        """How many outcomes the context holds."""
        return len(self.history)


@dataclass(frozen=True)
class Snapshot:
    """
    The capabilities of the whole fleet at one moment; `version` grows with every change.

    `cost_scale` is the largest of the models' mean observed costs in USD, 0.0 while none was observed: the
    unit in which a context's costs count, c̃ = min(1, c / cost_scale). `beta` is None where the contexts'
    labels are observed success, else they are cost-weighted with that β. `reading` counts how often the whole fleet
    was read together; models that changed since were read beside that reading.
    """

    version: int
    capabilities: Mapping[str, Capability]
    cost_scale: float
    beta: float | None = None
    reading: int = 0


def normalised_costs(costs: NDArray[np.float64], cost_scale: float) -> NDArray[np.float64]:
    """c̃ = min(1, c / cost_scale), in [0, 1]; 0 where nothing has cost anything yet (a scale of 0)."""
    if cost_scale <= 0:
        return np.zeros_like(costs)
    return np.clip(costs / cost_scale, 0.0, 1.0)


def cost_weighted_labels(
    scores: NDArray[np.float32], costs: NDArray[np.float64], beta: float, cost_scale: float
) -> NDArray[np.float32]:
    """
    r_β = β·r + (1-β)·(1-c̃) for one model's rows (N,).

    A row of unknown cost (NaN) counts with the mean of the model's known costs; a model of which no cost is
    known counts with half the scale, neither cheap nor dear.
    """
    known = costs[~np.isnan(costs)]
    assumed = float(known.mean()) if len(known) else cost_scale / 2
    spared = 1.0 - normalised_costs(np.where(np.isnan(costs), assumed, costs), cost_scale)
    return (beta * scores + (1.0 - beta) * spared).astype(np.float32)


class Contexts:
    """
    Keeps the newest `context_size` outcomes of every model in memory and a `current` snapshot made of them.

    A task asks the store for changes every `poll_every_s` seconds and after a `nudge`, and so sees what other
    processes wrote as well. It reads at most once in `rest_s` seconds, so changes that come together are one
    rebuild, and only models that changed are fitted, beside what the fleet said when it was read together; that is done
    anew when the models are others or a tenth of the rows are new. Outcomes embedded by another version of V0 are left
    out and counted in `stale_rows`. Use it from one event loop.
    """

    def __init__(
        self,
        engine: Engine,
        values: Values,
        models: Iterable[str],
        *,
        context_size: int = 1024,
        poll_every_s: float = 0.5,
        rest_s: float = 0.25,
    ) -> None:
        self._engine = engine
        self._values = values
        self._models = tuple(dict.fromkeys(models))
        self._context_size = context_size
        self._poll_every_s = poll_every_s
        self._rest_s = rest_s
        self._revision: int | None = None  # of the store, up to which the histories are complete
        self._histories: dict[str, History] = {}
        self._unfitted: set[str] = set()
        self._read_together: tuple[str, ...] = ()
        self._apart: str | None = None  # why the fleet could not be read together the last time
        self._unread = 0  # outcomes that came since the fleet was read together
        self._empty: Any = None
        self._refreshing = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None
        self._weighted: OrderedDict[int, asyncio.Task[Snapshot]] = OrderedDict()
        self._weighing: set[asyncio.Task[Snapshot]] = set()
        self.current = Snapshot(0, MappingProxyType({}), 0.0)
        self.stale_rows = 0
        self.refreshed_at: float | None = None  # Unix seconds of the last refresh that succeeded
        self.last_error: str | None = None  # class and code; None once a refresh has succeeded again

    async def start(self) -> None:
        """Read the store, fit every model, and keep both up to date from now on. Raises when either fails."""
        self._empty = await self._values.fit(
            np.zeros((0, self._values.dim), np.float32), np.zeros(0, np.float32)
        )
        self._swap({})
        await self.refresh()
        self._polling = asyncio.create_task(self._poll(), name="contexts")

    async def aclose(self) -> None:
        """Stop polling; the current snapshot stays readable."""
        tasks = [task for task in (self._polling, *self._weighing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._weighted.clear()

    def nudge(self) -> None:
        """Something was written: look soon."""
        self._nudged.set()

    def follow(self, models: Iterable[str], context_size: int | None = None) -> None:
        """
        The fleet is now these models. New ones are there at once, with an empty context until their outcomes
        have been read; those left out leave the snapshot, and find their outcomes again should they return. Another
        size holds as soon as the outcomes have been read again. Call it after `start`.
        """
        followed = tuple(dict.fromkeys(models))
        if context_size not in (None, self._context_size):
            assert context_size is not None
            self._context_size, self._histories, self.stale_rows = context_size, {}, 0
            self.nudge()
        if followed == self._models:
            return
        self._models = followed
        self._histories = {name: kept for name, kept in self._histories.items() if name in self._models}
        self._unfitted.intersection_update(self._models)
        self._swap({})
        self.nudge()

    async def refresh(self) -> None:
        """Fold in what the store has gained, now. Raises what the store or V0 raised; the rest is in place."""
        async with self._refreshing:
            reading = await asyncio.to_thread(self._read, self._models, dict(self._histories), self._revision)
            changed = {name: rows for name, rows in reading.changed.items() if name in self._models}
            self._histories |= changed
            self._unfitted |= changed.keys()
            self._revision = reading.revision
            self.stale_rows += reading.stale
            self._unread += reading.count
            fitted, failure = await self._fit_changed()
            self._unfitted -= fitted.keys()
            if fitted:
                self._swap(fitted)
            if failure is not None:
                raise failure
            self.refreshed_at = time.time()

    async def weighted(self, beta: float) -> Snapshot:
        """
        The current snapshot with contexts of cost-weighted labels r_β, β rounded to 0.05.

        Fitted when first asked for, then kept: for each of the few β used last, its latest version.
        """
        step = round(beta * BETA_STEPS)
        task = self._weighted.pop(step, None)
        before = task.result() if task is not None and _succeeded(task) else None
        version = str(self.current.version)
        if task is None or task.get_name() != version or (task.done() and before is None):
            task = asyncio.create_task(self._weigh(self.current, step / BETA_STEPS, before), name=version)
            self._weighing.add(task)
            task.add_done_callback(self._weighing.discard)
        self._weighted[step] = task
        while len(self._weighted) > BETAS_KEPT:
            self._weighted.popitem(last=False)
        return await asyncio.shield(task)

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_every_s):
                    await self._nudged.wait()
            self._nudged.clear()
            try:
                await self.refresh()
                self.last_error = None
            except Exception as error:
                reason = reason_of(error)
                if reason != self.last_error:
                    logger.warning("contexts could not be refreshed: %s", reason)
                self.last_error = reason
            await asyncio.sleep(self._rest_s)

    def _read(self, models: Sequence[str], known: dict[str, History], revision: int | None) -> _Reading:
        """What changed since a revision, and everything for models not yet known. Runs in a thread."""
        if revision is None:
            revision = last_revision(self._engine)
        changed: dict[str, History] = {}
        count = 0
        new = [name for name in models if name not in known]
        stale = stale_outcomes(self._engine, new, self._values.version) if new else 0
        for name in new:
            rows = newest_outcomes(self._engine, name, self._values.version, self._context_size)
            changed[name] = History.empty(self._values.dim).merged(rows, self._context_size)
            count += len(rows)
        while rows := outcomes_since(self._engine, revision, PAGE):
            revision = rows[-1].revision
            fresh: dict[str, list[OutcomeRow]] = {}
            for row in rows:
                if row.model not in models:
                    continue
                if row.version == self._values.version and len(row.embedding) == self._values.dim:
                    fresh.setdefault(row.model, []).append(row)
                else:
                    stale += 1
            count += sum(map(len, fresh.values()))
            for name, of_model in fresh.items():
                changed[name] = changed.get(name, known.get(name, History.empty(self._values.dim))).merged(
                    of_model, self._context_size
                )
        return _Reading(revision, changed, stale, count)

    async def _fit_changed(self) -> tuple[dict[str, Capability], Exception | None]:
        """What must be fitted now, and what went wrong: all together, or else model by model."""
        histories = {name: self._histories[name] for name in self._models if name in self._histories}
        changed = sorted(self._unfitted & histories.keys())
        if not changed:
            return {}, None
        rows = sum(map(len, histories.values()))
        if tuple(histories) != self._read_together or self._unread > OUTGROWN * rows:
            try:
                contexts = await self._together([(each, each.scores) for each in histories.values()])
            except Exception as error:  # one model must not keep the others from learning
                if reason_of(error) != self._apart:
                    logger.warning("models are read one by one, not as a fleet: %s", reason_of(error))
                self._apart = reason_of(error)
            else:
                self._apart = None
                self._read_together, self._unread = tuple(histories), 0
                lengths = await self._lengths(list(histories.values()))
                read = zip(histories, histories.values(), contexts, lengths, strict=True)
                return {name: _capability(name, *each) for name, *each in read}, None
        fitted: dict[str, Capability] = {}
        failure: Exception | None = None
        beside = self._fleet_of(self.current)
        for name in changed:
            history = histories[name]
            try:
                context = await self._context(history, history.scores, beside)
                known = self.current.capabilities.get(name)  # lengths are read with the fleet alone
                fitted[name] = _capability(name, history, context, known.lengths if known else None)
            except Exception as error:
                failure = error
        return fitted, failure

    async def _together(self, histories: Sequence[tuple[History, NDArray[np.float32]]]) -> Sequence[Any]:
        return await self._values.fit_fleet(
            [(history.embeddings.astype(np.float32), labels) for history, labels in histories]
        )

    async def _lengths(self, histories: Sequence[History]) -> Sequence[Amounts | None]:
        """Output tokens, read; where that fails the mean of each model is as good as before."""
        pairs = [(history.embeddings.astype(np.float32), history.output_tokens) for history in histories]
        try:
            return await self._values.fit_amounts(pairs)
        except Exception as error:
            logger.warning("the lengths of answers could not be read: %s", reason_of(error))
            return [None] * len(histories)

    async def _context(self, history: History, labels: NDArray[np.float32], beside: Any) -> Any:
        if not len(history) and beside is None:
            return self._empty
        return await self._values.fit(history.embeddings.astype(np.float32), labels, beside)

    def _fleet_of(self, snapshot: Snapshot) -> Any:
        """A context that was read with the fleet, or None."""
        read = (snapshot.capabilities.get(name) for name in self._read_together)
        return next((each.context for each in read if each is not None and each.rows), None)

    def _swap(self, fitted: Mapping[str, Capability]) -> None:
        none = History.empty(self._values.dim)
        capabilities = {
            name: fitted.get(name)
            or self.current.capabilities.get(name)
            or Capability(name, self._empty, none, None, None, None)
            for name in self._models
        }
        scale = max((each.mean_cost or 0.0 for each in capabilities.values()), default=0.0)
        reading = self.current.reading + (len(fitted) > 0 and self._unread == 0)
        self.current = Snapshot(
            self.current.version + 1, MappingProxyType(capabilities), scale, reading=reading
        )

    async def _weigh(self, snapshot: Snapshot, beta: float, before: Snapshot | None) -> Snapshot:
        def labels(history: History) -> NDArray[np.float32]:
            return cost_weighted_labels(history.scores, history.costs, beta, snapshot.cost_scale)

        old: Mapping[str, Capability] = {}
        if before and (before.cost_scale, before.reading) == (snapshot.cost_scale, snapshot.reading):
            old = before.capabilities
        capabilities: dict[str, Capability] = {}
        if not old:
            histories = [each.history for each in snapshot.capabilities.values()]
            contexts = await self._together([(history, labels(history)) for history in histories])
            for (name, capability), context in zip(snapshot.capabilities.items(), contexts, strict=True):
                capabilities[name] = replace(capability, context=context)
            return replace(snapshot, capabilities=MappingProxyType(capabilities), beta=beta)
        beside = next((each.context for each in old.values() if each.rows), None)
        for name, capability in snapshot.capabilities.items():
            history = capability.history
            if name in old and old[name].history is history:
                capabilities[name] = old[name]
                continue
            context = await self._context(history, labels(history), beside)
            capabilities[name] = replace(capability, context=context)
        return replace(snapshot, capabilities=MappingProxyType(capabilities), beta=beta)


def _capability(name: str, history: History, context: Any, lengths: Amounts | None) -> Capability:
    return Capability(
        model=name,
        context=context,
        history=history,
        mean_score=_mean(history.scores),
        mean_cost=_mean(history.costs),
        mean_output_tokens=_mean(history.output_tokens),
        lengths=lengths,
    )


@dataclass(frozen=True)
class _Reading:
    revision: int
    changed: dict[str, History]
    stale: int
    count: int  # outcomes folded in


def _succeeded(task: asyncio.Task[Snapshot]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _mean(values: NDArray[Any]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
