"""What people write around a question: greetings, manners, wishes about the form of the answer; and names of things."""

from __future__ import annotations

from random import Random


def _words(text: str) -> list[str]:
    return text.split()


OPENINGS = (
    *[""] * 8,
    "Hi! ",
    "Hello! ",
    "Quick question: ",
    "Can you help me with this? ",
    "I keep getting this wrong. ",
    "From my daughter's homework: ",
    "Sorry, me again. ",
    "We have a quiz at work tomorrow. ",
    "I want to double check something. ",
)
NUMBER = (
    "",
    "",
    "",
    " Just the number, please.",
    " Answer with a number only.",
    " Thanks!",
    " No explanation needed.",
)
ANSWER = ("", "", "", " Only the answer, please.", " Thanks!", " No explanation needed.", " Keep it short.")
LIST = ("", "", " Separate them with commas.", " Just the list, please.", " Thanks!")
DATE = ("", " Write it as YYYY-MM-DD.", " Please give the full date.", " Thanks!")
CLOCK = (" Use the 24-hour clock (HH:MM).", " Answer as HH:MM.", " Reply with the time only, like 07:05.")
LETTER = ("", " Answer with the letter.", " Reply with one letter only.", " Thanks!")
JSON = (" Nothing but the JSON, please.", " Reply with JSON only.", " Output valid JSON.")

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


def dress(rng: Random, question: str, closings: tuple[str, ...]) -> str:
    """The question as somebody would send it."""
    return f"{rng.choice(OPENINGS)}{question}{rng.choice(closings)}"


def some(rng: Random, count: int, pool: list[str]) -> list[str]:
    """`count` different entries of a pool."""
    return rng.sample(pool, count)


def invented(rng: Random, length: int) -> str:
    """A word nobody has seen, of a length."""
    return "".join(rng.choice(_STARTS) for _ in range(length))[:length]


def counted(count: int, noun: str) -> str:
    """1 hour, 2 hours."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def spread(rng: Random, digits: int) -> int:
    """A whole number of so many digits."""
    return rng.randrange(10 ** (digits - 1), 10**digits)


def joined(parts: list[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
