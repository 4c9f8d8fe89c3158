"""Drills: short exercises of what every task takes, for training only: copying, finding, spelling, single sums.

A task's reply is a few tokens behind a prompt of sixty, so the skills under it are learnt slowly from tasks alone; a
drill is nearly all reply.
"""

from __future__ import annotations

from random import Random

from fleet.tasks.wording import CITIES, ITEMS, NOUNS, PEOPLE, SURNAMES, between, invented, pick, some, spread

_WORDS = (*NOUNS, *PEOPLE, *SURNAMES, *CITIES, *ITEMS)
_BETWEEN = (" ", ", ", " | ", "\n")


def drill(rng: Random) -> tuple[str, str]:
    """A prompt and its reply."""
    return pick(rng, _DRILLS)(rng)


def _copying(rng: Random) -> tuple[str, str]:
    text = pick(rng, _BETWEEN).join(_thing(rng) for _ in range(between(rng, 2, 10)))
    return f"Repeat: {text}", text


def _finding(rng: Random) -> tuple[str, str]:
    keys = some(rng, between(rng, 2, 9), _WORDS)
    pairs = [(key, _thing(rng)) for key in keys]
    mark = pick(rng, (" ", ": ", " = ", ","))
    text = pick(rng, ("\n", ". ", "; ")).join(f"{key}{mark}{value}" for key, value in pairs)
    asked = some(rng, between(rng, 1, min(4, len(pairs))), pairs)
    return f"{text}\n{', '.join(key for key, _ in asked)}?", ", ".join(value for _, value in asked)


def _spelling(rng: Random) -> tuple[str, str]:
    word = pick(rng, _WORDS).lower() if rng.random() < 0.5 else invented(rng, between(rng, 3, 14))
    letters = list(word)
    if rng.random() < 0.5:
        return f"Spell '{word}'.", " ".join(letters)
    return f"Spell '{word}' backwards.", " ".join(reversed(letters))


def _sum(rng: Random) -> tuple[str, str]:
    one, two = spread(rng, between(rng, 1, 4)), spread(rng, between(rng, 1, 4))
    sign = pick(rng, "++-")
    return f"{one} {sign} {two}", str(one + two if sign == "+" else one - two)


def _product(rng: Random) -> tuple[str, str]:
    one, two = between(rng, 2, 9), spread(rng, between(rng, 1, 3))
    if rng.random() < 0.5:
        return f"{one} * {two}", str(one * two)
    return f"{one * two} / {one}", str(two)


def _order(rng: Random) -> tuple[str, str]:
    if rng.random() < 0.5:
        words = some(rng, between(rng, 2, 4), NOUNS)
        return f"First in the alphabet: {', '.join(words)}", min(words)
    numbers = rng.sample(range(1000 if rng.random() < 0.5 else 100), between(rng, 2, 5))
    return f"Largest of {', '.join(map(str, numbers))}", str(max(numbers))


def _thing(rng: Random) -> str:
    return pick(rng, _WORDS) if rng.random() < 0.5 else str(spread(rng, between(rng, 1, 5)))


_DRILLS = (_copying, _copying, _finding, _finding, _spelling, _sum, _product, _order)
