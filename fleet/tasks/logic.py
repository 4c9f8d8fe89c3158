"""Logic and ordering: who ranks where, what follows from rules, and who holds what after some swaps."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import ANSWER, CITIES, COLOURS, LETTER, PEOPLE, Phrases, ask, pick, some

SCALES = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("heavier", "lighter", "heaviest", "lightest"),
    ("richer", "poorer", "richest", "poorest"),
    ("stronger", "weaker", "strongest", "weakest"),
)
RANK: Phrases = (
    "{facts} Who is the {which}?",
    "Among {count} friends: {facts} Which of them is the {which}?",
    "I know this about my {count} cousins. {facts} Who is the {which}?",
    "{facts} If you line up all {count}, who is the {which}?",
    "A riddle for you. {facts} Who is the {which}?",
    "Our team has {count} people. {facts} Can you tell me who is the {which}?",
    "Read carefully. {facts} Name the {which}.",
    "{facts} That's all I know. So who is the {which}?",
    "Here is what people told me. {facts} I wonder who is the {which}?",
    "From a book of riddles: {facts} Find the {which}.",
    "{count} people, and this is sure: {facts} Which one is the {which}?",
    "{facts} Sort them out and tell me the {which}.",
)
HABITS: Phrases = (
    "{name} lives in {city}.",
    "{name} likes chess.",
    "{name} plays the guitar.",
    "{name} comes from {city}.",
    "{name} works on Mondays.",
)


def ranking(rng: Random, difficulty: int) -> Draft:
    """3 to 6 people compared pair by pair, out of order; asks for an end, from difficulty 3 for any place."""
    count = max(3, difficulty + 1)
    people = some(rng, count, PEOPLE)
    more, less, most, least = pick(rng, SCALES)
    facts = [
        f"{one} is {more} than {two}." if rng.random() < 0.6 else f"{two} is {less} than {one}."
        for one, two in pairwise(people)
    ]
    rng.shuffle(facts)
    place = pick(rng, (0, count - 1)) if difficulty < 3 else int(rng.random() * count)
    from_top = place <= (count - 1) // 2
    rank = place if from_top else count - 1 - place
    which = f"{('', 'second ', 'third ', 'fourth ')[rank]}{most if from_top else least}"
    told = list(facts)
    for _ in range(int(rng.random() * difficulty / 2 + 0.5)):
        habit = pick(rng, HABITS).format(name=pick(rng, people), city=pick(rng, CITIES))
        told.insert(int(rng.random() * len(told)), habit)
    prompt = ask(rng, RANK, ANSWER, facts=" ".join(told), count=count, which=which)
    order, symbol = (people, ">") if from_top else (people[::-1], "<")
    working = (
        f" {symbol} ".join(order),
        ", ".join(f"{n} {one}" for n, one in enumerate(order[: rank + 1], 1)),
    )
    return Draft(prompt, people[place], "exact", f"{sorted(facts)} {which}", working)


CLAUSES = (
    "the lamp is on", "the door is open", "the bell rings", "the dog barks", "the fan runs", "the heater is warm",
    "the window is shut", "the alarm sounds", "the screen is blue", "the pump works", "the gate is locked",
    "the cat sleeps", "the kettle boils", "the light is green", "the printer hums", "the valve is closed",
    "the radio plays", "the tank is full", "the baby laughs", "the bus is late", "the shop is empty", "the road is wet",
    "the coffee is hot", "the phone rings", "the garden is dry", "the train stops", "the fire burns", "the tap drips",
)  # fmt: skip
FOLLOWS: Phrases = (
    "{told} {fact} Which of these must be true as well?",
    "Suppose the following rules hold. {told} Right now we know this: {fact} What follows?",
    "These rules never fail: {told} I can see this: {fact} What else is certain?",
    "Our smart home works like this. {told} At the moment we know: {fact} Which of these is sure?",
    "{told} Assume this: {fact} Which of the statements follows?",
    "Logic test. {told} Given: {fact} What must be the case?",
    "Here is how things hang together. {told} Now the following is true: {fact} Pick what has to be true too.",
    "From an aptitude test: {told} It is known: {fact} Which conclusion is right?",
    "{told} One look tells me: {fact} What do I know besides?",
    "In this house it goes like that. {told} Today: {fact} So what is true as well?",
    "Assume all of this holds. {told} Also given: {fact} Which line below is certain?",
    "{told} Now suppose: {fact} Only one of these follows. Which?",
)
RULES: Phrases = ("If {p}, then {q}.", "Whenever {p}, {q}.", "{Q} if {p}.", "Every time {p}, {q}.")


def rules(rng: Random, difficulty: int) -> Draft:
    """A fact, a chain of 1 to 5 rules among others that lead nowhere, and four things that might follow."""
    clauses = some(rng, 2 * difficulty + 6, CLAUSES)
    chain, rest = clauses[: difficulty + 1], clauses[difficulty + 1 :]
    stated = list(pairwise(chain))
    stated += [(rest[2 * i], rest[2 * i + 1]) for i in range(difficulty // 2)]  # never begun
    stated += [(rest[-1], chain[0])]  # leads to the fact, so nothing follows about rest[-1]
    rng.shuffle(stated)
    told = [pick(rng, RULES).format(p=p, q=q, Q=_sentence(q)) for p, q in stated]
    wrong = [rest[-1], *(q for _, q in stated if q in rest), *rest[2 * (difficulty // 2) : -1]]
    options = [chain[-1], *wrong[:3]]
    rng.shuffle(options)
    letter = "ABCD"[options.index(chain[-1])]
    shown = "\n".join(f"{name}) {option}" for name, option in zip("ABCD", options, strict=True))
    fact = f"{_sentence(chain[0])}."
    question = ask(rng, FOLLOWS, ("",), told=" ".join(told), fact=fact)
    prompt = f"{question}\n{shown}\n{pick(rng, LETTER).strip()}".strip()
    working = (*(f"{p}, so {q}" for p, q in pairwise(chain)), f"{letter}) {chain[-1]}")
    return Draft(prompt, letter, "choice", f"{sorted(stated)} {fact} {options}", working)


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:]


AT_LAST: Phrases = (
    "At the start {start}. Now they trade. {moved} {question}",
    "{start}. {moved} {question}",
    "We play a game. First {start}. {moved} {question}",
    "In the beginning {start}. Then this happens. {moved} {question}",
    "Keep track of this: {start}. {moved} {question}",
    "{start}. Watch closely. {moved} {question}",
    "At the party {start}. Later they swap around. {moved} {question}",
    "Everybody brought something: {start}. {moved} {question}",
)
WHAT: Phrases = (
    "What colour is the {thing} that {person} has at the end?",
    "Which colour is the {thing} that {person} has at the end?",
    "Tell me the colour of the {thing} that {person} has at the end.",
    "After all that, what colour is the {thing} that {person} has at the end?",
)
WHO: Phrases = (
    "Who has the {colour} {thing} at the end?",
    "Which person has the {colour} {thing} at the end?",
    "Tell me who has the {colour} {thing} at the end.",
    "So who has the {colour} {thing} at the end?",
)
THINGS = ("ball", "book", "card", "hat", "key", "mug", "scarf", "pen", "bag", "balloon")


def swaps(rng: Random, difficulty: int) -> Draft:
    """2 to 4 people hold one thing each and swap 1 to 6 times; who holds a thing, or what a person holds."""
    count, moves = ((2, 1), (3, 1), (3, 2), (4, 3), (4, 6))[difficulty - 1]
    people, colours, thing = some(rng, count, PEOPLE), some(rng, count, COLOURS), pick(rng, THINGS)
    holds = dict(zip(people, colours, strict=True))
    start = ", ".join(f"{person} has the {colour} {thing}" for person, colour in holds.items())
    told: list[str] = []
    working: list[str] = []
    moved_ones: list[str] = []
    for _ in range(moves):
        one, two = rng.sample(people, 2)
        while {one, two} == set(moved_ones[-2:]):  # back again at once
            one, two = rng.sample(people, 2)
        moved_ones += [one, two]
        holds[one], holds[two] = holds[two], holds[one]
        told.append(f"{one} and {two} swap.")
        working.append(f"{one} {holds[one]}, {two} {holds[two]}")
    moved = pick(rng, (" Then ", " ", " Next, ", " After that ")).join(told)
    person = pick(rng, moved_ones)
    colour = holds[person]
    if rng.random() < 0.5:
        question, answer, asked = pick(rng, WHAT).format(thing=thing, person=person), colour, "what"
    else:
        question, answer, asked = pick(rng, WHO).format(thing=thing, colour=colour), person, "who"
    prompt = ask(rng, AT_LAST, ANSWER, start=start, moved=moved, question=question)
    return Draft(prompt, answer, "exact", f"{start} {told} {asked} {person}", tuple(working))


FAMILIES = (
    Family("ranking", "logic", ranking, (RANK,)),
    Family("rules", "logic", rules, (FOLLOWS,)),
    Family("swaps", "logic", swaps, (AT_LAST, WHAT, WHO)),
)
