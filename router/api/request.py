"""What endpoints share: the services, the caller's key, and a body that is read once and never too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from router.errors import AdminOnly, BodyTooLarge, InvalidKey
from router.gateway import Gateway
from router.keys.account import Admission
from router.keys.book import Book
from router.metrics import Metrics
from router.store.keys import PREFIX
from router.store.rows import KeyRow
from router.store.writer import Writer


@dataclass(frozen=True)
class Services:
    """What the lifespan built."""

    gateway: Gateway
    writer: Writer
    book: Book
    metrics: Metrics
    engine: Engine  # the store, to be read in threads

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers need a key: as router.yaml says or, where it does not, once there is or was one."""
        required = self.gateway.settings.server.require_key
        return self.book.configured if required is None else required

    def admission(self, key: KeyRow | None) -> Admission | None:
        """A request of this key to a model; None without a key. Raises `AdminOnly` for an admin key."""
        if key is None:
            return None
        if key.admin:
            raise AdminOnly("an admin key asks no model: make another with `router keys create`")
        return self.book.admission(key)


async def services(request: Request) -> Services:
    """
    The services of the app that this request came to.

    A coroutine for speed alone: FastAPI runs a plain function in a thread, which costs more than all else we do.
    """
    return built_of(request)


def built_of(request: Request) -> Services:
    """What the lifespan of this request's app built."""
    built: Services = request.app.state.services
    return built


async def caller(request: Request) -> KeyRow | None:
    """
    Whose key came with the request. Raises `InvalidKey` where the gateway asks for one and none that lives came.

    Where it asks for none, a key that comes all the same counts, with its limits; None without one.
    """
    built = built_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        secret = request.headers.get("x-api-key", "")  # where Anthropic's SDK puts it
    secret = secret.strip()
    asked = built.asks_for_keys
    key = await built.book.verify(secret) if secret and (asked or secret.startswith(PREFIX)) else None
    if key is None and asked:
        raise InvalidKey
    return key


async def overseer(request: Request) -> KeyRow | None:
    """An admin key; None where the gateway asks for no keys. Raises `InvalidKey` or `AdminOnly`."""
    key = await caller(request)
    if key is not None and not key.admin:
        raise AdminOnly("this is for an admin key: `router keys create NAME --admin`")
    return key


async def admin(request: Request) -> KeyRow:
    """An admin key, also where the gateway asks for no keys otherwise. Raises `InvalidKey` or `AdminOnly`."""
    key = await overseer(request)
    if key is None:
        raise InvalidKey
    return key


async def raw_body(request: Request) -> bytes:
    """The body's bytes. Raises `BodyTooLarge` as soon as it is clear, having read no more than the limit."""
    limit = int(built_of(request).gateway.settings.server.max_body_mb * 2**20)
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
Overseer = Annotated[KeyRow | None, Depends(overseer)]
Admin = Annotated[KeyRow, Depends(admin)]
