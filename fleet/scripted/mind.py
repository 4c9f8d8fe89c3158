"""A mind with limits: arithmetic, memory and attention that give way at a known place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import TypeVar

T = TypeVar("T")

CARRY = 0.4  # chance, for each digit too many, that a calculation still comes out right
HOLD = 0.55  # chance, for each entry too many, that it stays where it was
TIRED = 0.8  # what remains of the care for a step once the thread is lost


class Lost(Exception):  # noqa: N818
    """The mind does not know how to go on."""


@dataclass(frozen=True)
class Abilities:
    """Where a mind's powers end. `knows` are the procedures it has learned at all."""

    knows: frozenset[str]
    digits: int = 3  # of the longest number it adds or takes away
    factor_digits: int = 3  # significant digits of both factors together
    precision: int = 2  # significant digits of the constants it remembers (a mile in kilometers)
    steps: int = 6  # worked one after the other before it loses the thread
    span: int = 5  # entries of a list, facts of a puzzle
    rows: int = 6  # of a table, sentences of a message
    letters: int = 5  # of a word it spells out
    care: float = 0.98  # chance that a single step goes well


class Mind:
    """One attempt at one prompt. `rng` decides where attention slips; `heat` (a temperature) makes it slip more."""

    def __init__(self, abilities: Abilities, rng: Random, heat: float = 0.0) -> None:
        self.abilities = abilities
        self.rng = rng
        self.working: list[str] = []  # what the mind would write down
        self._slip = min(0.9, (1 - abilities.care) * (1 + heat))
        self._taken = 0

    def needs(self, *procedures: str) -> None:
        """Raises Lost for a procedure it never learned."""
        for procedure in procedures:
            if procedure not in self.abilities.knows:
                raise Lost(procedure)

    def note(self, text: str) -> None:
        """Write something down."""
        self.working.append(text)

    def step(self) -> bool:
        """Take a step; False when attention slips, more often once there were more steps than it can follow."""
        self._taken += 1
        chance = 1 - self._slip
        return self.rng.random() < (chance if self._taken <= self.abilities.steps else chance * TIRED)

    def add(self, a: Fraction, b: Fraction) -> Fraction:
        """a + b"""
        return self._calculated(a, "+", b, a + b, max(digits(a), digits(b)) - self.abilities.digits)

    def subtract(self, a: Fraction, b: Fraction) -> Fraction:
        """a − b"""
        return self._calculated(a, "-", b, a - b, max(digits(a), digits(b)) - self.abilities.digits)

    def multiply(self, a: Fraction, b: Fraction) -> Fraction:
        """a · b"""
        excess = significant(a) + significant(b) - self.abilities.factor_digits
        return self._calculated(a, "*", b, a * b, 0 if 1 in (significant(a), significant(b)) else excess)

    def divide(self, a: Fraction, b: Fraction) -> Fraction:
        """a / b; raises Lost for b = 0"""
        if not b:
            raise Lost("divide by zero")
        excess = (
            significant(b) + min(significant(a / b), self.abilities.precision) - self.abilities.factor_digits
        )
        return self._calculated(a, "/", b, a / b, 0 if significant(b) == 1 else excess)

    def constant(self, exact: Fraction) -> Fraction:
        """A constant as it remembers it."""
        return Fraction(f"{float(exact):.{self.abilities.precision}g}")

    def hold(self, entries: Sequence[T], most: int | None = None) -> list[T]:
        """The entries as they stay in memory: beyond its span some are lost, others change places."""
        held = list(entries)
        for _ in range(len(held) - (self.abilities.span if most is None else most)):
            if self.rng.random() < HOLD:
                continue
            at = self.rng.randrange(len(held) - 1)
            if self.rng.random() < 0.5:
                del held[at]
            else:
                held[at], held[at + 1] = held[at + 1], held[at]
        return held

    def spell(self, word: str) -> str:
        """The letters of a word, as far as it can spell."""
        return "".join(self.hold(word, self.abilities.letters))

    def _calculated(self, a: Fraction, sign: str, b: Fraction, exact: Fraction, excess: int) -> Fraction:
        right = self.step() and self.rng.random() < CARRY ** max(0, excess)
        result = exact if right else self._near(exact)
        self.note(f"{shown(a)} {sign} {shown(b)} = {shown(result)}")
        return result

    def _near(self, exact: Fraction) -> Fraction:
        """What comes out when a carry is lost or two digits change places; never the exact result."""
        text = str(abs(exact.numerator)) if exact.denominator == 1 else ""
        at = self.rng.randrange(max(1, len(text) - 1))
        if len(text) > 1 and text[at] != text[at + 1] and self.rng.random() < 0.4:
            swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
            return Fraction(int(swapped) * (-1 if exact < 0 else 1))
        unit = Fraction(1) if exact.denominator == 1 else Fraction(1, 10)
        return exact + self.rng.choice((-1, 1)) * unit * 10 ** self.rng.randrange(max(1, len(text)))


def digits(number: Fraction) -> int:
    """Digits as written: 16.30 has 4."""
    return sum(letter.isdigit() for letter in shown(number))


def significant(number: Fraction) -> int:
    """Digits without the zeros around them: 0.001 and 1000 have 1."""
    return len("".join(letter for letter in shown(number) if letter.isdigit()).strip("0")) or 1


def shown(number: Fraction) -> str:
    """As people write it: whole, or with up to six decimals."""
    return (
        str(number.numerator) if number.denominator == 1 else f"{float(number):.6f}".rstrip("0").rstrip(".")
    )
