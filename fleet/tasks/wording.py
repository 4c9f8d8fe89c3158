"""What people write around a question: greetings, manners, wishes about the form of the answer; and names of things."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")
Phrases = tuple[str, ...]
"""Ways of asking one thing, as format strings. The first is the plainest; all have its fields, and maybe more."""

GREETS, HASTES = 0.4, 0.12  # shares of the prompts with an opening, and of those typed in haste


def _words(text: str) -> list[str]:
    return text.split()


OPENINGS = (
    "Hi! ",
    "Hello! ",
    "Hey! ",
    "Good morning! ",
    "Quick question: ",
    "Small thing: ",
    "One more: ",
    "Next one: ",
    "Please help. ",
    "Can you help me with this? ",
    "Could you check this for me? ",
    "I keep getting this wrong. ",
    "Stuck on this one. ",
    "From my daughter's homework: ",
    "This was in my son's test. ",
    "Sorry, me again. ",
    "We have a quiz at work tomorrow. ",
    "I want to double check something. ",
    "My brain is fried today. ",
    "Settle a bet for us. ",
    "A friend and I disagree about this. ",
    "I am in a hurry. ",
)
HASTY_OPENINGS = ("", "", "hey ", "ok ", "quick one: ", "pls help: ")
HASTY_CLOSINGS = ("", "", "", " thx", " pls", " asap")
NUMBER = (
    *[""] * 6,
    " Just the number, please.",
    " Answer with a number only.",
    " Only the number.",
    " Give me the number and nothing else.",
    " Thanks!",
    " No explanation needed.",
)
ANSWER = (
    *[""] * 6,
    " Only the answer, please.",
    " Just the answer.",
    " Thanks!",
    " No explanation needed.",
    " Keep it short.",
    " One word is enough.",
)
LIST = (
    *[""] * 4,
    " Separate them with commas.",
    " Just the list, please.",
    " Commas in between, please.",
    " Thanks!",
    " No explanation needed.",
)
DATE = ("", "", " Write it as YYYY-MM-DD.", " Please give the full date.", " ISO format, please.", " Thanks!")
CLOCK = (
    " Use the 24-hour clock (HH:MM).",
    " Answer as HH:MM.",
    " Reply with the time only, like 07:05.",
    " HH:MM, please.",
    " Write it like 18:30.",
)
LETTER = ("", "", " Answer with the letter.", " Reply with one letter only.", " Just the letter.", " Thanks!")
JSON = (
    " Nothing but the JSON, please.",
    " Reply with JSON only.",
    " Output valid JSON.",
    " No text around it.",
    " Just the JSON.",
)

COLOURS = _words("red blue green yellow white black orange purple")
PEOPLE = _words(
    "Ada Ben Carla Dmitri Elena Farid Grace Hugo Ines Jonas Keiko Luis Maria Noor Omar Paula Quentin Rosa Samir Tara "
    "Uma Victor Wanda Xenia Yusuf Zoe Anna Boris Chloe Daniel Emma Felix Hana Igor Julia Kofi Lena Marco Nina Oscar "
    "Priya Rafael Sofia Tomas Vera Akira Bruno Diego Fatima Leila"
)
SURNAMES = _words(
    "Alvarez Berg Costa Dubois Evans Fischer Garcia Hansen Ivanov Jansen Kim Lopez Meyer Nakamura Okafor Patel Quinn "
    "Rossi Schmidt Tanaka Usman Varga Weber Yilmaz Zhang"
)
CITIES = _words(
    "Oslo Lisbon Kyoto Nairobi Quito Turin Denver Lyon Perth Cork Tallinn Hanoi Malmo Porto Leeds Austin Ghent Bergen "
    "Seville Krakow Dakar Cusco Adelaide Halifax"
)
NOUNS = _words(
    "apple basket candle dragon engine feather garden hammer island jacket kettle ladder mirror needle orange pencil "
    "quarry rabbit saddle tunnel umbrella violin window yellow zebra anchor bridge cactus desert eagle forest guitar "
    "harbor insect jungle kitten lemon marble napkin ocean pepper quilt river silver turtle uncle valley wagon yogurt "
    "almond button carpet donkey ember falcon glacier hazel ivory jigsaw koala lantern meadow nectar onion parrot "
    "radish salmon thunder urchin velvet walnut acorn barrel copper dolphin emerald ferry goblet hockey igloo juniper"
)
ITEMS = _words(
    "notebooks pens mugs candles apples lemons T-shirts posters batteries plates towels stickers lamps umbrellas "
    "cushions books tickets sandwiches brushes envelopes"
)

_STARTS = _words(
    "ba be bo da de do fa fi ga go ha ka ki la le lo lu ma me mi mo na ne no pa pe pi ra re ri ro sa se ta te"
)


def ask(rng: Random, phrases: Phrases, closings: Sequence[str], **fields: object) -> str:
    """One of the phrases as somebody would send it: with a greeting, with a wish, or typed in haste."""
    template = pick(rng, phrases)
    if rng.random() < HASTES and "" in closings:  # who must say how to answer takes the time to
        template = template[0].lower() + template[1:].rstrip("?., ")
        return pick(rng, HASTY_OPENINGS) + template.format_map(fields) + pick(rng, HASTY_CLOSINGS)
    opening = pick(rng, OPENINGS) if rng.random() < GREETS else ""
    question, closing = template.format_map(fields), pick(rng, closings)
    stop = "." if closing and question[-1] not in ".?!" else ""
    return f"{opening}{question}{stop}{closing}"


def aside(rng: Random, remarks: Phrases, share: float = 0.4) -> str:
    """A remark that has nothing to do with the answer, after a blank; often none. `{n}` is any small number."""
    return f" {pick(rng, remarks).format(n=between(rng, 2, 60))}" if rng.random() < share else ""


def pick(rng: Random, entries: Sequence[T]) -> T:
    """One entry; thrice as fast as `choice`."""
    return entries[int(rng.random() * len(entries))]


def between(rng: Random, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


def some(rng: Random, count: int, pool: Sequence[T]) -> list[T]:
    """`count` different entries of a pool."""
    return rng.sample(pool, count)


def invented(rng: Random, length: int) -> str:
    """A word nobody has seen, of a length."""
    return "".join(pick(rng, _STARTS) for _ in range(length))[:length]


def counted(count: int, noun: str) -> str:
    """1 hour, 2 hours."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def spread(rng: Random, digits: int) -> int:
    """A whole number of so many digits."""
    return between(rng, 10 ** (digits - 1), 10**digits - 1)


def joined(parts: Sequence[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
