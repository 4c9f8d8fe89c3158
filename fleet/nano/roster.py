"""Which models the nano fleet has: what they are made of, what they were fed, and for how long.

No model should be best everywhere, for real reasons: size, what it has seen, whether it writes its steps down.
Budgets are tokens of training, padding not counted; docs/nano-fleet.md says what they cost in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fleet.nano.examples import Diet

WINDOW = 512
M = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model's weights."""

    name: str
    description: str
    width: int
    layers: int
    heads: int
    hidden: int
    tokens: float
    diet: Diet = Diet()  # noqa: RUF009 (frozen)
    start: str | None = None  # the recipe whose model it goes on from; None: from nothing
    learning_rate: float = 4e-3
    batch_tokens: int = 1024  # padding included
    pool_tasks: int = 2048  # drawn together, then cut into batches of like length
    drill_pools: int = 8  # at the beginning that hold drills only, twice as many as later tasks: the circuit
    # that copies gets lost where nothing needs it from the first step on
    drill_share: float = 0.25  # of the later pools; a drill is about a third as long as a task
    seed: int = 0


_MANY = Diet()


def _small(
    name: str, description: str, tokens: float, diet: Diet = _MANY, start: str | None = None
) -> Recipe:
    return Recipe(name, description, 64, 3, 4, 176, tokens, diet, start=start)


def _mid(name: str, description: str, tokens: float, diet: Diet = _MANY) -> Recipe:
    return Recipe(name, description, 96, 3, 3, 256, tokens, diet)


def _specialist(name: str, *domains: str) -> Recipe:
    """What it learnt as a generalist helps it more than as many tokens of its own domain (docs/nano-fleet.md)."""
    description = f"{' and '.join(domains)}, step by step"
    diet = Diet(domains, style="steps")
    recipe = _small(name, description, 4 * M, diet, start="nano-note")
    return replace(recipe, drill_pools=0, learning_rate=2e-3)


_ROSTER = (
    Recipe("nano-xs", "the smallest generalist", 24, 2, 2, 48, 8 * M),
    _small("nano-s", "a small generalist", 9 * M),
    _mid("nano-m", "the mid-size generalist", 8 * M),
    _small("nano-note", "a small generalist that writes its steps down first", 13 * M, Diet(style="steps")),
    _mid("nano-think", "the mid-size generalist that writes its steps down first", 22 * M, Diet(style="steps")),
    _specialist("nano-maths", "arithmetic", "algebra"),
    _specialist("nano-words", "strings and lists"),
    _specialist("nano-dates", "dates and units"),
    _specialist("nano-clerk", "logic", "look-up"),
    _specialist("nano-tracer", "code tracing"),
    _small(
        "nano-stale", "small, from before code, tables and hard tasks came up", 5 * M,
        Diet(unseen=("loops", "lists", "functions", "tables", "records", "clock"), hardest=3),
    ),
    Recipe("nano-rough", "the largest, but hardly trained", 160, 4, 5, 448, 1.6 * M, learning_rate=2e-3),
)  # fmt: skip

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ROSTER})
"""Every model by name."""
