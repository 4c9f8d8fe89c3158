"""Dates: days on the calendar, weekdays, and the clock."""

from __future__ import annotations

from calendar import day_name, monthrange
from datetime import date, datetime, timedelta
from random import Random

from fleet.tasks.task import Draft, Family
from fleet.tasks.wording import (
    ANSWER,
    CITIES,
    CLOCK,
    DATE,
    NUMBER,
    PEOPLE,
    Phrases,
    aside,
    ask,
    between,
    counted,
    joined,
    pick,
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
BETWEEN: Phrases = (
    "How many days are there from {one} to {two}?",
    "My visa runs from {one} until {two}. How many days after the first date is the second?",
    "How many days lie between {one} and {two}, if the last day counts and the first does not?",
    "{name} started on {one} and finished on {two}.{aside} How many days later was that?",
    "It is {one}. How many days do I have to wait for {two}?",
    "The parcel left on {one} and arrived on {two}.{aside} How many days was it on its way?",
    "Days from {one} to {two}?",
    "If I count the days up from {one}, how many until {two}?",
)
AFTER: Phrases = (
    "What is the date {span} after {one}?",
    "Which date falls {span} after {one}?",
    "My contract says {span} after {one}. What date is that?",
    "{name} starts on {one} and is back {span} after that.{aside} On which date?",
    "The invoice is from {one} and due in {span}. When is it due?",
    "Today is {one}. What will the date be in {span}?",
    "A trial begins on {one} and ends {span} later.{aside} What date is the end?",
    "{one} plus {span}: what date is that?",
)
BEFORE: Phrases = (
    "What is the date {span} before {one}?",
    "Which date falls {span} before {one}?",
    "My contract says {span} before {one}. What date is that?",
    "The exam is on {one} and {name} begins to learn {span} before it.{aside} On which date?",
    "Today is {one}. What was the date {span} ago?",
    "We must book {span} ahead of {one}.{aside} What is the last date for that?",
    "{one} minus {span}: what date is that?",
    "The milk ran out on {one}. It was bought {span} earlier. On which date?",
)
DATE_ASIDES: Phrases = (
    "It costs ${n} a day.",
    "There are {n} people on the list.",
    "The office is on floor {n}.",
    "It happened {n} times last year.",
    "Last time it took {n} hours.",
)


def calendar(rng: Random, difficulty: int) -> Draft:
    """Days or weeks after or before a date, or days between two; within a month up to more than a year."""
    near, far = ((2, 12), (10, 30), (31, 70), (71, 160), (161, 500))[difficulty - 1]
    start = date(2000, 1, 1) + timedelta(between(rng, 0, 12999))
    if difficulty == 1:
        start = start.replace(day=between(rng, 1, 15))
    days = between(rng, near, far)
    told = {"name": pick(rng, PEOPLE), "aside": aside(rng, DATE_ASIDES)}
    what = pick(rng, ("after", "before", "between") if difficulty > 1 else ("after", "between"))
    one = _shown(rng, start)
    if what == "between":
        end = start + timedelta(days)
        prompt = ask(rng, BETWEEN, NUMBER, one=one, two=_shown(rng, end), **told)
        return Draft(prompt, str(days), "number", f"{start} {end}", _count(start, end))
    weeks = days // 7 if days >= 14 and rng.random() < 0.3 else 0
    days = 7 * weeks or days
    phrases, distance = (AFTER, days) if what == "after" else (BEFORE, -days)
    prompt = ask(rng, phrases, DATE, one=one, span=f"{weeks} weeks" if weeks else f"{days} days", **told)
    working = (f"{weeks} * 7 = {days}",) if weeks else ()
    end = start + timedelta(distance)
    return Draft(prompt, end.isoformat(), "date", f"{start} {what} {days}", working + _walk(start, distance))


def _shown(rng: Random, day: date) -> str:
    """A date in one of the ways people write it; never one that could be read two ways."""
    how = rng.random()
    if how < 0.34:
        return day.isoformat()
    return f"{day:%B} {day.day}, {day.year}" if how < 0.67 else f"{day.day} {day:%B} {day.year}"


def _walk(start: date, distance: int) -> tuple[str, ...]:
    """The lines that carry a day of the month over into other years, then other months."""
    year, month, day = start.year, start.month, start.day + distance
    sign = "+" if distance > 0 else "-"
    lines = [f"{start.isoformat()}: {start.day} {sign} {abs(distance)} = {day}"]
    while day > (length := _year(year, month)):
        lines.append(f"{MONTHS[month - 1]} {year} to {year + 1}: {day} - {length} = {day - length}")
        year, day = year + 1, day - length
    while day > (length := monthrange(year, month)[1]):
        lines.append(f"{MONTHS[month - 1]} {year} has {length}: {day} - {length} = {day - length}")
        year, month, day = *_next(year, month), day - length
    while day <= -(length := _year(year - 1, month)):
        lines.append(f"{MONTHS[month - 1]} {year} to {year - 1}: {day} + {length} = {day + length}")
        year, day = year - 1, day + length
    while day < 1:
        year, month = _previous(year, month)
        length = monthrange(year, month)[1]
        lines.append(f"{MONTHS[month - 1]} {year} has {length}: {day} + {length} = {day + length}")
        day += length
    return tuple(lines)


def _count(start: date, end: date) -> tuple[str, ...]:
    """The lines that count days from the start's month to the end's, then from day to day."""
    year, month, days, lines = start.year, start.month, 0, []
    while (year + 1, month) <= (end.year, end.month):
        length = _year(year, month)
        lines.append(f"{MONTHS[month - 1]} {year} to {year + 1}: {days} + {length} = {days + length}")
        year, days = year + 1, days + length
    while (year, month) < (end.year, end.month):
        length = monthrange(year, month)[1]
        lines.append(f"{MONTHS[month - 1]} {year} has {length}: {days} + {length} = {days + length}")
        year, month, days = *_next(year, month), days + length
    total = days + end.day - start.day
    counted_days = f"{days} + {end.day} - {start.day}" if days else f"{end.day} - {start.day}"
    return (*lines, f"{counted_days} = {total}")


def _next(year: int, month: int) -> tuple[int, int]:
    return (year, month + 1) if month < 12 else (year + 1, 1)


def _previous(year: int, month: int) -> tuple[int, int]:
    return (year, month - 1) if month > 1 else (year - 1, 12)


def _year(year: int, month: int) -> int:
    """Days from the first of a month to the same a year later."""
    return (date(year + 1, month, 1) - date(year, month, 1)).days


LATER: Phrases = (
    "If today is {weekday}, what day of the week is it in {days} days?",
    "Today is {weekday}. Which weekday is it in {days} days?",
    "{date} was a {weekday}. What weekday was it {days} days later?",
    "The course starts on a {weekday} and the exam is {days} days later.{aside} On which weekday?",
    "{name} was born on a {weekday} and baptised {days} days later. What day of the week was that?",
    "It's {weekday}. My parcel comes in {days} days.{aside} Which day of the week is that?",
    "We planted beans on a {weekday}; they came up {days} days later. On what weekday?",
    "{weekday} plus {days} days: what weekday is that?",
)
EARLIER: Phrases = (
    "If today is {weekday}, what day of the week was it {days} days ago?",
    "Today is {weekday}. Which weekday was it {days} days ago?",
    "{date} was a {weekday}. What weekday was it {days} days before?",
    "The bill is from {days} days before this {weekday}.{aside} On which weekday was it written?",
    "It's {weekday} and the letter was posted {days} days ago. Which day of the week was that?",
    "{weekday} minus {days} days: what weekday is that?",
)
OF_DATE: Phrases = (
    "What day of the week was {date}?",
    "On which weekday did {date} fall?",
    "Which weekday was {date}?",
    "{name} was born on {date}.{aside} What day of the week was it?",
    "The letter is dated {date}.{aside} Which weekday was that?",
    "I want to know the weekday of {date}.",
    "Was {date} a Monday, a Tuesday, or what?",
    "Weekday of {date}?",
)
CENTURY_DAYS = {18: 4, 19: 2, 20: 1}  # the doomsday of 1800, 1900 and 2000, from Monday: 0
DOOMSDAYS = (
    3,
    28,
    14,
    4,
    9,
    6,
    11,
    8,
    5,
    10,
    7,
    12,
)  # a day of each month that falls on it; leap years differ


def weekday(rng: Random, difficulty: int) -> Draft:
    """The weekday so many days off, from a known one (1 to 3); of any date, in our days or long ago (4, 5)."""
    day = date(2000, 1, 1) + timedelta(between(rng, 0, 10999))
    told = {"name": pick(rng, PEOPLE), "aside": aside(rng, DATE_ASIDES)}
    if difficulty >= 4:
        if difficulty == 5:
            day = date(1850, 1, 1) + timedelta(between(rng, 0, 49999))
        prompt = ask(rng, OF_DATE, ANSWER, date=_shown(rng, day), **told)
        return Draft(prompt, day_name[day.weekday()], "exact", day.isoformat(), _doomsday(day))
    days = between(rng, *((2, 13), (14, 40), (41, 150))[difficulty - 1])
    later = rng.random() < 0.7
    known, found = day.weekday(), (day.weekday() + (days if later else -days)) % 7
    prompt = ask(
        rng,
        LATER if later else EARLIER,
        ANSWER,
        weekday=day_name[known],
        days=days,
        date=_shown(rng, day),
        **told,
    )
    weeks, rest = divmod(days, 7)
    passed = [day_name[(known + (n if later else -n)) % 7] for n in range(rest + 1)]
    lines = (f"{days} = {weeks} * 7 + {rest}", ", ".join(passed))
    key = f"{day_name[known]} {'' if later else '-'}{days}"
    return Draft(prompt, day_name[found], "exact", key, lines if weeks else lines[1:])


def _doomsday(day: date) -> tuple[str, ...]:
    """Conway's rule: the weekday of a year, a date of the month that falls on it, and the days from there."""
    century, year = divmod(day.year, 100)
    dozens, rest = divmod(year, 12)
    total = dozens + rest + rest // 4
    anchor = (CENTURY_DAYS[century] + total) % 7
    leap = monthrange(day.year, 2)[1] == 29
    fixed = DOOMSDAYS[day.month - 1] + (leap and day.month < 3)
    return (
        f"{year} = {dozens} * 12 + {rest}, {rest} / 4 gives {rest // 4}",
        f"{day_name[CENTURY_DAYS[century]]} + {dozens} + {rest} + {rest // 4} = "
        f"{day_name[CENTURY_DAYS[century]]} + {total % 7} = {day_name[anchor]}",
        f"{MONTHS[day.month - 1]} {fixed} is a {day_name[anchor]}",
        f"{day.day} - {fixed} = {day.day - fixed}, {day_name[anchor]} + {(day.day - fixed) % 7}",
    )


ENDS: Phrases = (
    "A tour starts at {start}. {stages}{zone} At what{local} time does it end?",
    "A {what} starts at {start}.{aside} {stages}{zone} At what{local} time does it end?",
    "We begin a {what} at {start}. {stages}{zone}{aside} What is the{local} time at the end?",
    "{name} starts a {what} at {start}. {stages}{zone} At what{local} time is it over?",
    "The {what} begins at {start}.{aside} {stages}{zone} What{local} time is it when we are done?",
    "My {what} begins at {start}. {stages}{zone} Which{local} time will it be at the end?",
    "If the {what} begins at {start}, at what{local} time does it end? {stages}{zone}",
    "Plan for the {what}, start at {start}: {stages}{zone}{aside} What{local} time is the end?",
)
STAGES: Phrases = (
    "The stages take {legs}, one after the other.",
    "Its parts last {legs}.",
    "There are {count} legs of {legs}.",
    "First come the parts, {legs}, without a break.",
)
OUTINGS = ("train ride", "hike", "shift", "flight", "tour", "bus trip", "concert night", "boat trip")
CLOCK_ASIDES: Phrases = (
    "The ticket cost ${n}.",
    "We are {n} people.",
    "It goes over {n} km.",
    "The next one is {n} days later.",
    "My seat is number {n}.",
)


def clock(rng: Random, difficulty: int) -> Draft:
    """A start and 1 to 4 spans of time; from 4 past midnight, at 5 between time zones."""
    legs = (1, 1, 2, 3, 4)[difficulty - 1]
    start = datetime(2024, 1, 1, between(rng, 6, 11 if difficulty < 4 else 21), 5 * between(rng, 0, 11))
    spans = [
        (
            between(rng, 0, 2 + difficulty // 2),
            5 * between(rng, 1, 11) if difficulty == 1 else between(rng, 5, 59),
        )
        for _ in range(legs)
    ]
    working, end = [], start
    for hours, minutes in spans:
        before, end = end, end + timedelta(hours=hours, minutes=minutes)
        raw = f"{before.hour + hours}:{before.minute + minutes:02}"
        same = raw == f"{end.hour}:{end.minute:02}"
        working.append(f"{before:%H:%M} + {hours}:{minutes:02} = {'' if same else f'{raw} = '}{end:%H:%M}")
    spoken = [f"{counted(h, 'hour')} and {m} minutes" if h else f"{m} minutes" for h, m in spans]
    zone, ahead = "", 0
    if difficulty == 5:
        ahead = pick(rng, [n for n in range(-9, 10) if n])
        gap = f"{counted(abs(ahead), 'hour')} {'ahead' if ahead > 0 else 'behind'}"
        zone = f" The clock in {pick(rng, CITIES)}, where it ends, is {gap}."
        before, end = end, end + timedelta(hours=ahead)
        working.append(f"{before:%H:%M} {'+' if ahead > 0 else '-'} {abs(ahead)}:00 = {end:%H:%M}")
    stages = f"It takes {spoken[0]}."
    if legs > 1:
        stages = pick(rng, STAGES).format(legs=joined(spoken), count=legs)
    told = {"name": pick(rng, PEOPLE), "what": pick(rng, OUTINGS), "aside": aside(rng, CLOCK_ASIDES)}
    prompt = ask(
        rng,
        ENDS,
        CLOCK,
        start=f"{start:%H:%M}",
        stages=stages,
        zone=zone,
        local=" local" if zone else "",
        **told,
    )
    return Draft(prompt, f"{end:%H:%M}", "exact", f"{start:%H:%M} {spans} {ahead}", tuple(working))


FAMILIES = (
    Family("calendar", "dates and units", calendar, (BETWEEN, AFTER, BEFORE)),
    Family("weekday", "dates and units", weekday, (LATER, EARLIER, OF_DATE)),
    Family("clock", "dates and units", clock, (ENDS, STAGES)),
)
