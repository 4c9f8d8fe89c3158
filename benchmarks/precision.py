"""What rounding the backbone costs V0 (`router-bench precision`): AUC with exact and with quick embeddings.

The same prompts, contexts and questions are valued three times with the shipped weights: everything embedded exactly,
everything quickly, and the contexts exactly with the questions quickly, as in a gateway whose contexts were embedded
elsewhere. A fleet is read together, as the gateway reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from router.value.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.corpus import Source
    from router.value.model import V0

    Floats = NDArray[np.float32]

MODELS = 12
LIMIT = 0.003  # of the mean AUC that may be lost


@dataclass(frozen=True)
class Loss:
    """One source and context size: mean AUC over its models, exact; what the others lose; the largest of one model."""

    source: str
    prompts: int
    models: int
    rows: int
    cosine: float  # the least, of a prompt's two embeddings
    exact: float
    quick: float  # exact AUC less this one's
    mixed: float
    worst: float  # |quick|, of one model


def losses(source: Source, exact: V0, quick: V0, sizes: Sequence[int], prompts: int, seed: int) -> list[Loss]:
    """Losses of a source, cut to `prompts`, for every context size that leaves as many questions as rows."""
    from router.value.corpus import sample_prompts

    part = sample_prompts(source, prompts, seed)
    known, rounded = exact.embed_all(part.texts), quick.embed_all(part.texts)
    states = slice(0, known.shape[1])
    cosines = (known[:, states] * rounded[:, states]).sum(1) / (
        np.linalg.norm(known, axis=1) * np.linalg.norm(rounded, axis=1)
    )
    models = np.unique(np.linspace(0, len(part.models) - 1, MODELS).round().astype(int))
    found = []
    for rows in sizes:
        order = np.random.default_rng(seed).permutation(len(part.texts))
        seen, asked = order[:rows], order[rows:]
        if len(asked) < rows:
            continue
        labels = part.scores[:, models]
        pairs = {"exact": (known, known), "quick": (rounded, rounded), "mixed": (known, rounded)}
        scored = {
            name: np.array(_aucs(exact, labels, context[seen], query[asked], seen, asked))
            for name, (context, query) in pairs.items()
        }
        lost = {name: scored["exact"] - scored[name] for name in ("quick", "mixed")}
        found.append(
            Loss(
                part.name,
                len(part.texts),
                int(np.isfinite(scored["exact"]).sum()),
                rows,
                float(cosines.min()),
                float(np.nanmean(scored["exact"])),
                float(np.nanmean(lost["quick"])),
                float(np.nanmean(lost["mixed"])),
                float(np.nanmax(np.abs(lost["quick"]))),
            )
        )
    return found


def _aucs(
    v0: V0,
    labels: Floats,
    context: Floats,
    queries: Floats,
    seen: NDArray[np.intp],
    asked: NDArray[np.intp],
) -> list[float]:
    """Each model's AUC on `asked`, from its outcomes (P, M) on `seen`; pairs that were not observed are left out."""
    told, questions = labels[seen], labels[asked]
    histories = [(context[np.isfinite(one)], one[np.isfinite(one)]) for one in told.T]
    values = v0.value(queries, v0.fit_fleet(histories))
    return [
        auc(values[here, number], questions[here, number])
        for number, here in enumerate(np.isfinite(questions).T)
    ]


def run(folders: Sequence[Path], prompts: int, sizes: Sequence[int], seed: int) -> bool:
    """Measure, print, and say whether every mean loss is below `LIMIT`."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from router.value.corpus import read_source
    from router.value.model import V0

    torch.set_num_threads(
        1
    )  # as in a gateway of two cores; more of them wait for one another where others compute too
    exact = V0.load(device="cpu").at("fp32")
    quick = exact.at("auto")
    table = Table(title=f"AUC, backbone in fp32 and in {quick.precision}")
    names = (
        "source",
        "prompts",
        "models",
        "rows",
        "least cosine",
        "fp32",
        "lost",
        "lost, fp32 contexts",
        "one model",
    )
    for column in names:
        table.add_column(column, justify="right")
    every = [
        each for folder in folders for each in losses(read_source(folder), exact, quick, sizes, prompts, seed)
    ]
    for one in every:
        table.add_row(
            one.source,
            str(one.prompts),
            str(one.models),
            str(one.rows),
            f"{one.cosine:.5f}",
            f"{one.exact:.4f}",
            f"{one.quick:+.5f}",
            f"{one.mixed:+.5f}",
            f"{one.worst:.5f}",
        )
    Console(width=None if Console().is_terminal else 140).print(table)
    return all(max(one.quick, one.mixed) < LIMIT for one in every)
