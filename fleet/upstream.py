"""Calling a model: the reply, and the protocol that every provider implements."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from fleet.breaker import Visit
    from fleet.model import Model

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being served, for the providers that take one along."""

Operation = Literal["chat", "completions", "embeddings"]
"""What can be asked of a model: OpenAI's chat, its older text completions, or vectors."""


@dataclass
class Reply:
    """
    A model's answer whose status line and headers are in and whose body has not been read.

    `headers` have lower-case names. `content` yields OpenAI-shape bytes, JSON or server-sent events, and raises
    UpstreamError where the upstream breaks off. Close every reply, read or not. `visit`, in a reply that came through
    a fleet, takes what its reader finds out about it.
    """

    status: int
    headers: Mapping[str, str]
    content: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    visit: Visit | None = field(default=None, repr=False)

    async def aclose(self) -> None:
        """Stop the upstream if it has not finished. Safe to call twice."""
        close, self.close = self.close, None
        if close is not None:
            await close()


class Upstream(Protocol):
    """One way of reaching models."""

    async def chat(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """
        Ask `model` and return as soon as its headers are in.

        `body` is an OpenAI chat body and is not changed; whatever model it names is replaced. A streamed reply
        carries usage even if the body did not ask for it.

        Raises UpstreamError when no reply arrives or its status is 400 or above.
        """
        ...

    async def complete(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """As `chat`, for a body of OpenAI's older text completions, with a reply in that shape."""
        ...

    async def embed(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """As `chat`, for a body of OpenAI's embeddings."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
