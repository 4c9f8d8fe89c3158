"""`router-bench value-call`: what V0 takes to value a batch of prompts for one policy, embeddings at hand.

On one thread, CPU seconds beside the clock's, so that other work on the machine counts as little as possible.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def timed(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Median seconds by the clock and of CPU, after a first go that is not counted."""
    work()
    spent = []
    for _ in range(times):
        clock, cpu = time.perf_counter(), time.process_time()
        work()
        spent.append((time.perf_counter() - clock, time.process_time() - cpu))
    by_clock, of_cpu = np.median(spent, axis=0)
    return float(by_clock), float(of_cpu)


def run(prompts: int, context: int, times: int, weights: Path | None) -> None:
    """Print the times of reading a context, of valuing prompts, and of both."""
    import torch
    import typer

    from fleet.tasks import generate
    from router.value.model import V0

    torch.set_num_threads(1)
    value_model = V0.load(weights, device="cpu")
    embeddings = value_model.embed_all([task.prompt for task in generate(prompts + context, 0, "validation")])
    labels = np.random.default_rng(0).random(context).astype(np.float32)
    read, asked = embeddings[:context], embeddings[context:]
    fitted = value_model.fit_context(read, labels)
    parts: dict[str, Callable[[], object]] = {
        f"read {context} outcomes": lambda: value_model.fit_context(read, labels),
        f"value {prompts} prompts": lambda: value_model.value(asked, [fitted]),
        "both": lambda: value_model.value(asked, [value_model.fit_context(read, labels)]),
    }
    for name, work in parts.items():
        by_clock, of_cpu = timed(work, times)
        typer.echo(
            f"{name}: {by_clock * 1e3:.0f} ms, {of_cpu * 1e3:.0f} ms of CPU (median of {times}, one thread)"
        )
