"""Callers' keys: shown once when they are made, kept as a hash."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from router.store.engine import writing
from router.store.errors import StoreError, StoreUnavailable, reason_of
from router.store.rows import KeyRow
from router.store.tables import keys

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row

PREFIX = "sk-v0-"


def add_key(engine: Engine, name: str) -> tuple[KeyRow, str]:
    """
    A new key and its secret, which nobody can read again: the store keeps a hash.

    Raises `StoreError` when a living key has this name already.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    now = time.time()
    try:
        with writing(engine).begin() as connection:
            number = connection.scalars(
                insert(keys).values(name=name, hash=_hash(secret), created_at=now).returning(keys.c.id)
            ).one()
    except IntegrityError:
        raise StoreError(f"a key named {name!r} exists already; revoke it first") from None
    return KeyRow(id=number, name=name, created_at=now), secret


def list_keys(engine: Engine) -> list[KeyRow]:
    """All keys, revoked ones included, oldest first."""
    with engine.connect() as connection:
        return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.id))]


def revoke_key(engine: Engine, name: str) -> KeyRow:
    """Revoke the living key of this name. Raises `StoreError` when there is none."""
    with writing(engine).begin() as connection:
        row = connection.execute(
            update(keys)
            .where(keys.c.name == name, keys.c.revoked_at.is_(None))
            .values(revoked_at=time.time())
            .returning(*keys.c)
        ).first()
    if row is None:
        raise StoreError(f"no living key is named {name!r}")
    return _key(row)


class Keyring:
    """Answers whose a secret is, and remembers the answers for `ttl_s`: so long may a revoked key still work."""

    def __init__(self, engine: Engine, *, ttl_s: float = 5.0, remembered: int = 4096) -> None:
        self._engine = engine
        self._ttl_s = ttl_s
        self._remembered = remembered
        self._answers: OrderedDict[str, tuple[float, KeyRow | None]] = OrderedDict()

    async def verify(self, secret: str) -> KeyRow | None:
        """The living key of this secret, or None. Raises `StoreUnavailable`."""
        hashed = _hash(secret)
        now = time.monotonic()
        until, key = self._answers.get(hashed, (0.0, None))
        if until > now:
            return key
        try:
            key = await asyncio.to_thread(self._look_up, hashed)
        except DBAPIError as error:
            raise StoreUnavailable(reason_of(error)) from None
        self._answers[hashed] = (now + self._ttl_s, key)
        self._answers.move_to_end(hashed)
        while len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
        return key

    def _look_up(self, hashed: str) -> KeyRow | None:
        with self._engine.connect() as connection:
            row = connection.execute(
                select(keys).where(keys.c.hash == hashed, keys.c.revoked_at.is_(None))
            ).first()
        # The index has compared hashes, of which a caller controls no prefix; this compares in constant time.
        return _key(row) if row is not None and hmac.compare_digest(row.hash, hashed) else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Row[Any]) -> KeyRow:
    return KeyRow(row.id, row.name, row.created_at, row.revoked_at)
