"""
The log of decisions, newest first, page by page. Every function here blocks on the database.

A row is what may be shown of a decision and what off-policy estimates need, with the mean score of its outcomes;
the text of a prompt and its embedding are left out.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.exc import DBAPIError

from router.store.errors import StoreUnavailable, reason_of
from router.store.tables import decisions, keys, outcomes, prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

LARGEST_PAGE = 1000
STATUS = re.compile(r"[1-5](\d\d|xx)")


@dataclass(frozen=True)
class Filter:
    """Which decisions: times in Unix seconds (`since` included, `until` not), a status as 503 or 5xx."""

    since: float | None = None
    until: float | None = None
    model: str | None = None
    key: str | None = None  # its name, whether living or revoked
    status: str | None = None
    key_id: int | None = None  # of this key only


@dataclass(frozen=True)
class Page:
    """Some decisions, newest first, and where those after them begin; None at the end."""

    rows: list[dict[str, Any]]
    cursor: str | None


def read_page(engine: Engine, wanted: Filter, limit: int, cursor: str | None = None) -> Page:
    """
    At most `limit` decisions behind a page's cursor.

    Decisions that are written while somebody pages come before the first page, or into a later one: none is
    given twice. Raises ValueError for a cursor that no page gave, and `StoreUnavailable`.
    """
    query = _query(wanted).limit(limit + 1)
    if cursor is not None:
        created_at, identity = _read_cursor(cursor)
        query = query.where(
            or_(
                decisions.c.created_at < created_at,
                and_(decisions.c.created_at == created_at, decisions.c.id < identity),
            )
        )
    try:
        with engine.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
    except DBAPIError as error:
        raise StoreUnavailable(reason_of(error)) from None
    more, rows = len(rows) > limit, rows[:limit]
    return Page(rows, _cursor(rows[-1]) if more else None)


def read_all(engine: Engine, wanted: Filter) -> Iterator[list[dict[str, Any]]]:
    """Every decision there is now, in lists, newest first; those made meanwhile are left out."""
    wanted = replace(wanted, until=wanted.until or datetime.now(UTC).timestamp())
    cursor = None
    while True:
        page = read_page(engine, wanted, LARGEST_PAGE, cursor)
        yield page.rows
        cursor = page.cursor
        if cursor is None:
            return


def read_time(text: str) -> float:
    """A time in Unix seconds or ISO 8601, UTC unless it says otherwise. Raises ValueError."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_status(text: str) -> str:
    """A status as a filter takes it. Raises ValueError."""
    if not STATUS.fullmatch(text):
        raise ValueError("should be like 503 or 5xx")
    return text


def _query(wanted: Filter) -> Select[Any]:
    scored = (
        select(func.avg(outcomes.c.score)).where(outcomes.c.decision_id == decisions.c.id).scalar_subquery()
    )
    query = (
        select(
            decisions.c.id,
            decisions.c.created_at,
            keys.c.name.label("key"),
            decisions.c.chosen,
            decisions.c.target,
            decisions.c.reason,
            decisions.c.beta,
            decisions.c.propensity,
            decisions.c.candidates,
            decisions.c.status,
            decisions.c.stream,
            decisions.c.input_tokens,
            decisions.c.output_tokens,
            decisions.c.cached_tokens,
            decisions.c.cache_write_tokens,
            decisions.c.reasoning_tokens,
            decisions.c.audio_input_tokens,
            decisions.c.audio_output_tokens,
            decisions.c.usage_estimated,
            decisions.c.cost_usd,
            decisions.c.latency_ms,
            decisions.c.first_byte_ms,
            decisions.c.completion_id,
            prompts.c.digest.label("prompt_digest"),
            scored.label("score"),
        )
        .select_from(decisions.join(prompts).outerjoin(keys))
        .order_by(decisions.c.created_at.desc(), decisions.c.id.desc())
    )
    if wanted.since is not None:
        query = query.where(decisions.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(decisions.c.created_at < wanted.until)
    if wanted.model is not None:
        query = query.where(decisions.c.chosen == wanted.model)
    if wanted.key is not None:
        query = query.where(keys.c.name == wanted.key)
    if wanted.key_id is not None:
        query = query.where(decisions.c.key_id == wanted.key_id)
    if wanted.status is not None and wanted.status.endswith("xx"):
        first = int(wanted.status[0]) * 100
        query = query.where(decisions.c.status.between(first, first + 99))
    elif wanted.status is not None:
        query = query.where(decisions.c.status == int(wanted.status))
    return query


def _cursor(row: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([row["created_at"], row["id"]])).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created_at, identity = orjson.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("is not a cursor that a page gave") from None
    if not isinstance(created_at, float) or not isinstance(identity, str):
        raise ValueError("is not a cursor that a page gave")
    return created_at, identity
