"""How long one decision takes, and where: backbone, adapter, head, decide (`router-bench latency`).

Measured on the real scorer, thread hand-over and micro-batcher included, with the shipped weights and contexts of
random rows (their content does not change the work), of success and of lengths as in the gateway. Every prompt is new,
so nothing is answered from the scorer's memory of texts. Each prompt is decided with every backbone in turn, so that
whatever else the machine does meets all of them alike: believe the ratios before the milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from router.decide import decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.value.amounts import Amounts
    from router.value.batcher import Scorer

Computed = Literal["sentence-transformers", "fp32", "auto"]

PARTS = ("backbone", "adapter", "head", "decide", "total")
REFERENCE: Final = "sentence-transformers"
ALL: tuple[Computed, ...] = (REFERENCE, "fp32", "auto")
WORDS = ("ship", "harbour", "seven", "price", "of", "apples", "what", "is", "how", "many", "if", "train")
WARM_UP = 10
TOGETHER = 32  # clients of the throughput


@dataclass(frozen=True)
class Latency:
    """One setting: milliseconds by part, one at a time, and decisions a second of 32 clients."""

    computed: str  # by what the backbone is computed: "auto (bf16)"
    fleet: int
    rows: int
    p50: dict[str, float]
    p95: dict[str, float]
    per_second: float


async def measure(
    fleets: Sequence[int] = (20,),
    contexts: Sequence[int] = (1024,),
    requests: int = 200,
    words: int = 38,  # about 50 tokens
    seed: int = 0,
    backbones: Sequence[Computed] = ALL,
) -> list[Latency]:
    """Time `requests` decisions for each backbone, fleet size and context length."""
    scorers = {each: await _scorer(each) for each in backbones}
    try:
        found = []
        for fleet in fleets:
            for rows in contexts:
                found += await _one(scorers, fleet, rows, requests, words, seed)
        return found
    finally:
        for scorer in scorers.values():
            await scorer.aclose()


async def _scorer(computed: Computed) -> Scorer:
    from router.value.batcher import Scorer

    if computed == REFERENCE:
        from router.value.model import V0

        return Scorer(await asyncio.to_thread(lambda: V0.load(device="cpu").at("reference")))
    return await Scorer.load(None, None, "cpu", precision=computed)


@dataclass(frozen=True)
class _Fleet:
    """Decisions over one fleet with one scorer."""

    scorer: Scorer
    contexts: Sequence[object]  # of success
    lengths: Sequence[Amounts]  # of answers, foretold in the same pass
    prices: Mapping[str, float]  # of a token
    random: Random

    async def decide(self, prompt: str) -> dict[str, float]:
        """Milliseconds by part."""
        started = time.perf_counter()
        scored = await self.scorer.score(prompt, [*self.contexts, *(each.context for each in self.lengths)])
        scored_at = time.perf_counter()
        values = dict(zip(self.prices, map(float, scored.values), strict=False))
        tokens = scored.values[len(values) :]
        costs = {
            name: price * float(each.expected(value))
            for (name, price), each, value in zip(self.prices.items(), self.lengths, tokens, strict=True)
        }
        decide(values, costs, {}, 0.7, 0.0, self.random, cost_scale=1.0)
        finished = time.perf_counter()
        return scored.timings | {"decide": (finished - scored_at) * 1e3, "total": (finished - started) * 1e3}


async def _one(
    scorers: Mapping[Computed, Scorer], fleet: int, rows: int, requests: int, words: int, seed: int
) -> list[Latency]:
    rng, random = np.random.default_rng([seed, fleet, rows]), Random(seed)
    prices = {f"model-{i}": float(price) for i, price in enumerate(rng.random(fleet))}
    deciding = {name: await _with_contexts(each, prices, rows, seed) for name, each in scorers.items()}
    times: dict[Computed, list[dict[str, float]]] = {name: [] for name in scorers}
    per_second: dict[Computed, list[float]] = {name: [] for name in scorers}
    for number in range(-WARM_UP, requests):
        prompt = _prompt(f"{number} {fleet} {rows}", random, words)
        for name, each in deciding.items():
            took = await each.decide(prompt)
            if number >= 0:
                times[name].append(took)
    for batch in range(-1, max(1, requests // TOGETHER)):
        prompts = [_prompt(f"{batch} {i} of {fleet} {rows}", random, words) for i in range(2 * TOGETHER)]
        for name, each in deciding.items():
            started = time.perf_counter()
            await _closed_loop(each, prompts)
            if batch >= 0:
                per_second[name].append(len(prompts) / (time.perf_counter() - started))

    def quantile(name: Computed, q: float) -> dict[str, float]:
        return {part: float(np.quantile([each[part] for each in times[name]], q)) for part in PARTS}

    return [
        Latency(
            _title(name, scorer),
            fleet,
            rows,
            quantile(name, 0.5),
            quantile(name, 0.95),
            float(np.median(per_second[name])),
        )
        for name, scorer in scorers.items()
    ]


async def _with_contexts(scorer: Scorer, prices: Mapping[str, float], rows: int, seed: int) -> _Fleet:
    rng = np.random.default_rng([seed, len(prices), rows])
    histories = [
        (
            rng.standard_normal((rows, scorer.dim)).astype(np.float32),
            rng.integers(0, 2, rows).astype(np.float32),
        )
        for _ in prices
    ]
    answers = [(embeddings, rng.integers(1, 500, rows).astype(float)) for embeddings, _ in histories]
    lengths = [each for each in await scorer.fit_amounts(answers) if each is not None]
    return _Fleet(scorer, await scorer.fit_fleet(histories), lengths, prices, Random(seed))


async def _closed_loop(deciding: _Fleet, prompts: Sequence[str]) -> None:
    waiting = iter(prompts)

    async def client() -> None:
        for prompt in waiting:
            await deciding.decide(prompt)

    await asyncio.gather(*(client() for _ in range(TOGETHER)))


def _prompt(name: str, random: Random, words: int) -> str:
    return f"{name} {' '.join(random.choices(WORDS, k=words))}"


def _title(name: Computed, scorer: Scorer) -> str:
    return f"{name} ({scorer.precision})" if name == "auto" else name


def run(requests: int, fleets: Sequence[int], contexts: Sequence[int], words: int) -> None:
    """Measure and print a table."""
    from rich.console import Console
    from rich.table import Table

    found = asyncio.run(measure(fleets, contexts, requests, words))
    table = Table(title=f"one decision, milliseconds, p50 / p95, {words} words")
    for column in ("fleet", "rows", "backbone by", *PARTS, "p50, ratio", "decisions/s", "ratio"):
        table.add_column(column, justify="right")
    for each in found:
        before = next(one for one in found if (one.fleet, one.rows) == (each.fleet, each.rows))
        cells = (f"{each.p50[part]:.2f} / {each.p95[part]:.2f}" for part in PARTS)
        ratios = (
            f"{each.p50['total'] / before.p50['total']:.2f}",
            f"{each.per_second / before.per_second:.2f}",
        )
        table.add_row(
            str(each.fleet),
            str(each.rows),
            each.computed,
            *cells,
            ratios[0],
            f"{each.per_second:.0f}",
            ratios[1],
        )
    Console(width=None if Console().is_terminal else 160).print(table)
