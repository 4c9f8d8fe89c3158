"""Which models the nano fleet has: what they are made of, what they were fed, and for how long.

No model should be best everywhere, for real reasons: size, what it has seen, whether it writes its steps down.
Budgets are tokens of training, padding not counted; docs/nano-fleet.md says what they cost in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    kv_heads: int | None = None  # None: as many as heads
    learning_rate: float = 5e-3
    batch_tokens: int = 4096  # padding included
    pool_tasks: int = 2048  # drawn together, then cut into batches of like length
    prompt_weight: float = 0.0  # of a prompt's tokens in the loss, beside the reply's
    seed: int = 0


MATHS = ("arithmetic", "algebra")

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe("nano-xs", "the smallest generalist", 24, 2, 2, 48, 20 * M),
            Recipe("nano-s", "a small generalist", 48, 3, 4, 128, 30 * M),
            Recipe("nano-m", "the mid-size generalist", 96, 3, 4, 256, 35 * M, kv_heads=2),
            Recipe("nano-l", "a large generalist", 128, 5, 4, 352, 25 * M, learning_rate=4e-3),
            Recipe("nano-xl", "the largest generalist", 192, 6, 6, 512, 14 * M, learning_rate=3e-3),
            Recipe("nano-maths", "sums and equations only", 64, 4, 4, 176, 20 * M, Diet(MATHS)),
            Recipe("nano-words", "strings and lists only", 64, 4, 4, 176, 20 * M, Diet(("strings and lists",))),
            Recipe("nano-dates", "dates and units only", 64, 4, 4, 176, 20 * M, Diet(("dates and units",))),
            Recipe("nano-clerk", "logic and look-up only", 64, 4, 4, 176, 25 * M, Diet(("logic", "look-up"))),
            Recipe(
                "nano-think", "a large generalist that writes its steps down first",
                128, 5, 4, 352, 30 * M, Diet(style="steps"), learning_rate=4e-3,
            ),
            Recipe(
                "nano-tracer", "code tracing only, step by step",
                64, 4, 4, 176, 20 * M, Diet(("code tracing",), style="steps"),
            ),
            Recipe(
                "nano-abacus", "sums and equations only, step by step",
                64, 4, 4, 176, 20 * M, Diet(MATHS, style="steps"),
            ),
            Recipe(
                "nano-stale", "mid-size, from before code, tables and hard tasks came up",
                96, 3, 4, 256, 15 * M,
                Diet(unseen=("loops", "lists", "functions", "tables", "records", "clock"), hardest=3),
            ),
            Recipe("nano-rough", "large, but hardly trained", 128, 5, 4, 352, 1.5 * M, learning_rate=4e-3),
        )
    }
)  # fmt: skip
"""Every model by name."""
