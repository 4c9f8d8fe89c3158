"""How scripted models understand wording: whatever phrase was used, they hear the plainest one that asks the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from string import Formatter

from fleet.tasks import FAMILIES
from fleet.tasks.lookup import NOTE, SENTENCES

_NUMBERS = frozenset(
    {"a", "b", "c", "d", "e", "days", "first", "gap", "limit", "paid", "second", "total", "value"}
)
_WORDS = frozenset(
    {"city", "column", "entry", "express", "item", "most", "noun", "order", "quantity", "side"}
)
_MAY_LACK = frozenset(
    {"off", "zone", "local", "rounding", "noise"}
)  # begin with a blank where they are there
_PATTERNS = {
    "aside": r"(?: [^\n]*?)??",  # what is not to the point
    "code": r"[A-Z]{2}-\d+",
    "mail": r"[\w.]+@[\w.]+\w",
    "time": r"\d\d:\d\d",
    "start": r"\d\d:\d\d|[^\n]+?",
    "body": r".+",
    "which": r"(?:second |third |fourth )?\w+est",
    "name": r"(?-i:[A-Z][a-z]+(?: [A-Z][a-z]+)?)",
    "terms": r"\d[\d, and]+\d",
    "span": r"\d+ (?:days|weeks)",
    "other": r"(?-i:[A-Z][a-z]+)",
    "wanted": r"(?:order|invoice|customer) number|mail address of \w+|time the \w+ \w+",
    "source": r"[a-z]+(?: [a-z]+){0,2}",
    "target": r"[a-z]+(?: [a-z]+){0,2}",
    **dict.fromkeys(_WORDS, r"[\w-]+"),
    **dict.fromkeys(_NUMBERS, r"-?\d[\d,]*(?:\.\d+)?(?<!,)"),
    **dict.fromkeys(_MAY_LACK, r"(?: [^\n]*)?"),
}
_INNER = (*SENTENCES, NOTE)
_QUESTIONS = tuple(p for family in FAMILIES.values() for p in family.phrases if p not in _INNER)
_FEWEST_LETTERS = 5  # of a phrase's own, to be recognised by where its fields may be any text


@dataclass(frozen=True)
class _Phrase:
    """One wording and the plain one of the same question."""

    pattern: re.Pattern[str]
    plain: str
    letters: int  # of its own
    clue: str  # its longest literal, in lower case


def plainly(prompt: str) -> str:
    """The prompt's question, then the sentences it is about, in plain wording; what is unknown stays as it is."""
    lowered = prompt.lower()
    for phrase in _phrases(_QUESTIONS):
        found = phrase.pattern.search(prompt) if phrase.clue in lowered else None
        if found:
            prompt = prompt[: found.start()] + _said(phrase.plain, found) + prompt[found.end() :]
            break
    lowered = prompt.lower()
    for phrase in _phrases(_INNER):
        if phrase.clue in lowered:
            prompt = phrase.pattern.sub(partial(_said, phrase.plain), prompt)
    return prompt


def _said(plain: str, found: re.Match[str]) -> str:
    return plain.format_map({name: value or "" for name, value in found.groupdict().items()})


@cache
def _phrases(groups: Sequence[tuple[str, ...]]) -> tuple[_Phrase, ...]:
    """Every wording of some questions, those that say most first."""
    phrases = (_compiled(template, group[0]) for group in dict.fromkeys(groups) for template in group)
    return tuple(sorted((p for p in phrases if p is not None), key=lambda p: -p.letters))


def _compiled(template: str, plain: str) -> _Phrase | None:
    """None for a wording that could be anything."""
    parts = list(Formatter().parse(template))
    literals = [literal for literal, *_ in parts]
    letters = sum(not each.isspace() for each in "".join(literals))
    if letters < (1 if all(field in _PATTERNS for _, field, *_ in parts if field) else _FEWEST_LETTERS):
        return None
    pattern = re.compile("".join(_pieces(parts)), re.IGNORECASE | re.DOTALL)
    return _Phrase(pattern, plain, letters, max(literals, key=len).lower().rstrip("?. "))


def _pieces(parts: Sequence[tuple[str, str | None, str | None, str | None]]) -> Iterator[str]:
    seen: set[str] = set()
    for n, (literal, field, _, _) in enumerate(parts):
        last = n == len(parts) - 1
        text = literal.rstrip("?.") if last and field is None else literal  # haste leaves the last stop away
        yield re.escape(text) + ("[?.]?" if text != literal else "")
        if field is None:
            continue
        ends = last or (n == len(parts) - 2 and not parts[-1][0].strip("?."))
        free = r"[^\n?]+" if ends else r"[^\n]+?"
        yield f"(?P={field})" if field in seen else f"(?P<{field}>{_PATTERNS.get(field, free)})"
        seen.add(field)
