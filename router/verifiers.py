"""Verifiers: how a model's reply is graded against a known answer.

A verifier reads the end of a reply, where answers stand, and forgives form: case, punctuation, markdown, thousands
separators, units, a sentence around the answer. It does not forgive substance. Nothing a model may write makes a
verifier raise.

    >>> grade("number", "So that makes 1,234.50 dollars.", "1234.5")
    1.0
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from fractions import Fraction
from types import MappingProxyType
from typing import Any

MOST_TRIES = 2_000  # places in a reply where JSON might begin
MOST_READ = 20_000  # characters of a reply that are read, from its end


class UnknownVerifier(ValueError):  # noqa: N818
    """No verifier has this `name`; `names` lists those there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.names = tuple(VERIFIERS)
        super().__init__(f"unknown verifier {name!r}; known: {', '.join(self.names)}")


def grade(verifier: str, reply: str, answer: str) -> float:
    """
    How right a reply is, in [0, 1].

    - exact: the answer itself, alone, on the last line, or after "answer is" or a colon there
    - number: the last number, to the decimals of the answer; fractions, percent signs and units are fine
    - list: the same entries in the same order, in brackets, bullets or commas
    - date: the last date, in any common form
    - choice: the letter chosen, A to E
    - contains: the answer somewhere, as whole words
    - json: the last JSON value in the reply equals the answer
    - regex: the answer, a regular expression, is found in the reply

    Raises UnknownVerifier.
    """
    if verifier not in VERIFIERS:
        raise UnknownVerifier(verifier)
    return 1.0 if VERIFIERS[verifier](reply[-MOST_READ:], answer) else 0.0


# Text

_LEAD = re.compile(
    r".*\b(?:answer|result|output|solution)\b(?: is\b|:|=)+\s*|.*?:\s+|.*\s=\s+", re.IGNORECASE
)
_FENCE = re.compile(r"^\s*```\w*\s*$")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_BOLD = re.compile(r"(\*\*|__|`)(.+?)\1")


def _plain(text: str) -> str:
    """Without markdown, quotes, outer punctuation, case, and doubled spaces."""
    text = _BOLD.sub(r"\2", _BOXED.sub(r"\1", text))
    return " ".join(text.casefold().split()).strip(" \"'`*_.,;:!()[]“”‘’$")


def _lines(reply: str) -> list[str]:
    return [line.strip() for line in reply.splitlines() if line.strip() and not _FENCE.match(line)]


def _endings(reply: str) -> Iterator[str]:
    """What the reply may mean as its answer: all of it, its last line, the end of that line, its one bold passage."""
    lines = _lines(reply)
    if not lines:
        return
    last = lines[-1]
    yield from (reply, last, _BOXED.sub(r"\1", last))
    lead = _LEAD.match(last)
    if lead:
        yield last[lead.end() :]
    marked = _BOXED.findall(last) or [passage for _, passage in _BOLD.findall(last)]
    if len(marked) == 1:
        yield marked[0]


def _exact(reply: str, answer: str) -> bool:
    wanted = _plain(answer)
    if not wanted:  # the answer is punctuation
        return reply.strip() == answer.strip()
    return any(_plain(ending) == wanted for ending in _endings(reply))


def _contains(reply: str, answer: str) -> bool:
    wanted = re.escape(_plain(answer))
    return (
        bool(wanted) and re.search(rf"(?<!\w){wanted}(?!\w)", " ".join(reply.casefold().split())) is not None
    )


def _regex(reply: str, answer: str) -> bool:
    try:
        return re.search(answer, reply) is not None
    except (re.error, RecursionError, OverflowError):
        return False


# Numbers

_FRAC = re.compile(r"\\d?frac\{(-?\d{1,30})\}\{(\d{1,30})\}")
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>-?)[$€£]?(?P<whole>\d{1,3}(?:,\d{3})++(?!\d)|\d++)?(?P<point>\.\d++)?"
    r"(?P<power>e[+-]?\d{1,3}\b)?(?:(?<=\d)\s?/\s?(?P<below>\d++))?(?!\w*\d)",
    re.IGNORECASE,
)
LONGEST = 400  # digits of a number worth reading


def _numbers(text: str) -> Iterator[Fraction]:
    text = _FRAC.sub(r"\1/\2", text.replace("−", "-").replace("\u202f", "").replace("\\,", ""))
    for found in _NUMBER.finditer(text):
        digits = (found["whole"] or "").replace(",", "") + (found["point"] or "")
        below = found["below"] or "1"
        if not digits or len(digits) > LONGEST or len(below) > LONGEST or not int(below):
            continue
        number = Fraction(f"{digits}{found['power'] or ''}") / int(below)
        yield -number if found["sign"] else number


