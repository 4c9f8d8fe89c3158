"""How scripted models handle words and lists."""

from __future__ import annotations

import re

from fleet.scripted.mind import Mind

_QUOTED = re.compile(r"(?:'|\")([a-z]{3,})(?:'|\")(?!\w)")
_COUNTED = re.compile(r"letter ([a-z])\b|many ([a-z])'s")
_RUN = re.compile(r"(?:[\w-]+, )+[\w-]+")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def letters(text: str, mind: Mind) -> str | None:
    """Backwards, how many, and which letter."""
    quoted = _QUOTED.search(text)
    if quoted is None:
        return None
    if re.search(r"[Rr]everse the|backwards|from the last letter to the first", text):
        mind.needs("letters")
        spelled = mind.spell(quoted[1])
        mind.note(f"The letters are {' '.join(spelled)}")
        return spelled[::-1] if mind.step() else spelled[::-1][1:]
    counted = _COUNTED.search(text)
    if counted and re.search(r"[Hh]ow many|[Cc]ount", text):
        mind.needs("letters")
        spelled = mind.spell(quoted[1])
        mind.note(f"The letters are {' '.join(spelled)}")
        return str(spelled.count(counted[1] or counted[2]) + (not mind.step()))
    place = next((n for n, ordinal in enumerate(ORDINALS) if re.search(rf"\b{ordinal}\b", text)), None)
    if place is None:
        return None
    mind.needs("letters")
    return mind.spell(quoted[1])[place if mind.step() else max(0, place - 1)]


def filtering(text: str, mind: Mind) -> str | None:
    """What of a list is even, odd, large, new, or begins with a letter."""
    entries = _listed(text.replace(", keeping their order", ""))
    wish = re.search(
        r"(even|odd) numbers|numbers greater than (\d+)|duplicates|twice|letter ([A-Za-z])\b", text
    )
    if len(entries) < 4 or wish is None:
        return None
    mind.needs("lists")
    held = mind.hold(entries)
    if wish[1]:
        kept = [entry for entry in held if _noticed(mind, int(entry) % 2 == (wish[1] == "odd"))]
    elif wish[2]:
        kept = [entry for entry in held if _noticed(mind, int(entry) > int(wish[2]))]
    elif wish[3]:
        kept = [entry for entry in held if _noticed(mind, entry.startswith(wish[3]))]
    else:
        kept = [entry for n, entry in enumerate(held) if _noticed(mind, entry not in held[:n])]
    mind.note(f"I go through {len(entries)} entries and keep {len(kept)}")
    return ", ".join(kept) or "none"


def sorting(text: str, mind: Mind) -> str | None:
    """A list in order."""
    if not re.search(r"[Ss]ort|[Aa]rrange|in order,", text):
        return None
    entries = _listed(text)
    if len(entries) < 3:
        return None
    mind.needs("lists")
    down = bool(re.search(r"largest to smallest|reverse alphabetical", text))
    held = mind.hold(entries)
    if all(entry.isdigit() for entry in held):
        held.sort(key=int, reverse=down)
    else:
        held.sort(reverse=down)
    for n in range(0, len(held) - 1, 2):
        if not mind.step():
            held[n], held[n + 1] = held[n + 1], held[n]
    mind.note(f"I compare {len(entries)} entries pair by pair; {held[0]} comes before {held[1]}")
    return ", ".join(held)


def _noticed(mind: Mind, fits: bool) -> bool:
    """What the mind takes for true: every third entry costs it a step."""
    return fits if mind.rng.random() < 2 / 3 or mind.step() else not fits


def _listed(text: str) -> list[str]:
    """The longest comma-separated run."""
    return max(_RUN.findall(text), key=lambda run: run.count(","), default="").split(", ")


SOLVERS = (letters, filtering, sorting)
