"""Units: from one that is known to one that is asked for."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import NUMBER, PEOPLE, Phrases, aside, ask, between, pick

# What one of the first unit is in the second, exactly; difficulty decides which are drawn.
FACTORS: tuple[tuple[str, str, str, int], ...] = (
    ("kilometers", "meters", "1000", 1),
    ("kilograms", "grams", "1000", 1),
    ("hours", "minutes", "60", 1),
    ("meters", "centimeters", "100", 1),
    ("liters", "milliliters", "1000", 1),
    ("grams", "kilograms", "0.001", 2),
    ("centimeters", "meters", "0.01", 2),
    ("milliliters", "liters", "0.001", 2),
    ("days", "hours", "24", 2),
    ("weeks", "hours", "168", 3),
    ("days", "minutes", "1440", 3),
    ("tonnes", "grams", "1000000", 3),
    ("hectares", "square meters", "10000", 3),
    ("miles", "kilometers", "1.609344", 4),
    ("pounds", "kilograms", "0.45359237", 4),
    ("inches", "centimeters", "2.54", 4),
    ("feet", "meters", "0.3048", 4),
    ("ounces", "grams", "28.349523125", 4),
)
CONVERT: Phrases = (
    "Convert {value} {source} to {target}.{rounding}",
    "How many {target} are {value} {source}?{rounding}",
    "The form wants {target} but I only know it is {value} {source}. What do I write?{rounding}",
    "What is {value} {source} in {target}?{rounding}",
    "{value} {source} in {target}?{rounding}",
    "Express {value} {source} in {target}.{rounding}",
    "{name} says it was {value} {source}.{aside} How much is that in {target}?{rounding}",
    "The manual says {value} {source}, and I need {target}.{aside} How many?{rounding}",
    "I measured {value} {source}.{aside} What would that be in {target}?{rounding}",
    "If something is {value} {source}, how many {target} is it?{rounding}",
    "{value} {source} equals how many {target}?{rounding}",
    "My American cousin asked what {value} {source} are in {target}. What do I tell her?{rounding}",
)
ROUNDINGS: Phrases = (
    " Round to one decimal.",
    " To one decimal place, please.",
    " Rounded to one decimal place.",
    " Give it with one decimal.",
)
UNIT_ASIDES: Phrases = (
    "It cost ${n}.",
    "We bought it {n} days ago.",
    "There are {n} of us.",
    "The shop is {n} km away.",
    "That is number {n} on the list.",
)


def units(rng: Random, difficulty: int) -> Draft:
    """Metric steps (1, 2), longer chains (3), imperial units (4), temperatures and speeds (5)."""
    if difficulty == 5:
        source, target, exact, working, value = _formula(rng)
    else:
        source, target, factor, _ = pick(rng, [row for row in FACTORS if row[3] == difficulty])
        value = between(rng, *((2, 60), (3, 950), (2, 60), (3, 480))[difficulty - 1])
        exact = value * Decimal(factor)
        working = [f"one is {factor} {target}", f"{value} * {factor} = {_plain(exact)}"]
    rounding, answer = "", _plain(exact)
    if difficulty >= 4:
        answer = str(exact.quantize(Decimal("0.1"), ROUND_HALF_UP))
        rounding = pick(rng, ROUNDINGS)
    told = {"name": pick(rng, PEOPLE), "aside": aside(rng, UNIT_ASIDES)}
    prompt = ask(rng, CONVERT, NUMBER, value=value, source=source, target=target, rounding=rounding, **told)
    return Draft(prompt, answer, "number", f"{value} {source} {target}", tuple(working))


def _formula(rng: Random) -> tuple[str, str, Decimal, list[str], int]:
    """Units whose conversion takes two steps: source, target, the exact value, its lines, what it is the value of."""
    value = between(rng, 5, 230)
    match pick(rng, ("°F", "°C", "km/h", "mph")):
        case "°F":
            fifth = Decimal(value - 32) * 5
            lines = [f"({value} - 32) * 5 = {fifth}", f"{fifth} / 9 = {_plain(fifth / 9)}"]
            return "degrees Fahrenheit", "degrees Celsius", fifth / 9, lines, value
        case "°C":
            part = Decimal(value) * 9 / 5
            lines = [f"{value} * 9 / 5 = {_plain(part)}", f"{_plain(part)} + 32 = {_plain(part + 32)}"]
            return "degrees Celsius", "degrees Fahrenheit", part + 32, lines, value
        case "km/h":
            exact = Decimal(value) * 10 / 36
            lines = [f"{value} / 3.6 = {_plain(exact)}"]
            return "kilometers per hour", "meters per second", exact, lines, value
    exact = Decimal(value) * Decimal("1.609344")
    lines = [f"{value} * 1.609344 = {_plain(exact)}"]
    return "miles per hour", "kilometers per hour", exact, lines, value


def _plain(number: Decimal) -> str:
    """Without an exponent or zeros at the end; a fraction that never ends is cut."""
    if len(number.as_tuple().digits) < 20:
        return f"{number.normalize():f}"
    return f"{number.quantize(Decimal('0.0001'), ROUND_DOWN):f}..."


FAMILIES = (Family("units", "dates and units", units, (CONVERT,)),)
