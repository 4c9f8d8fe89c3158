"""How long a reply may take: to its first byte, between two reads, and in total. One clock for every provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from fleet.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from fleet.breaker import Visit
    from fleet.model import Model, Timeouts
    from fleet.upstream import Reply


class Patience:
    """The deadlines of one call, from now on. Build it inside a running event loop."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._now = asyncio.get_running_loop().time
        began = self._now()
        self._read = timeouts.read
        self._total = began + timeouts.total
        self._next = min(began + timeouts.first_byte, self._total)

    async def reply(self, asking: Awaitable[Reply], model: Model) -> Reply:
        """An upstream's answer. Raises `UpstreamError` (timeout)."""
        try:
            async with asyncio.timeout_at(self._next):
                return await asking
        except TimeoutError:
            raise UpstreamError(model.name, "timeout") from None

    async def chunk(self, content: AsyncIterator[bytes], model: Model) -> bytes:
        """The next bytes of its content. Raises `StopAsyncIteration`, and `UpstreamError` (timeout)."""
        try:
            async with asyncio.timeout_at(self._next):
                chunk = await anext(content)
        except TimeoutError:
            raise UpstreamError(model.name, "timeout") from None
        self._next = min(self._now() + self._read, self._total)
        return chunk


class Watched:
    """A reply's content under its deadlines; its end, or its failure, is told to the breaker."""

    def __init__(self, content: AsyncIterator[bytes], patience: Patience, visit: Visit, model: Model) -> None:
        self._content = aiter(content)
        self._patience = patience
        self._visit = visit
        self._model = model
        self.exhausted = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._patience.chunk(self._content, self._model)
        except StopAsyncIteration:
            self.exhausted = True
            raise
        except UpstreamError as error:
            self._visit.failed(error)
            raise
