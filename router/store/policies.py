"""
Support buffers: what the policies that a trainer names earned on prompts, the newest rows of each.

Not the fleet's outcomes: no decision was made here. Every function blocks on the database, so call it in a thread,
and raises `StoreUnavailable` where the database cannot be used now.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from router.store.engine import writing
from router.store.errors import StoreError, StoreUnavailable, reason_of
from router.store.rows import FLOAT16
from router.store.tables import policies, support

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine, Select

MOST_POLICIES = 256  # a full buffer takes 0.8 MB


class TooManyPolicies(StoreError):  # noqa: N818
    """A new policy where there are `MOST_POLICIES` already."""


@dataclass(frozen=True)
class SupportRow:
    """One outcome: an embedding as `rows.pack` writes it, made by `version`; a reward in [0, 1]."""

    version: str
    embedding: bytes
    reward: float
    step: int | None = None  # None: the policy's latest
    text: str | None = None  # None unless the operator asked for prompts to be stored


@dataclass(frozen=True)
class PolicyRow:
    """A policy and its buffer; `revision` is another with every change of the buffer."""

    name: str
    revision: str
    created_at: float
    updated_at: float
    size: int
    step: int | None  # the latest; None without rows
    mean_reward: float | None


@dataclass(frozen=True)
class Support:
    """A buffer's rows that one version of V0 can read, from the oldest to the newest by step and arrival."""

    revision: str
    embeddings: NDArray[np.float16] = field(repr=False)  # (N, dim)
    rewards: NDArray[np.float32]  # (N,), in [0, 1]
    steps: NDArray[np.int64]  # (N,)


def add_support(engine: Engine, name: str, rows: Sequence[SupportRow], capacity: int) -> PolicyRow:
    """
    Add outcomes to a policy's buffer, making the policy where it is new; all or nothing, on the disk on return.

    Beyond `capacity` rows go by step, then by arrival, the first in first. Raises `TooManyPolicies`.
    """
    now = time.time()
    with _database(), writing(engine).begin() as connection:
        number = _touched(connection, name, now)
        latest = connection.scalar(select(func.max(support.c.step)).where(support.c.policy_id == number)) or 0
        told = [row.step for row in rows if row.step is not None]
        latest = max([latest, *told])
        connection.execute(
            insert(support),
            [
                {
                    "policy_id": number,
                    "version": row.version,
                    "embedding": row.embedding,
                    "text": row.text,
                    "reward": row.reward,
                    "step": latest if row.step is None else row.step,
                }
                for row in rows
            ],
        )
        kept = (
            select(support.c.id)
            .where(support.c.policy_id == number)
            .order_by(support.c.step.desc(), support.c.id.desc())
            .limit(capacity)
        )
        connection.execute(
            delete(support).where(support.c.policy_id == number, support.c.id.not_in(kept.scalar_subquery()))
        )
        (row,) = connection.execute(_policies().where(policies.c.id == number))
    return PolicyRow(**row._mapping)


def list_policies(engine: Engine) -> list[PolicyRow]:
    """Every policy, by name."""
    with _database(), engine.connect() as connection:
        return [
            PolicyRow(**row._mapping) for row in connection.execute(_policies().order_by(policies.c.name))
        ]


def revision_of(engine: Engine, name: str) -> str | None:
    """The revision of a policy's buffer; None for an unknown policy."""
    with _database(), engine.connect() as connection:
        return connection.scalar(select(policies.c.revision).where(policies.c.name == name))


def read_support(engine: Engine, name: str, version: str) -> Support | None:
    """A policy's rows that `version` of V0 embedded; None for an unknown policy."""
    with _database(), engine.connect() as connection:
        found = connection.execute(
            select(policies.c.id, policies.c.revision).where(policies.c.name == name)
        ).first()
        if found is None:
            return None
        rows = connection.execute(
            select(support.c.embedding, support.c.reward, support.c.step)
            .where(support.c.policy_id == found.id, support.c.version == version)
            .order_by(support.c.step, support.c.id)
        ).all()
    embeddings = np.frombuffer(b"".join(row.embedding for row in rows), dtype=FLOAT16)
    return Support(
        revision=found.revision,
        embeddings=embeddings.reshape(len(rows), -1) if rows else embeddings.reshape(0, 0),
        rewards=np.array([row.reward for row in rows], dtype=np.float32),
        steps=np.array([row.step for row in rows], dtype=np.int64),
    )


def delete_policy(engine: Engine, name: str) -> bool:
    """Forget a policy and its buffer; False where there was none."""
    with _database(), writing(engine).begin() as connection:
        number = connection.scalar(select(policies.c.id).where(policies.c.name == name).with_for_update())
        if number is None:
            return False
        connection.execute(delete(support).where(support.c.policy_id == number))
        connection.execute(delete(policies).where(policies.c.id == number))
    return True


def _touched(connection: Connection, name: str, now: float) -> int:
    """The policy's id under a new revision; its row is locked until the commit."""
    revision = secrets.token_hex(8)
    number = connection.scalar(
        update(policies)
        .where(policies.c.name == name)
        .values(revision=revision, updated_at=now)
        .returning(policies.c.id)
    )
    if number is not None:
        return number
    if connection.scalar(select(func.count()).select_from(policies)) == MOST_POLICIES:
        raise TooManyPolicies(f"there are {MOST_POLICIES} policies already; delete one first")
    new = {"name": name, "revision": revision, "created_at": now, "updated_at": now}
    return connection.scalars(insert(policies).values(new).returning(policies.c.id)).one()


def _policies() -> Select[Any]:
    return (
        select(
            policies.c.name,
            policies.c.revision,
            policies.c.created_at,
            policies.c.updated_at,
            func.count(support.c.id).label("size"),
            func.max(support.c.step).label("step"),
            func.avg(support.c.reward).label("mean_reward"),
        )
        .select_from(policies.outerjoin(support))
        .group_by(policies.c.id)
    )


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(reason_of(error)) from None
