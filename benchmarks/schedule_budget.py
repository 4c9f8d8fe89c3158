"""`router-bench schedule-budget`: V0's greedy budget against a heap's, rollout by rollout, in one run.

CPU seconds of this process, so that other work on the machine counts as little as possible; the ratio is what can be
compared between machines. Beside it, what each policy's allocation is worth by V0's utility, with predictions that are
right, against the bound that the concave majorants give.
"""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING

import numpy as np

from router.schedule import budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


def by_heap(values: Floats, total: int, low: int = budget.LOW, high: int = budget.HIGH) -> Counts:
    """V0's greedy as it is described: one rollout at a time to the largest marginal utility, from a heap."""

    def gain(failure: float, count: int) -> float:
        return failure - failure**count * (failure - count * (1 - failure))

    failures: list[float] = (1 - values).tolist()
    budgets = [low] * len(values)
    heap = [(-gain(failure, low), i) for i, failure in enumerate(failures)]
    heapq.heapify(heap)
    for _ in range(total - low * len(values)):
        i = heap[0][1]
        budgets[i] += 1
        if budgets[i] < high:
            heapq.heapreplace(heap, (-gain(failures[i], budgets[i]), i))
        else:
            heapq.heappop(heap)
    return np.array(budgets, dtype=np.int64)


def cpu_seconds(work: Callable[[], Counts]) -> tuple[float, Counts]:
    """CPU seconds of `work`, and what it made."""
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def run(prompts: int, average: int, seed: int) -> None:
    """Time every policy and the heap on the same success rates, uniform in [0, 1], and print the figures."""
    from rich.console import Console
    from rich.table import Table

    values, total = np.random.default_rng(seed).random(prompts), prompts * average
    timed = {name: cpu_seconds(lambda p=policy: p(values, total)) for name, policy in budget.POLICIES.items()}  # type: ignore[misc]
    heap_s, heap = cpu_seconds(lambda: by_heap(values, total))
    timed["heap"] = heap_s, heap
    best = float(budget.utility(values, timed["envelope"][1]).sum())
    table = Table(title=f"{prompts:,} prompts, {average} rollouts each on average")
    for column in ("policy", "CPU s", "of the heap's", "utility", "of envelope's", "largest", "at 2"):
        table.add_column(column, justify="right")
    for name, (seconds, made) in timed.items():
        worth = float(budget.utility(values, made).sum())
        table.add_row(
            name,
            f"{seconds:.3f}",
            f"{seconds / heap_s:.3f}",
            f"{worth:,.0f}",
            f"{worth / best:.3f}",
            str(made.max()),
            f"{(made == budget.LOW).mean():.0%}",
        )
    console = Console()
    console.print(table)
    apart = int((timed["greedy"][1] != heap).sum())
    console.print(f"prompts on which greedy and the heap differ: {apart}", highlight=False)
