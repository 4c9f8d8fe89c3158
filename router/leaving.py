"""Clients that leave: what is done for one ends as soon as it is gone."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive, Send


@contextmanager
def until_the_client_leaves(receive: Receive, send: Send) -> Iterator[tuple[anyio.CancelScope, Send]]:
    """
    A scope that is cancelled when the client leaves, and a `send` that notices. The request's body has been read: what
    else comes from `receive` is that it has left.
    """
    with anyio.CancelScope() as scope:

        async def sending(message: Message) -> None:
            try:
                await send(message)
            except OSError:  # how some servers say that the client has left
                scope.cancel()
                await anyio.lowlevel.checkpoint()  # ends us here

        watch = asyncio.create_task(_watch(receive, scope))
        try:
            yield scope, sending
        finally:
            watch.cancel()


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
