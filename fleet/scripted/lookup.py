"""How scripted models read tables, messages and notes."""

from __future__ import annotations

import json
import operator
import re
from fractions import Fraction

from fleet.scripted.mind import Lost, Mind, shown

_HEAD = re.compile(r"^\|? ?(?:item|player|book|guest) ?[|,].*$", re.MULTILINE)
_CELL = re.compile(r"[Ll]ook up the (\w+) for ([\w-]+) in")
_EXTREME = re.compile(r"the (highest|lowest) (\w+)")
_ABOVE = re.compile(r"whose (\w+) is (above|below) (\d+)")
_GROUP = re.compile(r"Add up the (\w+) of all \w+ (?:in|of|on)(?: the| shelf)? (\w+)", re.IGNORECASE)
_WANTED = re.compile(r"(?:What is the|give me the|Extract the) ([a-zA-Z ]+?)(?: in this message| from:|\.)")
_CODE = re.compile(r"[A-Z]{2}-\d+")
_KEYS = re.compile(r"with the keys ([a-z, ]+):|Extract ([a-z, ]+) as JSON")
_NAME = r"[A-Z][a-z]+ [A-Z][a-z]+"
_NOTES = (
    re.compile(
        rf"(?P<name>{_NAME}) from (?P<city>\w+) ordered (?P<quantity>\d+) (?P<item>[\w-]+), order (?P<order>\d+), "
        r"(?P<express>express|standard)"
    ),
    re.compile(
        rf"Order (?P<order>\d+): (?P<quantity>\d+) (?P<item>[\w-]+) for (?P<name>{_NAME}) in (?P<city>\w+)\."
        r".*?Ship it (?P<express>express|standard)"
    ),
)


def tables(text: str, mind: Mind) -> str | None:
    """A cell, the most or least, a count, a sum."""
    head = _HEAD.search(text)
    if head is None:
        return None
    columns = re.findall(r"[\w-]+", head[0])
    lines = [line for line in text[head.end() :].strip().splitlines() if set(line) - set("|- ")]
    rows = [
        dict(zip(columns, cells, strict=False))
        for line in lines
        if len(cells := _cells(line)) >= len(columns)
    ]
    mind.needs("tables")
    held = mind.hold(rows, mind.abilities.rows)
    cell, extreme, above, group = (pattern.search(text) for pattern in (_CELL, _EXTREME, _ABOVE, _GROUP))
    names, groups = columns[:2]
    if cell:
        column, name = cell.groups()
        at = next((n for n, row in enumerate(held) if row[names] == name), None)
        if at is None:
            raise Lost("no such row")
        return held[at if mind.step() else max(0, at - 1)][column]
    if extreme:
        mind.needs("comparing rows")
        ordered = sorted(held, key=lambda row: int(row[extreme[2]]), reverse=extreme[1] == "highest")
        mind.note(f"the {extreme[1]} {extreme[2]} is {ordered[0][extreme[2]]}")
        return ordered[0 if mind.step() and mind.step() else 1][names]
    if above:
        mind.needs("counting rows")
        column, side, limit = above[1], (operator.gt if above[2] == "above" else operator.lt), int(above[3])
        fits = [row[names] for row in held if _seen(mind, side(int(row[column]), limit))]
        mind.note(f"these fit: {', '.join(fits)}")
        return str(len(fits))
    if group:
        mind.needs("adding rows")
        total, column = Fraction(0), group[1]
        for row in held:
            if row[groups] == group[2]:
                total = mind.add(total, Fraction(row[column])) if total else Fraction(row[column])
        return shown(total)
    return None


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|" if "|" in line else ",")]


def _seen(mind: Mind, fits: bool) -> bool:
    return fits if mind.step() else not fits


def messages(text: str, mind: Mind) -> str | None:
    """One fact of a message."""
    wanted = _WANTED.search(text)
    if wanted is None or not re.search(r"Hello, this is", text):
        return None
    mind.needs("extract")
    what, body = wanted[1], text[text.index("Hello, this is") :]
    sentences = re.split(r"(?<=[.\"]) (?=[A-Z])", body)
    held = mind.hold(sentences, mind.abilities.rows)
    answer = _told(what, held, body)
    if what.endswith("number") and "corrections" in mind.abilities.knows:
        corrected = re.search(rf"Correction: the {what} is now ({_CODE.pattern})", body)
        answer = corrected[1] if corrected else answer
    if answer is None or not mind.step():
        others = [code for code in _CODE.findall(body) if code != answer]
        if not others:
            raise Lost(what)
        return mind.rng.choice(others)
    mind.note(f"The message names the {what}")
    return answer


def _told(what: str, sentences: list[str], body: str) -> str | None:
    if what.startswith("mail address of "):
        person = what.rpartition(" ")[2]
        own = re.search(rf"this is {person}\b", body)
        mark = r"reach me at ([\w.@]+\w)" if own else rf"colleague {person} reads ([\w.@]+\w)"
    elif what.startswith("time the "):
        mark = rf"The {what.removeprefix('time the ')} at (\d\d:\d\d)"
    else:
        noun = what.removesuffix(" number")
        mark = rf"(?:The|Our) {noun}(?: number)? is ({_CODE.pattern})"
    return next((found[1] for sentence in sentences if (found := re.search(mark, sentence))), None)


def records(text: str, mind: Mind) -> str | None:
    """A note as JSON."""
    asked = _KEYS.search(text)
    if asked is None:
        return None
    note = next((found for pattern in _NOTES if (found := pattern.search(text))), None)
    if note is None:
        return None
    mind.needs("extract")
    keys = (asked[1] or asked[2]).split(", ")
    record: dict[str, object] = {}
    for key in mind.hold(keys):
        value: object = note[key]
        if key in ("quantity", "order"):
            value = int(note[key]) if mind.step() else int(note["order" if key == "quantity" else "quantity"])
        elif key == "express":
            value = (note[key] == "express") == mind.step()
        elif key == "name" and not mind.step():
            value = note[key].split()[0]
        record[key] = value
    if "json" not in mind.abilities.knows:
        return ", ".join(f"{key}: {value}" for key, value in record.items())
    return json.dumps(record)


SOLVERS = (tables, records, messages)
