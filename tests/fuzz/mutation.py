"""A valid request, made wrong: its JSON by one to four changes, its bytes, or a header. Seeded."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

    from tests.fuzz.bodies import Valid

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, 5e-324, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64),
    *(
        "",
        " ",
        "\x00",
        "é\u202e𝕏",
        "\ud800",
        "auto",
        "weak",
        "strong",
        "none",
        "a" * 5000,
        "../../etc/passwd",
    ),
    *("data:image/png;base64,", "NaN", "1e999", "null", "{}", "'; DROP TABLE keys; --", "%s%n", "\r\nx: y"),
    *([], {}, [[]], [None], [{}], {"": None}, {"type": "text"}, {"type": "tool_use"}, [[[]]], [0] * 300),
    *({"role": "user"}, {"type": "function"}, [1, "a", None], {"a": {"b": {"c": {}}}}, ["text"], "user"),
)
NESTED = 400
RAW = (
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b"{",
        b"}",
        b'"',
        b"true",
        b"0",
        b"NaN",
        b"\x00",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
    ),
    *(
        b'{"model": NaN}',
        b'{"model": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"model": "\\ud800"}',
        b'{"model": "\\u0000"}',
    ),
    *(
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b"1" * 5_000,
        b'{"model": "auto", "messages": [1e400]}',
        b"a=b&c=d",
        b"<a/>",
    ),
)
HEADERS: tuple[dict[str, str], ...] = (
    {"x-router-beta": "much"},
    {"x-router-beta": "nan"},
    {"x-router-beta": "inf"},
    {"x-router-beta": "-1"},
    {"x-router-beta": ""},
    {"x-router-beta": "0x1"},
    {"content-type": "text/plain"},
    {"content-type": ""},
    {"content-type": "application/json; charset=utf-16"},
    {"content-encoding": "gzip"},
    {"authorization": "Bearer"},
    {"authorization": "Bearer sk-v0-wrong"},
    {"authorization": "Basic Og=="},
    {"authorization": ""},
    {"x-request-id": "a b"},
    {"x-request-id": "x" * 5000},
    {"x-session-id": "s" * 9000},
    {"session_id": "\x7f"},
    {"x-stainless-retry-count": "many"},
    {"x-stainless-retry-count": "²"},
    {"cache-control": "no-cache, no-store"},
    {"content-length": "-1"},
    {"content-length": "many"},
    {"content-length": "99999999999999999999"},
    {"traceparent": "00-zz"},
    {"anthropic-version": "1"},
)


@dataclass(frozen=True)
class Sent:
    """What goes to the gateway."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    admin: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.headers} {self.body[:2000]!r}"


def mutated(valid: Valid, rng: Random) -> Sent:
    """The request, wrong in a way or two. Some come out valid all the same."""
    headers = dict(rng.choice(HEADERS)) if rng.random() < 0.1 else {}
    draw = rng.random()
    if draw < 0.05:
        body = rng.choice(RAW)
    else:
        found = copy.deepcopy(valid.body)
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 4))):
            if not _change(found, rng):
                break
        body = json.dumps(found).encode()
        if draw < 0.2:
            body = _torn(body, rng)
    return Sent(valid.method, valid.path, body, headers, valid.admin)


def _change(found: dict[str, Any], rng: Random) -> bool:
    """One change; False where the body has become too deep for another."""
    places = list(_places(found))
    if not places:
        found["model"] = copy.deepcopy(rng.choice(ODD))
        return True
    holder, name = rng.choice(places)
    match rng.randrange(8):
        case 0 | 1 | 2:
            holder[name] = copy.deepcopy(rng.choice(ODD))
        case 3:
            del holder[name]
        case 4:
            other, its = rng.choice(places)
            holder[name] = copy.deepcopy(other[its])  # something that is right elsewhere
        case 5:
            holder[name] = rng.choice(([holder[name]], {"a": holder[name]}, str(holder[name])))
        case 6:
            if isinstance(holder, dict):
                holder[rng.choice(("unknown", "type", "id", "", "router", name.upper()))] = holder.pop(name)
            else:
                holder.extend(copy.deepcopy(holder[:3]) * 3)
        case 7:
            deep: Any = holder[name]
            for _ in range(rng.choice((3, 30, NESTED))):
                deep = [deep] if rng.random() < 0.5 else {"a": deep}
            holder[name] = deep
            return False
    return True


def _places(value: Any) -> Any:
    """Every holder and the name or index of a value in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(items):
        yield value, name
        yield from _places(inner)


def _torn(body: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    match rng.randrange(5):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + rng.randbytes(rng.randrange(1, 8)) + body[at:]
        case 2:
            return body[:at] + body[at + rng.randrange(1, 5) :]
        case 3:
            return (
                body[:at]
                + rng.choice((b"NaN", b"\\u0000", b"\\ud800", b"\xed\xa0\x80", b",", b'"'))
                + body[at:]
            )
    return body + rng.choice((body, b"}", b"\x00", b" " * 1000, b"null"))
