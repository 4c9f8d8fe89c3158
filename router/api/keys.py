"""/v1/router/keys: managing keys, for an admin key. /v1/router/key: a key looks at itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request, Response

from router.api.describe import BOOLEAN, NUMBER, OBJECT, STRING, always, asked, fields, many, maybe, replied
from router.api.request import Admin, Caller, Services, ServicesOf, raw_body
from router.call import parse
from router.errors import BadRequest, InvalidKey, KeyConflict, KeyNotFound
from router.keys.limits import BadLimits, Limits, check_name, read_limits, schema
from router.keys.shown import shown
from router.store.errors import StoreError
from router.store.keys import add_key, find_key, limit_key, list_keys, revoke_key, rotate_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.store.rows import KeyRow

T = TypeVar("T")

api = APIRouter(tags=["keys"])

LIMITS = schema()
CREATION: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "admin": {"type": "boolean"}, "limits": LIMITS},
}
CHANGE: dict[str, Any] = {
    "type": "object",
    "required": ["limits"],
    "additionalProperties": False,
    "properties": {
        "limits": {**LIMITS, "properties": {name: maybe(each) for name, each in LIMITS["properties"].items()}}
    },
}


KEY = fields(
    name=STRING,
    hint=maybe(STRING),
    admin=BOOLEAN,
    created_at=NUMBER,
    revoked_at=maybe(NUMBER),
    expired=BOOLEAN,
    limits=OBJECT,
    spent=OBJECT,
    budgets=many(OBJECT),
)
WITH_SECRET = {"allOf": [KEY, fields(secret=STRING)]}


@api.get("/v1/router/key", openapi_extra=replied(KEY))
async def myself(built: ServicesOf, key: Caller) -> dict[str, Any]:
    """The key that asks: its limits, what it has spent, what its budgets have left."""
    if key is None:
        raise InvalidKey
    return _shown(built, key)


@api.get("/v1/router/keys", openapi_extra=replied(fields(object=always("list"), data=many(KEY))))
async def list_all(built: ServicesOf, _admin: Admin) -> dict[str, Any]:
    """Every key, oldest first, revoked ones included."""
    found = await asyncio.to_thread(list_keys, built.engine)
    return {"object": "list", "data": [_shown(built, key) for key in found]}


@api.post("/v1/router/keys", openapi_extra=asked(CREATION) | replied(WITH_SECRET, "201"), status_code=201)
async def create(request: Request, built: ServicesOf, _admin: Admin) -> dict[str, Any]:
    """Make a key. Its `secret` is in this reply and nowhere else."""
    body = _body(await raw_body(request), CREATION)
    admin = body.get("admin", False)
    if not isinstance(admin, bool):
        raise BadRequest("admin must be true or false", param="admin")
    name = body.get("name")
    if not isinstance(name, str):
        raise BadRequest("name must be a string", param="name")
    try:
        check_name(name)
    except BadLimits as error:
        raise BadRequest(str(error), param="name") from None
    limits = _limits(body.get("limits", {}))
    if admin and limits.to_json().keys() - {"expires_at"}:
        raise BadRequest("an admin key asks no model, so it takes no limit but expires_at", param="limits")
    try:
        key, secret = await asyncio.to_thread(lambda: add_key(built.engine, name, limits, admin=admin))
    except StoreError as error:
        raise KeyConflict(str(error)) from None
    await built.book.refresh()
    return {**_shown(built, key), "secret": secret}


@api.get("/v1/router/keys/{name}", openapi_extra=replied(KEY))
async def get_one(name: str, built: ServicesOf, _admin: Admin) -> dict[str, Any]:
    """One living key."""
    return _shown(built, await _of(lambda: find_key(built.engine, name)))


@api.patch("/v1/router/keys/{name}", openapi_extra=asked(CHANGE) | replied(KEY))
async def change(request: Request, name: str, built: ServicesOf, _admin: Admin) -> dict[str, Any]:
    """Change limits: those named are set, null takes one away, the others stay."""
    given = _body(await raw_body(request), CHANGE).get("limits")
    if not isinstance(given, dict):
        raise BadRequest("limits must be an object", param="limits")

    def set_limits() -> KeyRow:
        before = find_key(built.engine, name).limits.to_json()
        merged = {field: value for field, value in {**before, **given}.items() if value is not None}
        return limit_key(built.engine, name, _limits(merged))

    key = await _of(set_limits)
    await built.book.refresh()
    return _shown(built, key)


@api.post("/v1/router/keys/{name}/rotate", openapi_extra=replied(WITH_SECRET))
async def rotate(name: str, built: ServicesOf, _admin: Admin) -> dict[str, Any]:
    """Another secret for the key; limits and spending stay, the old secret ends."""
    key, secret = await _of(lambda: rotate_key(built.engine, name))
    await built.book.refresh()
    return {**_shown(built, key), "secret": secret}


@api.delete("/v1/router/keys/{name}", status_code=204)
async def revoke(name: str, built: ServicesOf, _admin: Admin) -> Response:
    """Take the key's right away, at once in this process and within seconds in others."""
    await _of(lambda: revoke_key(built.engine, name))
    await built.book.refresh()
    return Response(status_code=204)


async def _of(work: Callable[[], T]) -> T:
    """Work on one key, in a thread. Raises `KeyNotFound` where no living key has the name."""
    try:
        return await asyncio.to_thread(work)
    except StoreError as error:
        raise KeyNotFound(str(error)) from None


def _body(raw: bytes, schema: Mapping[str, Any]) -> dict[str, Any]:
    body = parse(raw)
    unknown = next((name for name in body if name not in schema["properties"]), None)
    if unknown is not None:
        raise BadRequest(f"there is no field {unknown!r} here", param=unknown)
    return body


def _limits(given: object) -> Limits:
    if not isinstance(given, dict):
        raise BadRequest("limits must be an object", param="limits")
    try:
        return read_limits(given)
    except BadLimits as error:
        raise BadRequest(str(error), param=f"limits.{error.field}" if error.field else "limits") from None


def _shown(built: Services, key: KeyRow) -> dict[str, Any]:
    return shown(key, built.book.account(key).spending, time.time())
