"""Logic and ordering: who ranks where, what follows from rules, and who holds what after some swaps."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import ANSWER, COLOURS, LETTER, PEOPLE, dress, some

SCALES = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("heavier", "lighter", "heaviest", "lightest"),
    ("richer", "poorer", "richest", "poorest"),
)
CLAUSES = (
    "the lamp is on", "the door is open", "the bell rings", "the dog barks", "the fan runs", "the heater is warm",
    "the window is shut", "the alarm sounds", "the screen is blue", "the pump works", "the gate is locked",
    "the cat sleeps", "the kettle boils", "the light is green", "the printer hums", "the valve is closed",
)  # fmt: skip
THINGS = ("ball", "book", "card", "hat", "key", "mug", "scarf", "pen")


def ranking(rng: Random, difficulty: int) -> Draft:
    """3 to 7 people compared pair by pair, out of order; asks for an end, from difficulty 3 for any place."""
    count = difficulty + 2
    people = some(rng, count, PEOPLE)
    more, less, most, least = rng.choice(SCALES)
    facts = [
        f"{one} is {more} than {two}." if rng.random() < 0.6 else f"{two} is {less} than {one}."
        for one, two in pairwise(people)
    ]
    rng.shuffle(facts)
    place = rng.choice((0, count - 1)) if difficulty < 3 else rng.randrange(count)
    from_top = place <= (count - 1) // 2
    rank = place if from_top else count - 1 - place
    which = f"{('', 'second ', 'third ', 'fourth ')[rank]}{most if from_top else least}"
    asked = [
        f"{' '.join(facts)} Who is the {which}?",
        f"Among {count} friends: {' '.join(facts)} Which of them is the {which}?",
    ]
    return Draft(dress(rng, rng.choice(asked), ANSWER), people[place], "exact", f"{sorted(facts)} {which}")


def rules(rng: Random, difficulty: int) -> Draft:
    """A fact, a chain of 1 to 5 rules among others that lead nowhere, and four things that might follow."""
    clauses = some(rng, 2 * difficulty + 6, list(CLAUSES))
    chain, rest = clauses[: difficulty + 1], clauses[difficulty + 1 :]
    stated = list(pairwise(chain))
    stated += [(rest[2 * i], rest[2 * i + 1]) for i in range(difficulty // 2)]  # never begun
    stated += [(rest[-1], chain[0])]  # leads to the fact, so nothing follows about rest[-1]
    rng.shuffle(stated)
    told = [
        rng.choice((f"If {p}, then {q}.", f"Whenever {p}, {q}.", f"{q[0].upper()}{q[1:]} if {p}."))
        for p, q in stated
    ]
    wrong = [rest[-1], *(q for _, q in stated if q in rest), *rest[2 * (difficulty // 2) : -1]]
    options = [chain[-1], *wrong[:3]]
    rng.shuffle(options)
    letter = "ABCD"[options.index(chain[-1])]
    shown = "\n".join(f"{name}) {option}" for name, option in zip("ABCD", options, strict=True))
    fact = f"{chain[0][0].upper()}{chain[0][1:]}."
    asked = [
        f"{' '.join(told)} {fact} Which of these must be true as well?\n{shown}\n",
        f"Suppose the following rules hold. {' '.join(told)} Right now we know this: {fact} What follows?\n{shown}\n",
    ]
    closing = rng.choice(LETTER).strip()
    prompt = (dress(rng, rng.choice(asked), ("",)) + closing).strip()
    return Draft(prompt, letter, "choice", f"{sorted(told)} {fact} {options}")


def swaps(rng: Random, difficulty: int) -> Draft:
    """3 to 5 people hold one thing each and swap 1 to 9 times; who holds a thing, or what a person holds."""
    count, moves = ((3, 1), (3, 2), (4, 4), (4, 6), (5, 9))[difficulty - 1]
    people, colours, thing = some(rng, count, PEOPLE), some(rng, count, COLOURS), rng.choice(THINGS)
    holds = dict(zip(people, colours, strict=True))
    start = ", ".join(f"{person} has the {colour} {thing}" for person, colour in holds.items())
    told = []
    for _ in range(moves):
        one, two = rng.sample(people, 2)
        holds[one], holds[two] = holds[two], holds[one]
        told.append(f"{one} and {two} swap.")
    moved = " Then ".join(told)
    if rng.random() < 0.5:
        person = rng.choice(people)
        question, answer = f"What colour is the {thing} that {person} has at the end?", holds[person]
    else:
        person, colour = rng.choice(list(holds.items()))
        question, answer = f"Who has the {colour} {thing} at the end?", person
    text = rng.choice(
        (f"{start}. {moved} {question}", f"At the start {start}. Now they trade. {moved} {question}")
    )
    return Draft(dress(rng, text, ANSWER), answer, "exact", f"{start} {told} {question}")


FAMILIES = (
    Family("ranking", "logic", ranking),
    Family("rules", "logic", rules),
    Family("swaps", "logic", swaps),
)
