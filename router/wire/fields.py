"""Reading a body of another protocol: each mistake, and each field that chat has no place for, is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def refused(field: str, why: str) -> BadRequest:
    """The error that names the field."""
    return BadRequest(f"{field} {why}", param=field)


def check_known(given: Mapping[str, Any], known: Collection[str], where: str = "") -> None:
    """Refuse a field that would be lost, unless it is null."""
    for name, value in given.items():
        if name not in known and value is not None:
            raise refused(
                f"{where}{name}", "is not supported here: it has no counterpart in a chat completion"
            )


def mapping(value: object, field: str) -> dict[str, Any]:
    """The value as an object."""
    if not isinstance(value, dict):
        raise refused(field, "must be an object")
    return value


def mappings(value: object, field: str) -> list[dict[str, Any]]:
    """The value as a list of objects."""
    if not isinstance(value, list):
        raise refused(field, "must be a list")
    return [mapping(each, f"{field}[{i}]") for i, each in enumerate(value)]


def string(value: object, field: str) -> str:
    """The value as a string."""
    if not isinstance(value, str):
        raise refused(field, "must be a string")
    return value


def content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A chat message's content: one string where all is text, for not every upstream reads parts."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts
