"""Callers' keys: shown once when they are made, kept as a hash, with what they may do and what they have spent."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from router.keys.limits import NONE, Limits, read_limits
from router.keys.spending import Sum
from router.store.engine import writing
from router.store.errors import StoreError, StoreUnavailable, reason_of
from router.store.rows import KeyRow
from router.store.tables import keys, spending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine, Row

PREFIX, ADMIN_PREFIX = "sk-v0-", "sk-v0-admin-"
HINT = 4  # the secret's last characters, by which its owner knows it again; 232 of its 256 bits stay unknown


def add_key(engine: Engine, name: str, limits: Limits = NONE, *, admin: bool = False) -> tuple[KeyRow, str]:
    """
    A new key and its secret, which nobody can read again: the store keeps a hash.

    Raises `StoreError` when a living key has this name already.
    """
    secret = _new_secret(admin)
    now = time.time()
    values = {"name": name, "created_at": now, "admin": admin, "limits": limits.to_json()}
    try:
        with writing(engine).begin() as connection:
            row = connection.execute(
                insert(keys).values({**values, **_of_secret(secret), "changed_at": now}).returning(*keys.c)
            ).one()
    except IntegrityError:
        raise StoreError(f"a key named {name!r} exists already; revoke it first") from None
    return _key(row), secret


def list_keys(engine: Engine) -> list[KeyRow]:
    """All keys, revoked ones included, oldest first."""
    with engine.connect() as connection:
        return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.id))]


def find_key(engine: Engine, name: str) -> KeyRow:
    """The living key of this name. Raises `StoreError` when there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(keys).where(*_living(name))).first()
    return _one(row, name)


def revoke_key(engine: Engine, name: str) -> KeyRow:
    """Revoke the living key of this name. Raises `StoreError` when there is none."""
    return _change(engine, name, {"revoked_at": time.time()})


def limit_key(engine: Engine, name: str, limits: Limits) -> KeyRow:
    """Give the living key of this name other limits. Raises `StoreError` when there is none."""
    return _change(engine, name, {"limits": limits.to_json()})


def rotate_key(engine: Engine, name: str) -> tuple[KeyRow, str]:
    """Replace the secret of a living key; limits and spending stay. Raises `StoreError` when there is none."""
    secret = _new_secret(find_key(engine, name).admin)
    return _change(engine, name, _of_secret(secret)), secret


def save_spending(engine: Engine, process: str, sums: Mapping[tuple[int, int], Sum]) -> None:
    """
    Write what this process has spent so far, by key id and day: whole sums, so that it may be written again.

    Raises `StoreUnavailable`.
    """
    upsert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    insertion = upsert(spending)
    rows = [
        {"key_id": key, "day": day, "process": process, **asdict(spent)} for (key, day), spent in sums.items()
    ]
    names = ("requests", "input_tokens", "output_tokens", "cost_usd")
    replacing = insertion.on_conflict_do_update(
        index_elements=["key_id", "day", "process"], set_={name: insertion.excluded[name] for name in names}
    )
    try:
        with writing(engine).begin() as connection:
            connection.execute(replacing, rows)
    except DBAPIError as error:
        raise StoreUnavailable(reason_of(error)) from None


def spent_by_day(
    engine: Engine, *, since_day: int | None = None, except_process: str | None = None
) -> dict[int, dict[int, Sum]]:
    """What every key has spent: key id → day (since 1970, UTC) → sums; without those of one process."""
    columns = (spending.c.requests, spending.c.input_tokens, spending.c.output_tokens, spending.c.cost_usd)
    query = select(
        spending.c.key_id, spending.c.day, *(func.sum(column).label(column.name) for column in columns)
    ).group_by(spending.c.key_id, spending.c.day)
    if since_day is not None:
        query = query.where(spending.c.day >= since_day)
    if except_process is not None:
        query = query.where(spending.c.process != except_process)
    found: dict[int, dict[int, Sum]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query):
            counts = (int(row.requests), int(row.input_tokens), int(row.output_tokens))
            found.setdefault(row.key_id, {})[row.day] = Sum(*counts, float(row.cost_usd))
    return found


