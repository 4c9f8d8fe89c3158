"""GET /v1/router/decisions: what was decided, newest first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Query

from router.api.describe import OBJECT, STRING, always, fields, many, maybe, replied
from router.api.request import Caller, ServicesOf
from router.errors import BadRequest
from router.store.decision_log import LARGEST_PAGE, Filter, read_page, read_status, read_time

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

api = APIRouter(tags=["decisions"])

Moment = Annotated[str | None, Query(description="Unix seconds or ISO 8601")]


@api.get(
    "/v1/router/decisions",
    openapi_extra=replied(fields(object=always("list"), data=many(OBJECT), next_cursor=maybe(STRING))),
)
async def decisions(
    built: ServicesOf,
    caller: Caller,
    since: Moment = None,
    until: Moment = None,
    model: Annotated[str | None, Query(description="who answered")] = None,
    key: Annotated[str | None, Query(description="the name of the caller's key")] = None,
    status: Annotated[str | None, Query(description="503 or 5xx")] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> dict[str, Any]:
    """
    A page of decisions with their candidates, cost and mean score, without any prompt.

    `next_cursor` is null on the last page. A key sees its own, an admin key everybody's: docs/keys.md.
    """
    wanted = Filter(
        _read("since", since, read_time),
        _read("until", until, read_time),
        model,
        key,
        _read("status", status, read_status),
        None if caller is None or caller.admin else caller.id,
    )
    try:
        page = await asyncio.to_thread(read_page, built.engine, wanted, limit, cursor)
    except ValueError as error:
        raise BadRequest(f"cursor {error}", param="cursor") from None
    return {"object": "list", "data": page.rows, "next_cursor": page.cursor}


def _read(name: str, text: str | None, reader: Callable[[str], T]) -> T | None:
    try:
        return None if text is None else reader(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}", param=name) from None
