"""How long one decision takes, and where: backbone, adapter, head, decide (`router-bench latency`).

Measured on the real scorer, thread hand-over and micro-batcher included, one request at a time, with the shipped
weights and contexts of random rows (their content does not change the work). Every prompt is new, so nothing is
answered from the scorer's memory of texts.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from router.decide import decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.value.batcher import Scorer

PARTS = ("backbone", "adapter", "head", "decide", "total")
WORDS = ("ship", "harbour", "seven", "price", "of", "apples", "what", "is", "how", "many", "if", "train")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one setting: p50 and p95 by part."""

    fleet: int
    rows: int
    p50: dict[str, float]
    p95: dict[str, float]


async def measure(
    fleets: Sequence[int] = (5, 50),
    contexts: Sequence[int] = (256, 2048),
    requests: int = 200,
    words: int = 38,  # about 50 tokens
    seed: int = 0,
) -> list[Latency]:
    """Time `requests` decisions for each fleet size and context length."""
    from router.value.batcher import Scorer

    scorer = await Scorer.load(None, None, "cpu")
    try:
        return [
            await _one(scorer, fleet, rows, requests, words, seed) for fleet in fleets for rows in contexts
        ]
    finally:
        await scorer.aclose()


async def _one(scorer: Scorer, fleet: int, rows: int, requests: int, words: int, seed: int) -> Latency:
    rng, random = np.random.default_rng([seed, fleet, rows]), Random(seed)
    contexts = await scorer.fit_fleet(
        [
            (
                rng.standard_normal((rows, scorer.dim)).astype(np.float32),
                rng.integers(0, 2, rows).astype(np.float32),
            )
            for _ in range(fleet)
        ]
    )
    names = [f"model-{i}" for i in range(fleet)]
    costs = {name: float(cost) for name, cost in zip(names, rng.random(fleet), strict=True)}
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for i in range(-10, requests):
        prompt = f"{i} {fleet} {rows} " + " ".join(random.choices(WORDS, k=words))
        started = time.perf_counter()
        scored = await scorer.score(prompt, contexts)
        scored_at = time.perf_counter()
        values = dict(zip(names, map(float, scored.values), strict=True))
        decide(values, costs, {}, 0.7, 0.0, random, cost_scale=1.0)
        finished = time.perf_counter()
        if i < 0:
            continue  # warm-up
        for part in ("backbone", "adapter", "head"):
            times[part].append(scored.timings[part])
        times["decide"].append((finished - scored_at) * 1e3)
        times["total"].append((finished - started) * 1e3)
    return Latency(
        fleet,
        rows,
        {part: float(np.quantile(found, 0.5)) for part, found in times.items()},
        {part: float(np.quantile(found, 0.95)) for part, found in times.items()},
    )


def run(requests: int) -> None:
    """Measure and print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="one decision, milliseconds, p50 / p95")
    for column in ("fleet", "rows", *PARTS):
        table.add_column(column, justify="right")
    for found in asyncio.run(measure(requests=requests)):
        cells = (f"{found.p50[part]:.2f} / {found.p95[part]:.2f}" for part in PARTS)
        table.add_row(str(found.fleet), str(found.rows), *cells)
    Console().print(table)
