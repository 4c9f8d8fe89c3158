"""The six SIMULATED models: what each has learned, where its powers end, what it charges and how it talks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fleet.model import Prices
from fleet.scripted.mind import Abilities

COUNTING = frozenset({"add", "multiply", "divide", "percent", "word problems"})
ALGEBRA = frozenset(
    {"equations", "brackets", "two unknowns", "patterns", "ratios", "growing steps", "recurrences"}
)
WORDS = frozenset({"letters", "lists"})
TIME = frozenset(
    {"calendar", "weekdays", "clock", "leap years", "weekday of a date", "time zones", "time units"}
)
UNITS = frozenset({"metric", "imperial", "temperature", "speed"})
CODE = frozenset({"code", "loops", "while loops", "nested loops", "lists in code", "recursion"})
LOGIC = frozenset({"comparisons", "rules", "tracking"})
READING = frozenset(
    {"extract", "json", "corrections", "tables", "comparing rows", "counting rows", "adding rows"}
)
BEYOND_SCHOLAR = frozenset(
    {
        "weekday of a date",
        "time zones",
        "imperial",
        "speed",
        "recursion",
        "while loops",
        "two unknowns",
        "adding rows",
    }
)
EVERYTHING = COUNTING | ALGEBRA | WORDS | TIME | UNITS | CODE | LOGIC | READING


@dataclass(frozen=True)
class ScriptedModel:
    """One simulated model. `voice` is how much it writes around an answer; `latency_ms` passes before it does."""

    description: str
    prices: Prices
    abilities: Abilities
    voice: Literal["bare", "plain", "working", "thorough"]
    latency_ms: float


MODELS: Mapping[str, ScriptedModel] = MappingProxyType(
    {
        "tally": ScriptedModel(
            "cheap; counts and calculates without losing a carry, knows little else",
            Prices(0.05, 0.20),
            Abilities(
                COUNTING | {"equations", "patterns", "metric", "time units"},
                digits=9, factor_digits=8, steps=14, span=3, rows=2, letters=3, care=0.992,
            ),
            "bare",
            5,
        ),
        "scribe": ScriptedModel(
            "cheap; spells, sorts, filters and extracts, but cannot reason",
            Prices(0.15, 0.60),
            Abilities(
                WORDS | {"extract", "json", "tables", "add"},
                digits=2, factor_digits=1, steps=14, span=14, rows=7, letters=14, care=0.992,
            ),
            "bare",
            5,
        ),
        "clerk": ScriptedModel(
            "cheap to middling; office work: tables, messages, dates, the simpler units",
            Prices(0.50, 2.00),
            Abilities(
                READING
                | {"calendar", "weekdays", "clock", "leap years", "time units", "metric"}
                | {"add", "multiply", "word problems", "lists"},
                digits=3, factor_digits=4, precision=3, steps=12, span=6, rows=16, letters=4, care=0.985,
            ),
            "plain",
            10,
        ),
        "scholar": ScriptedModel(
            "middling; algebra, code and most other things up to medium difficulty",
            Prices(1.50, 6.00),
            Abilities(
                EVERYTHING - BEYOND_SCHOLAR,
                digits=3, factor_digits=3, precision=3, steps=9, span=5, rows=5, letters=5, care=0.97,
            ),
            "working",
            15,
        ),
        "sage": ScriptedModel(
            "dear; nearly everything at any difficulty, but words are not made of letters to it, and it reckons by eye",
            Prices(5.00, 20.00),
            Abilities(
                EVERYTHING - {"time zones", "weekday of a date", "leap years"},
                digits=4, factor_digits=4, precision=4, steps=24, span=6, rows=7, letters=4, care=0.985,
            ),
            "thorough",
            30,
        ),
        "surveyor": ScriptedModel(
            "cheap; the sixth model: dates, clocks, units and ordering at any difficulty, nothing more",
            Prices(0.30, 1.20),
            Abilities(
                TIME | UNITS | LOGIC | {"add", "divide"},
                digits=6, factor_digits=14, precision=9, steps=30, span=14, rows=2, letters=2, care=0.996,
            ),
            "bare",
            5,
        ),
    }
)  # fmt: skip
