"""Algebra: linear equations, how a sequence goes on, and two unknowns."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import NUMBER, PEOPLE, Phrases, aside, ask, between, pick, some

EQUATION: Phrases = (
    "Solve for {v}: {equation}",
    "What is {v} in the equation {equation}?",
    "Find the value of {v} if {equation}.",
    "If {equation}, what does {v} equal?",
    "{equation}. What is {v}?",
    "Can you solve {equation} for {v}?",
    "For which {v} is {equation}?",
    "Given {equation}, find {v}.",
    "I'm stuck at {equation}. What's {v}?",
    "Which number is {v}? {equation}",
)
PUZZLE_ADD: Phrases = (
    "I think of a number and add {b}, and I get {c}. What was my number?",
    "{name} picked a number. With {b} more it would be {c}. Which number is it?",
    "After a gift of {b} stickers {name} owns {c}.{aside} How many were there before?",
    "It is {b} degrees warmer than last night, now {c} degrees. How many degrees was it last night?",
    "What plus {b} makes {c}?",
)
PUZZLE_TAKE: Phrases = (
    "I think of a number and subtract {b}, and I get {c}. What was my number?",
    "{name} picked a number. With {b} less it would be {c}. Which number is it?",
    "After giving away {b} stickers {name} has {c} left.{aside} How many were there before?",
    "It is {b} degrees colder than last night, now {c} degrees. How many degrees was it last night?",
    "From what must I take {b} to get {c}?",
)
PUZZLE_TIMES_ADD: Phrases = (
    "I think of a number, multiply it by {a}, add {b}, and I get {c}. What was my number?",
    "{a} times a number plus {b} is {c}. What is the number?",
    "The taxi takes ${b} at the start and ${a} for every km.{aside} I paid ${c}. How many km was the ride?",
    "A plumber charges ${b} for coming and ${a} an hour. The bill says ${c}.{aside} How many hours was that?",
    "{a} equal boxes and a {b} kg crate weigh {c} kg together. How many kg is one box?",
    "{name} had ${b} and saved ${a} each week until it was ${c}. How many weeks did that take?",
)
PUZZLE_TIMES_TAKE: Phrases = (
    "I think of a number, multiply it by {a}, subtract {b}, and I get {c}. What was my number?",
    "{a} times a number minus {b} is {c}. What is the number?",
    "{name} bought {a} tickets with ${b} off the bill and paid ${c}.{aside} How many dollars was one ticket?",
    "I bake {a} equal trays of rolls. After {b} are eaten {c} remain. How many rolls fit on a tray?",
)
SAME: Phrases = (
    "Solve for x: {a}x + {b} = {c}x + {d}",
    "{a} times a number plus {b} is as much as {c} times the number plus {d}. Which number is it?",
    "One gym costs ${a} a month plus ${b} once, another ${c} a month plus ${d} once.{aside} "
    "After how many months have both cost the same?",
    "{name} pays ${b} plus ${a} an hour for a boat, the neighbour ${d} plus ${c} an hour. "
    "For how many hours is the price equal?",
)
ALGEBRA_ASIDES: Phrases = (
    "It took {n} minutes.",
    "That was on page {n} of the book.",
    "Last time it was ${n} more.",
    "We were {n} people.",
)


def linear(rng: Random, difficulty: int) -> Draft:
    """One unknown: x + b = c (1), ax + b = c (2), both sides (3), one bracket (4), two brackets (5)."""
    size = (9, 9, 12, 15, 20)[difficulty - 1]
    v = pick(rng, "xyzntk")
    x, b, e, f = (_not_zero(rng, size) for _ in range(4))
    a, c = rng.sample(range(2, 10), 2)
    told: dict[str, object] = {"name": pick(rng, PEOPLE), "aside": aside(rng, ALGEBRA_ASIDES)}
    told |= {"a": a, "b": abs(b)}
    story: Phrases | None = None
    expanded: list[str] = []
    if difficulty == 1:
        left, right = f"{v}{_plus(b)}", str(x + b)
        story, told["c"] = (PUZZLE_ADD if b > 0 else PUZZLE_TAKE), x + b
        sides = (1, b, 0, x + b)
    elif difficulty == 2:
        left, right = f"{a}{v}{_plus(b)}", str(a * x + b)
        story, told["c"] = (PUZZLE_TIMES_ADD if b > 0 else PUZZLE_TIMES_TAKE), a * x + b
        sides = (a, b, 0, a * x + b)
    elif difficulty == 3:
        d = a * x + b - c * x
        left, right = f"{a}{v}{_plus(b)}", f"{c}{v}{_plus(d)}"
        story, told["c"], told["d"] = (SAME if b > 0 and d > 0 else None), c, d
        sides = (a, b, c, d)
    elif difficulty == 4:
        rest = a * (x + b) + e - c * x
        left, right = f"{a}({v}{_plus(b)}){_plus(e)}", f"{c}{v}{_plus(rest)}"
        expanded = [f"{a}{v}{_plus(a * b)}{_plus(e)} = {right}"]
        sides = (a, a * b + e, c, rest)
    else:
        g = pick(rng, [n for n in range(2, 12) if n != a + c])
        rest = a * (x + b) + c * (x + e) - g * (x + f)
        left, right = f"{a}({v}{_plus(b)}) + {c}({v}{_plus(e)})", f"{g}({v}{_plus(f)}){_plus(rest)}"
        expanded = [
            f"{a}{v}{_plus(a * b)} + {c}{v}{_plus(c * e)} = {g}{v}{_plus(g * f)}{_plus(rest)}",
        ]
        sides = (a + c, a * b + c * e, g, g * f + rest)
    equation = f"{left} = {right}"
    # stories are about money, weeks and boxes: nothing in them is negative
    if story and rng.random() < 0.5 and x > 0 and (difficulty > 2 or sides[3] > 0):
        prompt = ask(rng, story, NUMBER, **told)
        working = [equation, *expanded] if difficulty > 1 else []
    else:
        prompt = ask(rng, EQUATION, NUMBER, v=v, equation=equation)
        working = expanded
    working += _solved(v, *sides)
    return Draft(prompt, str(x), "number", equation.replace(v, "x"), tuple(working))


def _not_zero(rng: Random, size: int) -> int:
    return pick(rng, (-1, 1)) * between(rng, 1, size)


def _term(coefficient: int, variable: str) -> str:
    return {1: "", -1: "-"}.get(coefficient, str(coefficient)) + variable


def _plus(constant: int) -> str:
    return f" + {constant}" if constant >= 0 else f" - {-constant}"


def _solved(v: str, a: int, b: int, c: int, d: int) -> list[str]:
    """The lines from av + b = cv + d to v."""
    lines = []
    if c:
        lines.append(f"{_term(a, v)} - {_term(c, v)} = {d}{_plus(-b)}")
    else:
        lines.append(f"{_term(a, v)} = {d}{_plus(-b)}")
    if a - c != 1:
        lines += [f"{_term(a - c, v)} = {d - b}", f"{v} = {d - b} / {a - c}"]
    return [*lines, f"{v} = {(d - b) // (a - c)}"]


NEXT: Phrases = (
    "What comes next in the sequence {shown}, ...?",
    "Which number continues the pattern? {shown}, ?",
    "Continue the series by one term: {shown}.",
    "A puzzle book gives {shown} and asks for the next number. What is it?",
    "{shown}, ... what is the next number?",
    "Next number in {shown}?",
    "An aptitude test shows {shown}. What is the next number?",
    "Find the term after these: {shown}.",
    "The row goes {shown}. What comes next?",
    "Can you see the pattern in {shown}? Give me the next number.",
)
GROWTH: Phrases = (
    "What comes next in the sequence {shown}, ...?",
    "A bean grew to {shown} mm in the first weeks.{aside} If it goes on like that, what comes next, in mm?",
    "Our shop had {shown} customers on its first days.{aside} With the same pattern, what comes next?",
    "{name} did {shown} push-ups on the last days. What comes next if the pattern holds?",
    "Followers month by month: {shown}.{aside} What comes next if this goes on?",
)
SEQUENCE_ASIDES: Phrases = (
    "I wrote this down {n} days ago.",
    "A friend of mine has {n}.",
    "The best anyone ever had was {n}00.",
)


def sequences(rng: Random, difficulty: int) -> Draft:
    """The next term: steady steps (1, 2), a ratio (3), growing steps (4), sums or times-and-plus (5)."""
    a = between(rng, 1, 30)
    if difficulty <= 2:
        step = between(rng, 2, 12) if difficulty == 1 else pick(rng, (-1, 1)) * between(rng, 5, 40)
        terms = [a * (1 if difficulty == 1 else 7) + i * step for i in range(6)]
        working = [f"Each term is {abs(step)} {'more' if step > 0 else 'less'} than the last."]
        working.append(f"{terms[-2]}{_plus(step)} = {terms[-1]}")
    elif difficulty == 3:
        a, ratio = between(rng, 2, 15), pick(rng, (2, 3, 4, -2))
        terms = [a * ratio**i for i in range(6)]
        working = [f"Each term is {ratio} times the last.", f"{ratio} * {terms[-2]} = {terms[-1]}"]
    elif difficulty == 4:
        step, growth = between(rng, 1, 20), between(rng, 2, 9)
        terms = [a + i * step + growth * i * (i - 1) // 2 for i in range(7)]
        steps = [after - before for before, after in pairwise(terms)]
        working = [f"The steps are {', '.join(map(str, steps[:-1]))}: each {growth} more."]
        working += [f"{steps[-2]} + {growth} = {steps[-1]}", f"{terms[-2]} + {steps[-1]} = {terms[-1]}"]
    elif rng.random() < 0.5:
        terms = [a, a + between(rng, 1, 20)]
        while len(terms) < 7:
            terms.append(terms[-1] + terms[-2])
        working = ["Each term is the sum of the two before.", f"{terms[-3]} + {terms[-2]} = {terms[-1]}"]
    else:
        times, plus = pick(rng, (2, 3)), between(rng, 1, 9)
        terms = [a]
        while len(terms) < 6:
            terms.append(times * terms[-1] + plus)
        working = [f"Each term is {times} times the last plus {plus}."]
        working += [f"{times} * {terms[-2]} = {times * terms[-2]}"]
        working += [f"{times * terms[-2]} + {plus} = {terms[-1]}"]
    shown = ", ".join(map(str, terms[:-1]))
    grows = terms[0] > 0 and all(after > before for before, after in pairwise(terms))
    told = {"name": pick(rng, PEOPLE), "aside": aside(rng, SEQUENCE_ASIDES)}
    prompt = ask(rng, GROWTH if grows and rng.random() < 0.3 else NEXT, NUMBER, shown=shown, **told)
    return Draft(prompt, str(terms[-1]), "number", shown, tuple(working))


LARGER: Phrases = (
    "Two numbers add up to {total} and differ by {gap}. What is the larger one?",
    "The sum of two numbers is {total} and their difference is {gap}. Find the larger number.",
    "{one} and {two} are {total} years old together, and {one} is {gap} years older.{aside} How old is {one}?",
    "{one} and {two} sold {total} tickets between them, {one} {gap} more than {two}.{aside} "
    "How many did {one} sell?",
    "A string of {total} cm is cut in two, and one piece is {gap} cm longer. How long is the longer one, in cm?",
)
SMALLER: Phrases = (
    "Two numbers add up to {total} and differ by {gap}. What is the smaller one?",
    "The sum of two numbers is {total} and their difference is {gap}. Find the smaller number.",
    "{one} and {two} are {total} years old together, and {one} is {gap} years older.{aside} How old is {two}?",
    "{one} and {two} sold {total} tickets between them, {one} {gap} more than {two}.{aside} "
    "How many did {two} sell?",
    "A bat and a ball cost ${total} together, and the bat costs ${gap} more than the ball. "
    "How many dollars is the ball?",
)
PRICES: Phrases = (
    "{a} {one}s and {b} {two}s cost ${first}, while {c} {one}s and {e} {two}s cost ${second}. "
    "What is the price of one {one} in dollars?",
    "Yesterday we paid ${first} for {a} {one}s and {b} {two}s. Today {c} {one}s and {e} {two}s were ${second}."
    "{aside} How much is a single {one}, in dollars?",
    "{name} bought {a} {one}s and {b} {two}s for ${first}. I bought {c} {one}s and {e} {two}s for ${second}."
    "{aside} What does one {one} cost, in dollars?",
    "Two receipts: {a} {one}s + {b} {two}s = ${first}, and {c} {one}s + {e} {two}s = ${second}. "
    "How many dollars is a {one}?",
    "Table 1 had {a} {one}s and {b} {two}s for ${first}, table 2 had {c} {one}s and {e} {two}s for ${second}. "
    "What do we charge for one {one}, in dollars?",
)
PAIRS = (
    ("coffee", "tea"),
    ("chair", "lamp"),
    ("burger", "salad"),
    ("rose", "tulip"),
    ("map", "guide"),
    ("ball", "bat"),
    ("pizza", "soda"),
    ("ticket", "poster"),
)
UNKNOWN_ASIDES: Phrases = (
    "That was {n} days ago.",
    "About {n} others were there.",
    "It is {n} km from here.",
)


def unknowns(rng: Random, difficulty: int) -> Draft:
    """Two unknowns from two facts: sum and difference (1, 2), then prices of two things bought together (3 to 5)."""
    told = {"name": pick(rng, PEOPLE), "aside": aside(rng, UNKNOWN_ASIDES)}
    if difficulty <= 2:
        small = between(rng, 2, 40 if difficulty == 1 else 90)
        large = small + between(rng, 1, 30 if difficulty == 1 else 90)
        total, gap = small + large, large - small
        larger = rng.random() < 0.5
        one, two = some(rng, 2, PEOPLE)
        phrases, sign, answer = (LARGER, "+", large) if larger else (SMALLER, "-", small)
        prompt = ask(rng, phrases, NUMBER, total=total, gap=gap, one=one, two=two, **told)
        halved = (f"{total} {sign} {gap} = {2 * answer}", f"{2 * answer} / 2 = {answer}")
        return Draft(prompt, str(answer), "number", f"{small} {large} {larger}", halved)
    one, two = some(rng, 2, pick(rng, PAIRS))
    most, dearest = (3, 9) if difficulty == 3 else (5, 15) if difficulty == 4 else (9, 40)
    a, b, c, e = (between(rng, 2, most) for _ in range(4))
    while a * e == b * c:
        e = between(rng, 2, most + 3)
    x, y = between(rng, 2, dearest), between(rng, 2, dearest)
    first, second = a * x + b * y, c * x + e * y
    prompt = ask(
        rng, PRICES, NUMBER, a=a, b=b, c=c, e=e, one=one, two=two, first=first, second=second, **told
    )
    det = a * e - b * c
    lines = (
        f"{a}x + {b}y = {first}, {c}x + {e}y = {second}",
        f"{a} * {e} - {b} * {c} = {a * e} - {b * c} = {det}",
        f"{first} * {e} - {b} * {second} = {first * e} - {b * second} = {det * x}",
        f"x = {det * x} / {det} = {x}",
    )
    return Draft(prompt, str(x), "number", f"{a} {b} {first} {c} {e} {second}", lines)


FAMILIES = (
    Family(
        "linear",
        "algebra",
        linear,
        (EQUATION, PUZZLE_ADD, PUZZLE_TAKE, PUZZLE_TIMES_ADD, PUZZLE_TIMES_TAKE, SAME),
    ),
    Family("sequences", "algebra", sequences, (NEXT, GROWTH)),
    Family("unknowns", "algebra", unknowns, (LARGER, SMALLER, PRICES)),
)
