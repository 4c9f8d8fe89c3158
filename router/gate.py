"""Back-pressure: one piece of heavy work at a time, a few waiting, the rest told when to come back."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from router.errors import TooBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONGEST_RETRY_S = 60


class Gate:
    """`async with gate.passing():` lets one in; `waiting` may stand before it. Use it from one event loop."""

    def __init__(self, waiting: int = 8) -> None:
        self._most = waiting + 1
        self._here = 0
        self._lock = asyncio.Lock()
        self._took_s = 1.0  # the last piece of work

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for one's turn. Raises `TooBusy` where too many wait already."""
        if self._here >= self._most:
            raise TooBusy(min(LONGEST_RETRY_S, math.ceil(self._here * self._took_s)))
        self._here += 1
        try:
            async with self._lock:
                started = time.perf_counter()
                yield
                self._took_s = time.perf_counter() - started
        finally:
            self._here -= 1
