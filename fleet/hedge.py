"""Several ways to one answer: the next is tried when one has failed or, hedging, has been silent for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

AT_ONCE = 2  # a hedge is a second opinion, not a stampede


async def first_of(
    attempts: Sequence[Callable[[], Awaitable[T]]],
    give_up: Callable[[int, Exception], bool],
    discard: Callable[[T], Awaitable[None]],
    hedge_after: float | None = None,
) -> tuple[int, T] | None:
    """
    The first answer with the place of the attempt that gave it; None when all have failed.

    One attempt at a time or, with `hedge_after` (seconds), a second beside one that is silent for so long. The loser
    is cancelled; should both answer at once, the later one's answer is discarded. `give_up` hears of every failure
    and says whether to ask nobody else. Other exceptions than `Exception` go through.
    """
    if hedge_after is not None:
        return await _hedged(attempts, give_up, discard, hedge_after)
    for place, attempt in enumerate(attempts):
        try:
            return place, await attempt()
        except Exception as error:
            if give_up(place, error):
                return None
    return None


async def _hedged(
    attempts: Sequence[Callable[[], Awaitable[T]]],
    give_up: Callable[[int, Exception], bool],
    discard: Callable[[T], Awaitable[None]],
    after: float,
) -> tuple[int, T] | None:
    running: dict[asyncio.Future[T], int] = {}
    waiting = list(range(len(attempts)))
    try:
        while waiting or running:
            if waiting and len(running) < AT_ONCE:
                place = waiting.pop(0)
                running[asyncio.ensure_future(attempts[place]())] = place
            patience = after if waiting and len(running) < AT_ONCE else None
            done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=running.__getitem__):
                place = running[task]
                failure = task.exception()
                if failure is None:
                    del running[task]
                    return place, task.result()
                if not isinstance(failure, Exception):
                    raise failure
                del running[task]
                if give_up(place, failure):
                    waiting.clear()
        return None
    finally:
        await _cancel(running, discard)


async def _cancel(running: dict[asyncio.Future[T], int], discard: Callable[[T], Awaitable[None]]) -> None:
    """End the losers, and wait until their upstreams have been let go."""
    if not running:
        return
    with anyio.CancelScope(shield=True):
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        for task in running:
            if not task.cancelled() and task.exception() is None:
                await discard(task.result())
