"""How scripted models order people, follow rules and keep track of swaps."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

from fleet.scripted.mind import Lost, Mind

_PAIRS = {
    "taller": "shorter", "older": "younger", "faster": "slower", "heavier": "lighter", "richer": "poorer",
    "stronger": "weaker",
}  # fmt: skip
_MOST = {
    "taller": "tallest",
    "older": "oldest",
    "faster": "fastest",
    "heavier": "heaviest",
    "richer": "richest",
    "stronger": "strongest",
}
_LEAST = {
    "taller": "shortest", "older": "youngest", "faster": "slowest", "heavier": "lightest", "richer": "poorest",
    "stronger": "weakest",
}  # fmt: skip
_COMPARED = re.compile(rf"(\w+) is ({'|'.join([*_PAIRS, *_PAIRS.values()])}) than (\w+)")
_ASKED = re.compile(r"the (?:(second|third|fourth) )?(\w+est)\?")
_RULE = re.compile(
    r"(?:If|Whenever|Every time) ([a-z ]+?), (?:then )?([a-z ]+)\.|([A-Z][a-z ]+?) if ([a-z ]+)\."
)
_OPTION = re.compile(r"^([A-E])\) (.+)$", re.MULTILINE)
_FACT = re.compile(r"(?:(?<=[.:!?] )|^)([A-Z][a-z ]+)\.(?= |$)")
_HOLDS = re.compile(r"(\w+) has the (\w+) (\w+)[,.]")
_SWAP = re.compile(r"(\w+) and (\w+) swap")


def ranking(text: str, mind: Mind) -> str | None:
    """Who comes where, from comparisons in pairs."""
    compared, asked = _COMPARED.findall(text), _ASKED.search(text)
    if len(compared) < 2 or asked is None:
        return None
    mind.needs("comparisons")
    graph: dict[str, set[str]] = {}
    scale = ""
    for one, word, other in mind.hold(compared):
        scale = word if word in _PAIRS else next(more for more, less in _PAIRS.items() if less == word)
        above, below = (one, other) if word == scale else (other, one)
        if not mind.step():
            above, below = below, above
        graph.setdefault(below, set()).add(above)
        mind.note(f"{above} before {below}")
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError:
        raise Lost("a circle") from None
    mind.note("So the order is " + ", ".join(order))
    place = {None: 0, "second": 1, "third": 2, "fourth": 3}[asked[1]]
    return order[place] if asked[2] == _MOST[scale] else order[-1 - place]


def rules(text: str, mind: Mind) -> str | None:
    """Which option follows from a fact."""
    options = _OPTION.findall(text)
    stated = [(p or p2, q or q2) for p, q, q2, p2 in _RULE.findall(text)]
    if len(options) < 2 or not stated:
        return None
    mind.needs("rules")
    told = text[: text.index("A) ")]
    facts = [fact for fact in _FACT.findall(told) if " if " not in fact]
    known = {facts[-1].casefold()} if facts else set()
    held = [(p.casefold(), q.casefold()) for p, q in mind.hold(stated)]
    followed = True
    while followed:
        followed = False
        for p, q in held:
            if p in known and q not in known:
                if not mind.step():
                    raise Lost("the thread")
                known.add(q)
                mind.note(f"{p}, so {q}")
                followed = True
    for letter, option in options:
        if option.casefold() in known:
            return letter
    raise Lost("nothing follows")


def swaps(text: str, mind: Mind) -> str | None:
    """Who holds what after everything has changed hands."""
    holds = {person: colour for person, colour, _ in _HOLDS.findall(text)}
    moves = _SWAP.findall(text)
    if len(holds) < 2 or not moves:
        return None
    mind.needs("tracking")
    for one, two in mind.hold(moves):
        if mind.step():
            holds[one], holds[two] = holds[two], holds[one]
            mind.note(f"{one} has {holds[one]}, {two} has {holds[two]}")
    person, colour = (
        re.search(r"that (\w+) has at the end", text),
        re.search(r"has the (\w+) \w+ at the end[?.]", text),
    )
    if person:
        return holds[person[1]]
    if colour:
        return next(person for person, held in holds.items() if held == colour[1])
    raise Lost("what is asked?")


SOLVERS = (ranking, rules, swaps)
