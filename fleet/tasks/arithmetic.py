"""Arithmetic: sums, products and quotients, and the till of a shop."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import CITIES, ITEMS, NUMBER, PEOPLE, dress, joined, some, spread


def sums(rng: Random, difficulty: int) -> Draft:
    """Add and take away 2 to 5 numbers of 2 to 6 digits."""
    count, digits = ((2, 2), (3, 2), (3, 3), (4, 4), (5, 6))[difficulty - 1]
    terms = [spread(rng, digits) for _ in range(count)]
    signs = [1, *(rng.choice((1, 1, -1)) for _ in terms[1:])]
    shown = [f"{term:,}" if rng.random() < 0.3 else str(term) for term in terms]
    spaced = shown[0] + "".join(
        f" {'+' if s > 0 else '-'} {t}" for s, t in zip(signs[1:], shown[1:], strict=True)
    )
    spoken = shown[0] + "".join(
        f" {'plus' if s > 0 else 'minus'} {t}" for s, t in zip(signs[1:], shown[1:], strict=True)
    )
    told = f"Start with {shown[0]}" + "".join(
        f", {'add' if s > 0 else 'take away'} {t}" for s, t in zip(signs[1:], shown[1:], strict=True)
    )
    asked = [
        f"What is {spaced}?",
        f"{spaced} = ?",
        f"Work out {spoken}.",
        f"Could you tell me what {spoken} makes?",
        f"{told}. What do you end up with?",
    ]
    if min(signs) > 0:
        place = rng.choice(CITIES)
        asked += [
            f"What's the total of {joined(shown)}?",
            f"The {place} office counted {joined(shown)} visitors over the last days. How many is that altogether?",
        ]
    answer = sum(s * t for s, t in zip(signs, terms, strict=True))
    key = f"{terms} {signs}"
    return Draft(dress(rng, rng.choice(asked), NUMBER), str(answer), "number", key)


def products(rng: Random, difficulty: int) -> Draft:
    """Multiply two numbers, or divide without a remainder; 1×2 to 4×3 digits."""
    one, other = ((1, 2), (2, 2), (3, 2), (3, 3), (4, 3))[difficulty - 1]
    a, b = max(spread(rng, one), 3), spread(rng, other)
    if rng.random() < 0.35:
        asked = [
            f"What is {a * b} divided by {b}?",
            f"{a * b} / {b} = ?",
            f"We have {a * b} eggs and every crate holds {b}. How many crates do we fill?",
            f"Split {a * b} evenly among {b} people: how many does each one get?",
        ]
        return Draft(dress(rng, rng.choice(asked), NUMBER), str(a), "number", f"{a * b} / {b}")
    asked = [
        f"What's {a} times {b}?",
        f"{a} * {b} = ?",
        f"Multiply {a} by {b}.",
        f"A hall has {a} rows of {b} seats. How many seats are there?",
        f"Each of our {a} trucks carries {b} parcels. How many parcels is that in total?",
    ]
    return Draft(dress(rng, rng.choice(asked), NUMBER), str(a * b), "number", f"{a} * {b}")


def shopping(rng: Random, difficulty: int) -> Draft:
    """A bill of 1 to 4 lines, from difficulty 3 with cents, from 4 with a discount; the total, or the change."""
    lines = (1, 2, 2, 3, 4)[difficulty - 1]
    items = some(rng, lines, ITEMS)
    counts = [rng.randint(2, 9 if difficulty < 4 else 24) for _ in items]
    cents = ((0,), (0,), (0, 25, 50, 75, 20, 40), (0, 50), (0, 20, 40, 50))[difficulty - 1]
    prices = [Decimal(100 * rng.randint(2, 12) + rng.choice(cents)) / 100 for _ in items]
    total = sum((n * p for n, p in zip(counts, prices, strict=True)), Decimal(0))
    percent = rng.choice((10, 20, 50)) if difficulty >= 4 else 0
    due = total * (100 - percent) / 100
    paid = int(due // 50 + 1) * 50
    wants_change = rng.random() < 0.6
    name = rng.choice(PEOPLE)

    def price(p: Decimal) -> str:
        return f"${p}" if p == p.to_integral() else f"${p:.2f}"

    bought = joined(
        [f"{n} {item} at {price(p)} each" for n, item, p in zip(counts, items, prices, strict=True)]
    )
    listed = ", ".join(
        f"{n} {item} ({price(p)} each)" for n, item, p in zip(counts, items, prices, strict=True)
    )
    aside = rng.choice(("", "", " The shop closes at 6 pm.", " There are 3 people in front of the till."))
    off = f" There is a {percent}% discount on everything." if percent else ""
    if wants_change:
        asked = [
            f"{name} buys {bought}.{aside}{off} {name} pays with ${paid}. How much change is due, in dollars?",
            f"On my receipt: {listed}.{off}{aside} If I hand over ${paid}, how many dollars do I get back?",
        ]
    else:
        asked = [
            f"{name} buys {bought}.{off}{aside} What does it all cost, in dollars?",
            f"Shopping list: {listed}.{aside}{off} What's the total in dollars?",
        ]
    exact = paid - due if wants_change else due
    answer = f"{exact:.0f}" if exact == exact.to_integral() else f"{exact:.2f}"
    key = f"{counts} {prices} {percent} {wants_change}"
    return Draft(dress(rng, rng.choice(asked), NUMBER), answer, "number", key)


FAMILIES = (
    Family("sums", "arithmetic", sums),
    Family("products", "arithmetic", products),
    Family("shopping", "arithmetic", shopping),
)
