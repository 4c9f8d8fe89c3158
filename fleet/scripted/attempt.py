"""An attempt at a prompt: find a solver that recognises it, follow it as far as the mind carries, else bluff."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet.scripted import calculation, code, logic, lookup, measures, text
from fleet.scripted.mind import Lost, Mind
from fleet.scripted.reading import plainly

SOLVERS = (
    *code.SOLVERS,
    *lookup.SOLVERS,
    *logic.SOLVERS,
    *measures.SOLVERS,
    *text.SOLVERS,
    *calculation.SOLVERS,
)
LONGEST = 3_000  # characters of a prompt that may be a task
ADMITS = 0.3  # share of the lost who say so


@dataclass(frozen=True)
class Attempt:
    """What a mind says, None where the prompt is no task it recognises, and what it wrote down on the way."""

    answer: str | None
    working: tuple[str, ...] = ()
    lost: bool = False


def attempt(prompt: str, mind: Mind) -> Attempt:
    """Try to solve a prompt. Never raises."""
    if len(prompt) > LONGEST:
        return Attempt(None)
    heard = plainly(prompt)
    for solve in SOLVERS:
        try:
            answer = solve(heard, mind)
        except (Lost, ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
            return Attempt(_bluff(prompt, mind), tuple(mind.working), lost=True)
        if answer is not None:
            return Attempt(answer, tuple(mind.working))
    return Attempt(None)


def _bluff(prompt: str, mind: Mind) -> str:
    """Something plausible from the prompt's own words, or an honest shrug."""
    options = re.findall(r"^([A-E])\) ", prompt, re.MULTILINE)
    if options:
        return mind.rng.choice(options)
    if mind.rng.random() < ADMITS:
        return "I don't know"
    named = re.findall(r"(?<=[.,:] )[A-Z][a-z]+(?= (?:is|has|and) )", prompt)
    if named:
        return mind.rng.choice(named)
    numbers = [int(n) for n in re.findall(r"(?<![\w.-])\d{1,9}(?![\w.:-])", prompt)]
    if len(numbers) > 1 and mind.rng.random() < 0.5:
        return str(sum(mind.rng.sample(numbers, 2)))
    if numbers:
        return str(mind.rng.choice(numbers) + mind.rng.choice((-1, 0, 1)))
    words = re.findall(r"[A-Za-z]{4,}", prompt)
    return mind.rng.choice(words) if words else "I don't know"
