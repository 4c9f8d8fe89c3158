"""
What a TabPFN head costs: reading a context once, then valuing one prompt against what was kept.

    python -m benchmarks.tabpfn_latency WEIGHTS --columns 400 --rows 256 --rows 1024

Random rows: what TabPFN costs does not depend on what they say. Wall time and CPU time are both told; on a machine
with other work the second is the one that lasts.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def measure(
    weights: Annotated[Path, typer.Argument(help="TabPFN's file.")],
    columns: Annotated[int, typer.Option(help="Features of a row; 400 without an adapter.")] = 400,
    rows: Annotated[list[int] | None, typer.Option(help="Rows of a context.")] = None,
    estimators: Annotated[int, typer.Option()] = 4,
    repeats: Annotated[int, typer.Option(help="Predictions of one prompt.")] = 20,
    device: Annotated[str, typer.Option()] = "cpu",
    threads: Annotated[int, typer.Option(help="Of torch.")] = 1,
    accept_licence: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Print a Markdown table of times and sizes."""
    import torch

    from router.value.heads.tabpfn import TabpfnHead
    from router.value.heads.tabpfn_weights import TabpfnWeights

    torch.set_num_threads(threads)
    loaded = TabpfnWeights.load(weights, device, accept_licence)
    head = TabpfnHead(loaded, columns, estimators=estimators, cache_bytes=1 << 40)
    parameters = sum(p.numel() for p in loaded.specs.model.parameters())
    typer.echo(
        f"{loaded.release.name}, {parameters / 1e6:.2f} M parameters, {columns} columns, "
        f"{estimators} estimators, {device}, {threads} threads\n"
    )
    typer.echo("| N | read, s wall | read, s CPU | value p50, ms wall | value p50, ms CPU | kept, MB |")
    typer.echo("|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for count in rows or [256, 1024]:
        data, query = rng.normal(size=(count, columns)), rng.normal(size=(1, columns))
        labels = (data[:, 0] > 0).astype(np.float32)
        wall, cpu = time.perf_counter(), time.process_time()
        context = head.read(data, labels)
        read = time.perf_counter() - wall, time.process_time() - cpu
        value = _medians(partial(head.value, query, [context]), repeats)
        size = head.cache_size(context) / 1e6
        typer.echo(
            f"| {count} | {read[0]:.2f} | {read[1]:.2f} | {value[0] * 1e3:.1f} | {value[1] * 1e3:.1f} | {size:.0f} |"
        )


def _medians(work: Callable[[], object], repeats: int) -> NDArray[np.float64]:
    """Wall and CPU seconds, after one call that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return np.median(taken, axis=0)


if __name__ == "__main__":
    typer.run(measure)