class Keyring:
    """
    Answers whose a secret is.

    `refresh`, called every few seconds, keeps all living keys in memory, so that a known key costs no look at the
    store. Whoever is not known is looked up, and the answer remembered for `ttl_s`: so long may a revoked key still
    work. While the store is away, keys that were known go on working for `grace_s`.
    """

    def __init__(
        self, engine: Engine, *, ttl_s: float = 5.0, grace_s: float = 300.0, remembered: int = 4096
    ) -> None:
        self._engine = engine
        self._ttl_s, self._grace_s = ttl_s, grace_s
        self._remembered = remembered
        self._known: dict[str, KeyRow] = {}
        self._known_until = self._known_at_all = -float("inf")
        self._signature: tuple[float, ...] | None = None  # of all keys; another after any change
        self._answers: OrderedDict[str, tuple[float, KeyRow | None]] = OrderedDict()
        self.configured = False  # whether there is, or ever was, a key

    def refresh(self) -> None:
        """Read the living keys from the store, where one has changed; blocks. Raises `StoreUnavailable`."""
        changed = func.coalesce(func.max(keys.c.changed_at), 0), func.coalesce(func.sum(keys.c.changed_at), 0)
        try:
            with self._engine.connect() as connection:
                signature = tuple(connection.execute(select(func.count(), *changed)).one())
                rows = None if signature == self._signature else connection.execute(select(keys)).all()
        except DBAPIError as error:
            raise StoreUnavailable(reason_of(error)) from None
        now = time.monotonic()
        if rows is not None:
            self._known = {row.hash: _key(row) for row in rows if row.revoked_at is None}
            self._answers = OrderedDict()
            self._signature = signature
        self.configured = signature[0] > 0
        self._known_until, self._known_at_all = now + self._ttl_s, now + self._grace_s

    async def verify(self, secret: str) -> KeyRow | None:
        """The living key of this secret, or None, also where it has expired. Raises `StoreUnavailable`."""
        hashed = _hash(secret)
        now = time.monotonic()
        key = self._known.get(hashed) if now < self._known_until else None
        if key is None:
            until, key = self._answers.get(hashed, (0.0, None))
            if until <= now:
                key = await self._ask(hashed, now)
        return None if key is None or key.limits.expired(time.time()) else key

    async def _ask(self, hashed: str, now: float) -> KeyRow | None:
        try:
            key = await asyncio.to_thread(self._look_up, hashed)
        except DBAPIError as error:
            known = self._known.get(hashed)
            if known is not None and now < self._known_at_all:
                return known
            raise StoreUnavailable(reason_of(error)) from None
        self.configured = self.configured or key is not None
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
        # Index and dict compare hashes, of which a caller controls no prefix; this compares in constant time.
        return _key(row) if row is not None and hmac.compare_digest(row.hash, hashed) else None


def _change(engine: Engine, name: str, values: dict[str, Any]) -> KeyRow:
    with writing(engine).begin() as connection:
        row = connection.execute(
            update(keys)
            .where(*_living(name))
            .values({**values, "changed_at": time.time()})
            .returning(*keys.c)
        ).first()
    return _one(row, name)


def _living(name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return keys.c.name == name, keys.c.revoked_at.is_(None)


def _one(row: Row[Any] | None, name: str) -> KeyRow:
    if row is None:
        raise StoreError(f"no living key is named {name!r}")
    return _key(row)


def _new_secret(admin: bool) -> str:
    return (ADMIN_PREFIX if admin else PREFIX) + secrets.token_urlsafe(32)


def _of_secret(secret: str) -> dict[str, str]:
    """What the store keeps of a secret of 256 random bits: nothing slower than sha256 would make it safer."""
    return {"hash": _hash(secret), "hint": secret[-HINT:]}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Row[Any]) -> KeyRow:
    limits = read_limits(row.limits) if row.limits else NONE
    return KeyRow(row.id, row.name, row.created_at, row.revoked_at, row.admin, limits, row.hint)
