"""How scripted models do arithmetic and algebra."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from fleet.scripted.mind import Lost, Mind, shown

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_CHAIN = re.compile(rf"({NUMBER})((?:\s\+\s{NUMBER}|\s-\s{NUMBER})+)")
_THEN = r"(?:,|\. Since then:)?(?: then)? "
_TOTAL = re.compile(rf"(?:total of|counted) ((?:{NUMBER}(?:, | and )?){{2,}})")
_TIMES = re.compile(r"(\d+) (?:times|\*|rows of|trucks carries) (\d+)|[Mm]ultiply (\d+) by (\d+)")
_OVER = re.compile(
    r"(\d+) (?:divided by|/) (\d+)|[Hh]ave (\d+) eggs and every crate holds (\d+)|[Ss]plit (\d+) evenly among (\d+)"
)
_BOUGHT = re.compile(r"(\d+) [A-Za-z-]+ (?:at |\()\$(\d+(?:\.\d+)?) each")
_PAID = re.compile(r"(?:pays with|hand over) \$(\d+)")


def number(text: str) -> Fraction:
    """A number as people write it: 1,234.50"""
    return Fraction(text.replace(",", ""))


def sums(text: str, mind: Mind) -> str | None:
    """482 + 917 - 33, in signs or words."""
    plain = re.sub(rf"{_THEN}(?:plus|add|paid in|won) \$?(?=\d)", " + ", text)
    plain = re.sub(rf"{_THEN}(?:minus|take away|took out|lost) \$?(?=\d)", " - ", plain)
    chain, listed = _CHAIN.search(plain), _TOTAL.search(text)
    if chain:
        mind.needs("add")
        total = number(chain[1])
        for sign, term in re.findall(rf"([+-])\s({NUMBER})", chain[2]):
            total = (mind.add if sign == "+" else mind.subtract)(total, number(term))
        return shown(total)
    if listed:
        mind.needs("add", "word problems")
        terms = [number(term) for term in re.findall(NUMBER, listed[1])]
        total = terms[0]
        for term in terms[1:]:
            total = mind.add(total, term)
        return shown(total)
    return None


def products(text: str, mind: Mind) -> str | None:
    """37 times 46; 1863 divided by 27; rows of seats and crates of eggs."""
    times, over = _TIMES.search(text), _OVER.search(text)
    if not times and not over:
        return None
    found = times or over
    assert found is not None
    a, b = (number(part) for part in found.groups() if part)
    mind.needs("multiply" if times else "divide")
    if re.search("seats|parcels|eggs|evenly", text):
        mind.needs("word problems")
    return shown((mind.multiply if times else mind.divide)(a, b))


def shopping(text: str, mind: Mind) -> str | None:
    """A bill, maybe a discount, maybe change."""
    bought = _BOUGHT.findall(text)
    if not bought:
        return None
    mind.needs("multiply", "add", "word problems")
    total = Fraction(0)
    for count, price in bought:
        line = mind.multiply(number(count), number(price))
        total = mind.add(total, line) if total else line
    discount = re.search(r"(\d+)% (?:discount|off)", text)
    if discount and "percent" in mind.abilities.knows:  # who never learned it overlooks it
        total = mind.subtract(total, mind.multiply(total, number(discount[1]) / 100))
    paid = _PAID.search(text)
    return money(mind.subtract(number(paid[1]), total) if paid else total)


def money(amount: Fraction) -> str:
    """16.30, 35"""
    return shown(amount) if amount.denominator == 1 else f"{float(amount):.2f}"


# Algebra

_PIECE = re.compile(r"\d+|(?<![A-Za-z])[b-hj-z](?![A-Za-z])|[()+=-]|[A-Za-z]+|\S")
_PUZZLE = re.compile(
    r"think of a number,?(?: multiply it by (\d+),)?(?: and)? (add|subtract) (\d+), and I get (-?\d+)"
)
_SERIES = re.compile(r"(-?\d+(?:, -?\d+){3,})")
_BOTH = re.compile(r"(?:add up to|sum of two numbers is) (\d+) and (?:differ by|their difference is) (\d+)")
_PURCHASE = re.compile(r"(\d+) ([a-z]+?)s? and (\d+) ([a-z]+?)s? (?:cost|were) \$(\d+)")
_PAID_FOR = re.compile(r"paid \$(\d+) for (\d+) ([a-z]+?)s? and (\d+) ([a-z]+?)s?\.")


def linear(text: str, mind: Mind) -> str | None:
    """One unknown, in an equation or a riddle."""
    puzzle = _PUZZLE.search(text)
    if puzzle:
        mind.needs("equations", "word problems")
        factor, what, constant, result = puzzle.groups()
        undo = mind.subtract if what == "add" else mind.add
        left = undo(Fraction(result), Fraction(constant))
        return shown(mind.divide(left, Fraction(factor)) if factor else left)
    sides = _equation(text)
    if sides is None:
        return None
    mind.needs("equations")
    (a, b), (c, d) = (_collected(side, mind) for side in sides)
    coefficient = mind.subtract(a, c) if c else a
    return shown(
        mind.divide(mind.subtract(d, b) if b else d, coefficient) if coefficient != 1 else mind.subtract(d, b)
    )


def _equation(text: str) -> tuple[list[str], list[str]] | None:
    """The pieces on both sides of the equation in a text."""
    pieces = _PIECE.findall(text)
    for at in (n for n, piece in enumerate(pieces) if piece == "="):
        start, end = at, at + 1
        while start and _mathematical(pieces[start - 1]):
            start -= 1
        while end < len(pieces) and _mathematical(pieces[end]):
            end += 1
        sides = pieces[start:at], pieces[at + 1 : end]
        if all(sides) and any(piece.isalpha() for side in sides for piece in side):
            return sides
    return None


def _mathematical(piece: str) -> bool:
    return piece.isdigit() or piece in "()+-" or (len(piece) == 1 and piece.isalpha())


def _collected(pieces: list[str], mind: Mind) -> tuple[Fraction, Fraction]:
    """One side as (coefficient of the unknown, constant)."""
    unknown, constant = Fraction(0), Fraction(0)
    sign, size = 1, None
    outer: Fraction | None = None  # the factor of the bracket we are in
    for piece in [*pieces, "+"]:
        if piece.isdigit():
            size = Fraction(piece)
        elif piece.isalpha():
            term = _times(sign * (size or Fraction(1)), outer, mind)
            unknown, size = mind.add(unknown, term) if unknown else term, None
        elif piece == "(":
            mind.needs("brackets")
            outer, size, sign = sign * (size or Fraction(1)), None, 1
        else:  # + - ) end a term
            if size is not None:
                term = _times(sign * size, outer, mind)
                constant = mind.add(constant, term) if constant else term
            size, sign = None, -1 if piece == "-" else 1
            outer = None if piece == ")" else outer
    return unknown, constant


def _times(value: Fraction, outer: Fraction | None, mind: Mind) -> Fraction:
    return value if outer is None else outer if value == 1 else mind.multiply(outer, value)


def sequences(text: str, mind: Mind) -> str | None:
    """How a row of numbers goes on."""
    series = _SERIES.search(text)
    if series is None or not re.search(r"comes next|continue|next number", text, re.IGNORECASE):
        return None
    mind.needs("patterns")
    return shown(_next([Fraction(term) for term in series[1].split(", ")], mind))


def _next(terms: list[Fraction], mind: Mind) -> Fraction:
    knows, last = mind.abilities.knows, terms[-1]
    steps = [mind.subtract(b, a) for a, b in pairwise(terms)]
    if len(set(steps)) == 1:
        return mind.add(last, steps[-1])
    if "ratios" in knows and all(terms) and len({b / a for a, b in pairwise(terms)}) == 1:
        return mind.multiply(last, mind.divide(last, terms[-2]))
    if "growing steps" in knows:
        growth = [mind.subtract(b, a) for a, b in pairwise(steps)]
        if len(set(growth)) == 1:
            return mind.add(last, mind.add(steps[-1], growth[-1]))
    if "recurrences" in knows:
        if all(c == a + b for a, b, c in zip(terms, terms[1:], terms[2:], strict=False)):
            return mind.add(last, terms[-2])
        factor = mind.divide(steps[-1], steps[-2])
        return mind.add(mind.multiply(last, factor), last - factor * terms[-2])
    return mind.add(last, steps[-1])  # the last step once more: plausible, mostly wrong


def unknowns(text: str, mind: Mind) -> str | None:
    """Sum and difference, or two purchases of the same two things."""
    both = _BOTH.search(text)
    if both:
        mind.needs("equations", "word problems")
        total, gap = Fraction(both[1]), Fraction(both[2])
        doubled = mind.add(total, gap) if "larger" in text else mind.subtract(total, gap)
        return shown(mind.divide(doubled, Fraction(2)))
    bought = [(int(a), one, int(b), int(cost)) for a, one, b, _, cost in _PURCHASE.findall(text)]
    bought += [(int(a), one, int(b), int(cost)) for cost, a, one, b, _ in _PAID_FOR.findall(text)[:1]]
    if len(bought) != 2:
        return None
    mind.needs("two unknowns", "word problems")
    (a, _, b, p), (c, _, e, q) = bought
    below = mind.subtract(mind.multiply(Fraction(a), Fraction(e)), mind.multiply(Fraction(b), Fraction(c)))
    above = mind.subtract(mind.multiply(Fraction(p), Fraction(e)), mind.multiply(Fraction(b), Fraction(q)))
    price = mind.divide(above, below)
    if price <= 0:
        raise Lost("no price is negative")
    return money(price)


SOLVERS = (shopping, linear, sequences, unknowns, products, sums)
