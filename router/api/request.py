"""What endpoints share: the services, the caller's key, and a body that is read once and never too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from router.errors import BodyTooLarge, InvalidKey
from router.gateway import Gateway
from router.metrics import Metrics
from router.store.keys import Keyring
from router.store.rows import KeyRow
from router.store.writer import Writer


@dataclass(frozen=True)
class Services:
    """What the lifespan built."""

    gateway: Gateway
    writer: Writer
    keyring: Keyring
    metrics: Metrics
    engine: Engine  # the store, to be read in threads


def services(request: Request) -> Services:
    """The services of the app that this request came to."""
    built: Services = request.app.state.services
    return built


async def caller(request: Request) -> KeyRow | None:
    """Whose key came with the request; None where the gateway asks for none. Raises `InvalidKey`."""
    built = services(request)
    if not built.gateway.settings.server.require_key:
        return None
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        secret = request.headers.get("x-api-key", "")  # where Anthropic's SDK puts it
    key = await built.keyring.verify(secret.strip()) if secret else None
    if key is None:
        raise InvalidKey
    return key


async def raw_body(request: Request) -> bytes:
    """The body's bytes. Raises `BodyTooLarge` as soon as it is clear, having read no more than the limit."""
    limit = int(services(request).gateway.settings.server.max_body_mb * 2**20)
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(limit)
        chunks.append(chunk)
    return b"".join(chunks)


ServicesOf = Annotated[Services, Depends(services)]
Caller = Annotated[KeyRow | None, Depends(caller)]
"""A key is asked for before the body is read, so that a stranger cannot make us read it."""
