"""How scripted models handle dates, clocks and units."""

from __future__ import annotations

import re
from calendar import day_name, month_name
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from fleet.scripted.mind import Mind, shown

_MONTHS = "|".join(month_name[1:])
_DATE = re.compile(
    rf"(?P<y>\d{{4}})-(?P<m>\d\d)-(?P<d>\d\d)|(?P<month>{_MONTHS}) (?P<day>\d{{1,2}}), (?P<year>\d{{4}})"
    rf"|(?P<day2>\d{{1,2}}) (?P<month2>{_MONTHS}) (?P<year2>\d{{4}})"
)
_SPAN = re.compile(r"(\d+) (days|weeks) (after|before)")
_LEG = re.compile(r"(?:(\d+) hours? and )?(\d+) minutes")
_ZONE = re.compile(r"is (\d+) hours? (ahead|behind)")
TABLES: dict[str, dict[tuple[str, str], str]] = {
    "metric": {
        ("kilometers", "meters"): "1000",
        ("kilograms", "grams"): "1000",
        ("meters", "centimeters"): "100",
        ("liters", "milliliters"): "1000",
        ("grams", "kilograms"): "1/1000",
        ("centimeters", "meters"): "1/100",
        ("milliliters", "liters"): "1/1000",
        ("tonnes", "grams"): "1000000",
        ("hectares", "square meters"): "10000",
    },
    "time units": {
        ("hours", "minutes"): "60",
        ("days", "hours"): "24",
        ("weeks", "hours"): "168",
        ("days", "minutes"): "1440",
    },
    "imperial": {
        ("miles", "kilometers"): "1.609344",
        ("pounds", "kilograms"): "0.45359237",
        ("inches", "centimeters"): "2.54",
        ("feet", "meters"): "0.3048",
        ("ounces", "grams"): "28.349523125",
        ("miles per hour", "kilometers per hour"): "1.609344",
    },
    "speed": {("kilometers per hour", "meters per second"): "5/18"},
}
_UNITS = {unit for rows in TABLES.values() for pair in rows for unit in pair} | {
    "degrees Celsius",
    "degrees Fahrenheit",
}
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_AMOUNT = re.compile(rf"(\d+) ({_UNIT})\b")
_TARGET = re.compile(rf"(?:to|many|wants) ({_UNIT})\b")


def calendar(text: str, mind: Mind) -> str | None:
    """So many days after a date, or between two."""
    days, span = _days(text), _SPAN.search(text)
    if len(days) == 2 and re.search(r"[Hh]ow many days", text):
        mind.needs("calendar")
        start, end = days
        return str((_walk(mind, start, end) - start).days)
    if span is None or len(days) != 1:
        return None
    mind.needs("calendar")
    distance = int(span[1]) * (7 if span[2] == "weeks" else 1) * (1 if span[3] == "after" else -1)
    return _walk(mind, days[0], days[0] + timedelta(distance)).isoformat()


def _days(text: str) -> list[date]:
    found = []
    for match in _DATE.finditer(text):
        year = match["y"] or match["year"] or match["year2"]
        month = int(match["m"] or 0) or list(month_name).index(match["month"] or match["month2"])
        found.append(date(int(year), month, int(match["d"] or match["day"] or match["day2"])))
    return found


def _walk(mind: Mind, start: date, end: date) -> date:
    """From start towards end, years first, then month by month; slips and unknown leap days put it off the mark."""
    early, late = min(start, end), max(start, end)
    months = (late.year - early.year) * 12 + late.month - early.month
    off = sum(mind.rng.choice((-1, 1)) for _ in range(1 + months // 12 + months % 12) if not mind.step())
    if "leap years" not in mind.abilities.knows:
        off += sum(
            _is_leap(year) and early < date(year, 2, 29) <= late for year in range(early.year, late.year + 1)
        )
    mind.note(f"{months} months lie between {early:%B %Y} and {late:%B %Y}")
    return end + timedelta(off)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def weekday(text: str, mind: Mind) -> str | None:
    """A weekday so many days on, or that of a date."""
    named = re.search("|".join(day_name), text)
    later, earlier = re.search(r"in (\d+) days", text), re.search(r"(\d+) days ago", text)
    off_by = later or earlier
    if named and off_by:
        mind.needs("weekdays")
        days = Fraction(off_by[1])
        weeks = Fraction(int(mind.divide(days, Fraction(7))))
        rest = mind.subtract(days, mind.multiply(weeks, Fraction(7)))
        return day_name[(list(day_name).index(named[0]) + int(rest if later else -rest)) % 7]
    days_named = _days(text)
    if len(days_named) != 1 or not re.search(r"day of the week|weekday", text):
        return None
    mind.needs("weekdays", "weekday of a date")
    day = days_named[0]
    centuries = abs(day.year - 2000) // 50
    off = sum(not mind.step() for _ in range(4 + centuries))
    mind.note(f"I count {abs((day - date(2000, 1, 1)).days)} days from Saturday, 1 January 2000")
    return day_name[(day.weekday() + off) % 7]


def clock(text: str, mind: Mind) -> str | None:
    """When something ends."""
    start = re.search(r" at (\d\d):(\d\d)\.", text)
    if start is None or not re.search(r"time", text):
        return None
    mind.needs("clock")
    minutes = int(start[1]) * 60 + int(start[2])
    for hours, rest in _LEG.findall(text):
        minutes += 60 * int(hours or 0) + int(rest)
        if not mind.step():
            minutes += mind.rng.choice((-60, 60, -10, 10))
        if int(rest) % 5 and not mind.step():  # odd minutes are harder
            minutes += mind.rng.choice((-1, 1))
        mind.note(f"then it is {_face(minutes)}")
    zone = _ZONE.search(text)
    if zone:
        mind.needs("time zones")
        minutes += 60 * int(zone[1]) * (1 if zone[2] == "ahead" else -1) * (1 if mind.step() else -1)
    return _face(minutes)


def _face(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def units(text: str, mind: Mind) -> str | None:
    """From one unit to another."""
    amount, target = _AMOUNT.search(text), _TARGET.search(text)
    if amount is None or target is None:
        return None
    result = _converted(mind, Fraction(amount[1]), amount[2], target[1])
    if result is None:
        return None
    if "one decimal" in text:
        exact = Decimal(result.numerator) / Decimal(result.denominator)
        return str(exact.quantize(Decimal("0.1"), ROUND_HALF_UP))
    return shown(result)


def _converted(mind: Mind, value: Fraction, source: str, target: str) -> Fraction | None:
    if (source, target) == ("degrees Fahrenheit", "degrees Celsius"):
        mind.needs("temperature")
        return mind.divide(mind.multiply(mind.subtract(value, Fraction(32)), Fraction(5)), Fraction(9))
    if (source, target) == ("degrees Celsius", "degrees Fahrenheit"):
        mind.needs("temperature")
        return mind.add(mind.multiply(value, Fraction(9, 5)), Fraction(32))
    for table, rows in TABLES.items():
        if (source, target) in rows:
            mind.needs(table)
            return mind.multiply(value, mind.constant(Fraction(rows[source, target])))
    return None


SOLVERS = (calendar, weekday, clock, units)
