"""Dates and units: days on the calendar, weekdays, the clock, and conversions."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import ANSWER, CITIES, CLOCK, DATE, NUMBER, counted, dress, joined

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


def shown_date(rng: Random, day: date) -> str:
    """A date in one of the ways people write it; never one that could be read two ways."""
    return rng.choice((day.isoformat(), f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}"))


def calendar(rng: Random, difficulty: int) -> Draft:
    """Days or weeks after or before a date, or days between two; within a month up to several leap years."""
    near, far = ((2, 12), (14, 40), (45, 120), (130, 360), (400, 1500))[difficulty - 1]
    start = date(2000, 1, 1) + timedelta(rng.randrange(13000))
    if difficulty == 1:
        start = start.replace(day=rng.randint(1, 15))
    days = rng.randint(near, far)
    what = rng.choice(("after", "before", "between")) if difficulty > 1 else rng.choice(("after", "between"))
    if what == "between":
        end = start + timedelta(days)
        one, two = shown_date(rng, start), shown_date(rng, end)
        asked = [
            f"How many days are there from {one} to {two}?",
            f"My visa runs from {one} until {two}. How many days after the first date is the second?",
        ]
        return Draft(dress(rng, rng.choice(asked), NUMBER), str(days), "number", f"{start} {end}")
    if rng.random() < 0.3 and days >= 14:
        span, days = f"{days // 7} weeks", days // 7 * 7
    else:
        span = f"{days} days"
    end = start + timedelta(days if what == "after" else -days)
    one = shown_date(rng, start)
    asked = [
        f"What is the date {span} {what} {one}?",
        f"Which date falls {span} {what} {one}?",
        f"My contract says {span} {what} {one}. What date is that?",
    ]
    return Draft(dress(rng, rng.choice(asked), DATE), end.isoformat(), "date", f"{start} {what} {days}")


def weekday(rng: Random, difficulty: int) -> Draft:
    """The weekday so many days on, from a known one (1 to 3); of any date, in our days or long ago (4, 5)."""
    day = date(2000, 1, 1) + timedelta(rng.randrange(11000))
    if difficulty >= 4:
        if difficulty == 5:
            day = date(1850, 1, 1) + timedelta(rng.randrange(50000))
        shown = shown_date(rng, day)
        asked = [f"What day of the week was {shown}?", f"On which weekday did {shown} fall?"]
        return Draft(dress(rng, rng.choice(asked), ANSWER), f"{day:%A}", "exact", day.isoformat())
    days = rng.randint(*((2, 9), (10, 60), (61, 400))[difficulty - 1])
    later = day + timedelta(days)
    asked = [
        f"If today is {day:%A}, what day of the week is it in {days} days?",
        f"{shown_date(rng, day)} was a {day:%A}. What weekday was it {days} days later?",
    ]
    return Draft(dress(rng, rng.choice(asked), ANSWER), f"{later:%A}", "exact", f"{day:%A} {days}")


def clock(rng: Random, difficulty: int) -> Draft:
    """A start and 1 to 4 spans of time; from 4 past midnight, at 5 between time zones."""
    legs = (1, 2, 2, 3, 4)[difficulty - 1]
    start = datetime(2024, 1, 1, rng.randint(6, 11 if difficulty < 4 else 21), rng.randrange(0, 60, 5))
    spans = [
        (rng.randint(0, 2 + difficulty // 2), rng.randrange(5, 60, 5 if difficulty < 3 else 1))
        for _ in range(legs)
    ]
    end = start + sum((timedelta(hours=h, minutes=m) for h, m in spans), timedelta())
    told = [f"{counted(h, 'hour')} and {m} minutes" if h else f"{m} minutes" for h, m in spans]
    zone, ahead = "", 0
    if difficulty == 5:
        ahead = rng.choice([n for n in range(-9, 10) if n])
        there = rng.choice(CITIES)
        gap = f"{counted(abs(ahead), 'hour')} {'ahead' if ahead > 0 else 'behind'}"
        zone = f" The clock in {there}, where it ends, is {gap}."
        end += timedelta(hours=ahead)
    steps = f"It takes {told[0]}." if legs == 1 else f"The stages take {joined(told)}, one after the other."
    what = rng.choice(("train ride", "hike", "shift", "flight", "tour"))
    local = " local" if zone else ""
    asked = [
        f"A {what} starts at {start:%H:%M}. {steps}{zone} At what{local} time does it end?",
        f"We begin a {what} at {start:%H:%M}. {steps}{zone} What is the{local} time at the end?",
    ]
    key = f"{start:%H:%M} {spans} {ahead}"
    return Draft(dress(rng, rng.choice(asked), CLOCK), f"{end:%H:%M}", "exact", key)


def units(rng: Random, difficulty: int) -> Draft:
    """Metric steps (1, 2), longer chains (3), imperial units (4), temperatures and speeds (5)."""
    if difficulty == 5:
        value = rng.randint(5, 230)
        source, target, exact = rng.choice(
            (
                ("degrees Fahrenheit", "degrees Celsius", Decimal(value - 32) * 5 / 9),
                ("degrees Celsius", "degrees Fahrenheit", Decimal(value) * 9 / 5 + 32),
                ("kilometers per hour", "meters per second", Decimal(value) * 5 / 18),
                ("miles per hour", "kilometers per hour", Decimal(value) * Decimal("1.609344")),
            )
        )
    else:
        source, target, factor, _ = rng.choice([row for row in FACTORS if row[3] == difficulty])
        value = (
            rng.randint(2, 60)
            if difficulty in (1, 3)
            else rng.randint(3, 480)
            if difficulty == 4
            else rng.randint(3, 950)
        )
        exact = value * Decimal(factor)
    rounding = ""
    if difficulty >= 4:
        exact = exact.quantize(Decimal("0.1"), ROUND_HALF_UP)
        rounding = " Round to one decimal."
    answer = f"{exact.normalize():f}" if difficulty < 4 else str(exact)
    asked = [
        f"Convert {value} {source} to {target}.{rounding}",
        f"How many {target} are {value} {source}?{rounding}",
        f"The form wants {target} but I only know it is {value} {source}. What do I write?{rounding}",
    ]
    return Draft(dress(rng, rng.choice(asked), NUMBER), answer, "number", f"{value} {source} {target}")


FAMILIES = (
    Family("calendar", "dates and units", calendar),
    Family("weekday", "dates and units", weekday),
    Family("clock", "dates and units", clock),
    Family("units", "dates and units", units),
)