def _number(reply: str, answer: str) -> bool:
    wanted = list(_numbers(answer))
    given = list(_numbers(reply))
    if not wanted or not given:
        return False
    decimals = re.search(r"\.(\d+)\D*$", answer)
    allowed = Fraction(1, 2 * 10 ** len(decimals[1])) if decimals else abs(wanted[-1]) / 10**9
    return abs(given[-1] - wanted[-1]) <= allowed


# Lists

_BULLET = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+(.*)")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def _entries(text: str) -> list[str]:
    inside = _BRACKETS.findall(text)
    text = re.sub(r",? and ", ", ", " ".join((inside[-1] if inside else text).split()))
    return [entry for entry in map(_plain, text.split(",")) if entry]


def _bulleted(reply: str) -> list[str]:
    """The bullets the reply ends with."""
    entries: list[str] = []
    for line in reversed(_lines(reply)):
        bullet = _BULLET.match(line)
        if bullet is None:
            break
        entries.append(_plain(bullet[1]))
    return entries[::-1]


def _list(reply: str, answer: str) -> bool:
    wanted = _entries(answer)
    return bool(wanted) and (
        _bulleted(reply) == wanted or any(_entries(ending) == wanted for ending in _endings(reply))
    )


# Dates

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_DATES = re.compile(
    r"(?<![\d])(?:(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"
    r"|(?P<one>\d{1,2})[/.](?P<two>\d{1,2})[/.](?P<year2>\d{4})"
    rf"|(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\.?\s+(?:of\s+)?{_MONTH},?\s+(?P<year>\d{{4}})"
    rf"|{_MONTH.replace('month', 'month3')}\s+(?P<day3>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year3>\d{{4}}))(?!\d)",
    re.IGNORECASE,
)


def _day(year: str, month: int, day: str) -> set[date]:
    try:
        return {date(int(year), month, int(day))}
    except ValueError:
        return set()


def _dates(text: str) -> Iterator[set[date]]:
    """Every date, as the set of days it may mean: 03/04/2024 is read both ways."""
    text = text.replace("‑", "-").replace("–", "-")
    for found in re.finditer(_DATES, text.replace("*", "")):
        if found["y"]:
            yield _day(found["y"], int(found["m"]), found["d"])
        elif found["one"]:
            yield _day(found["year2"], int(found["one"]), found["two"]) | _day(
                found["year2"], int(found["two"]), found["one"]
            )
        elif found["day"]:
            yield _day(found["year"], _MONTHS.index(found["month"][:3].lower()) + 1, found["day"])
        else:
            yield _day(found["year3"], _MONTHS.index(found["month3"][:3].lower()) + 1, found["day3"])


def _date(reply: str, answer: str) -> bool:
    wanted, given = list(_dates(answer)), list(_dates(reply))
    return bool(wanted and given) and bool(given[-1] & wanted[-1])


# Choices

_SAID = re.compile(
    r"(?:answer|option|choice|choose|pick|correct)\b[\s*_:]*+(?:is|would be|=)?+[\s*_:(\"'`]*+(?:option\s++)?+"
    r"[*_(\"'`]*+(?:\\boxed\{)?([A-E])\b",
    re.IGNORECASE,
)
_STANDING = re.compile(r"(?<![\w'])([B-E]|A(?!\s+(?!or\b|and\b|is\b)[a-z]))\b(?!')")  # not the article


def _choice(reply: str, answer: str) -> bool:
    wanted = _plain(answer).upper()
    whole = _plain(_BOXED.sub(r"\1", reply)).upper()
    if len(whole) == 1:
        return whole == wanted
    said = [letter for letter in _SAID.findall(reply) if letter.isupper()]
    if said:
        return said[-1] == wanted
    last = _lines(reply)[-1:] or [""]
    leading = re.match(r"[\s*_(]*([A-E])[)\].:*_]", last[0])
    if leading:
        return leading[1] == wanted
    standing = set(_STANDING.findall(reply))
    return standing == {wanted}


# JSON


def _values(reply: str) -> Iterator[Any]:
    """JSON values that start at a brace or bracket and are part of no other; else the whole reply."""
    decoder, at = json.JSONDecoder(), 0
    tries = 0
    while (start := _next_open(reply, at)) is not None and tries < MOST_TRIES:
        tries += 1
        try:
            value, at = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        yield value
    if not tries:
        try:
            yield json.loads("\n".join(_lines(reply)))
        except (ValueError, RecursionError):
            return


def _next_open(text: str, start: int) -> int | None:
    found = re.compile(r"[\[{]").search(text, start)
    return found.start() if found else None


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0 but not true, and keys come in any order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return bool(one == other)


def _json(reply: str, answer: str) -> bool:
    try:
        wanted = json.loads(answer)
        given = list(_values(reply))
        return bool(given) and _same(given[-1], wanted)
    except (ValueError, RecursionError):
        return False


VERIFIERS: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {
        "exact": _exact,
        "number": _number,
        "list": _list,
        "date": _date,
        "choice": _choice,
        "contains": _contains,
        "json": _json,
        "regex": _regex,
    }
)
