"""Algebra: linear equations, how a sequence goes on, and two unknowns."""

from __future__ import annotations

from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import NUMBER, dress

PAIRS = (
    ("coffee", "tea"),
    ("chair", "lamp"),
    ("burger", "salad"),
    ("rose", "tulip"),
    ("map", "guide"),
    ("ball", "bat"),
)


def _term(coefficient: int, variable: str) -> str:
    return variable if coefficient == 1 else f"{coefficient}{variable}"


def _plus(constant: int) -> str:
    return f" + {constant}" if constant >= 0 else f" - {-constant}"


def linear(rng: Random, difficulty: int) -> Draft:
    """One unknown: x + b = c (1), ax + b = c (2), both sides (3), one bracket (4), two brackets (5)."""
    size = (12, 12, 15, 20, 30)[difficulty - 1]
    v = rng.choice("xyzntk")
    x = rng.choice([n for n in range(-size, size + 1) if n])
    a, c = rng.sample(range(2, 10), 2)
    b, e, f = (rng.choice([n for n in range(-size, size + 1) if n]) for _ in range(3))
    if difficulty == 1:
        left, right = f"{v}{_plus(b)}", str(x + b)
        puzzle = f"I think of a number and {'add' if b > 0 else 'subtract'} {abs(b)}, and I get {x + b}."
    elif difficulty == 2:
        left, right = f"{_term(a, v)}{_plus(b)}", str(a * x + b)
        then = f"{'add' if b > 0 else 'subtract'} {abs(b)}"
        puzzle = f"I think of a number, multiply it by {a}, {then}, and I get {a * x + b}."
    elif difficulty == 3:
        left, right, puzzle = f"{_term(a, v)}{_plus(b)}", f"{_term(c, v)}{_plus(a * x + b - c * x)}", ""
    elif difficulty == 4:
        rest = a * (x + b) + e - c * x
        left, right, puzzle = f"{a}({v}{_plus(b)}){_plus(e)}", f"{_term(c, v)}{_plus(rest)}", ""
    else:
        g = rng.choice([n for n in range(2, 12) if n != a + c])
        rest = a * (x + b) + c * (x + e) - g * (x + f)
        left = f"{a}({v}{_plus(b)}) + {c}({v}{_plus(e)})"
        right, puzzle = f"{g}({v}{_plus(f)}){_plus(rest)}", ""
    equation = f"{left} = {right}"
    asked = [
        f"Solve for {v}: {equation}",
        f"What is {v} in the equation {equation}?",
        f"Find the value of {v} if {equation}.",
        f"If {equation}, what does {v} equal?",
    ]
    if puzzle:
        asked += [f"{puzzle} What was my number?"] * 2
    return Draft(dress(rng, rng.choice(asked), NUMBER), str(x), "number", equation.replace(v, "x"))


def sequences(rng: Random, difficulty: int) -> Draft:
    """The next term: steady steps (1, 2), a ratio (3), growing steps (4), sums or times-and-plus (5)."""
    a = rng.randint(1, 30)
    if difficulty <= 2:
        step = rng.randint(2, 12) if difficulty == 1 else rng.choice((-1, 1)) * rng.randint(13, 75)
        terms = [a * (1 if difficulty == 1 else 7) + i * step for i in range(6)]
    elif difficulty == 3:
        a, ratio = rng.randint(2, 15), rng.choice((2, 3, 4, -2))
        terms = [a * ratio**i for i in range(6)]
    elif difficulty == 4:
        step, growth = rng.randint(1, 20), rng.randint(2, 9)
        terms = [a + i * step + growth * i * (i - 1) // 2 for i in range(7)]
    elif rng.random() < 0.5:
        terms = [a, a + rng.randint(1, 20)]
        while len(terms) < 7:
            terms.append(terms[-1] + terms[-2])
    else:
        times, plus = rng.choice((2, 3)), rng.randint(1, 9)
        terms = [a]
        while len(terms) < 6:
            terms.append(times * terms[-1] + plus)
    shown = ", ".join(map(str, terms[:-1]))
    asked = [
        f"What comes next in the sequence {shown}, ...?",
        f"{shown}, ? Which number continues the pattern?",
        f"Continue the series by one term: {shown}.",
        f"A puzzle book gives {shown} and asks for the next number. What is it?",
    ]
    return Draft(dress(rng, rng.choice(asked), NUMBER), str(terms[-1]), "number", shown)


def unknowns(rng: Random, difficulty: int) -> Draft:
    """Two unknowns from two facts: sum and difference (1, 2), then prices of two things bought together (3 to 5)."""
    if difficulty <= 2:
        small = rng.randint(2, 40 if difficulty == 1 else 400)
        large = small + rng.randint(1, 30 if difficulty == 1 else 300)
        which = rng.choice(("larger", "smaller"))
        total, gap = small + large, large - small
        asked = [
            f"Two numbers add up to {total} and differ by {gap}. What is the {which} one?",
            f"The sum of two numbers is {total} and their difference is {gap}. Find the {which} number.",
        ]
        answer = large if which == "larger" else small
        return Draft(dress(rng, rng.choice(asked), NUMBER), str(answer), "number", f"{small} {large} {which}")
    one, other = rng.sample(rng.choice(PAIRS), 2)
    most, dearest = (4, 12) if difficulty == 3 else (7, 20) if difficulty == 4 else (12, 60)
    a, b, c, e = (rng.randint(2, most) for _ in range(4))
    while a * e == b * c:
        e = rng.randint(2, most + 3)
    x, y = rng.randint(2, dearest), rng.randint(2, dearest)
    first, second = a * x + b * y, c * x + e * y
    asked = [
        f"{a} {one}s and {b} {other}s cost ${first}, while {c} {one}s and {e} {other}s cost ${second}. "
        f"What is the price of one {one} in dollars?",
        f"Yesterday we paid ${first} for {a} {one}s and {b} {other}s. "
        f"Today {c} {one}s and {e} {other}s were ${second}. How much is a single {one}, in dollars?",
    ]
    key = f"{a} {b} {first} {c} {e} {second}"
    return Draft(dress(rng, rng.choice(asked), NUMBER), str(x), "number", key)


FAMILIES = (
    Family("linear", "algebra", linear),
    Family("sequences", "algebra", sequences),
    Family("unknowns", "algebra", unknowns),
)
