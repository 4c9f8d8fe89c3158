"""What sweeps found, as Markdown tables: routers, what V0's head and its embedding earn, and who is ahead of whom.

Pure functions of one or more `Swept`. A difference is paired by prompt and seed, and bold where its interval of 95%
leaves out 0. A figure that does not exist is –.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import metrics, parts
from benchmarks.baselines.registry import ON_V0

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.parts import Averaged
    from benchmarks.results import DataEntry, Part

    Difference = tuple[float, float, float]  # mean, low, high

NONE = "–"
LOWER_IS_BETTER = ("mse", "ece")
COUNTED = {"accuracy": "accuracy, β=1", "aiq": "AIQ", "auc": "AUC", "mse": "MSE", "ece": "ECE"}
EMBEDDED = ("aiq", "accuracy", "auc")  # what the embedding alone is held against
BEST_SINGLE = "best-single"


@dataclass(frozen=True)
class Swept:
    """Every line of one fleet of one sweep, with the redraws that pair one line with another."""

    name: str
    part: Part
    redrawn: Mapping[str, Averaged]

    @property
    def v0(self) -> list[str]:
        """V0 itself, by its contexts."""
        return [name for name in self.part.routers if name.startswith("v0")]

    @property
    def fitted(self) -> list[str]:
        """The other routers, on the sentence embedding."""
        return [name for name in self.part.routers if not name.startswith("v0") and ON_V0 not in name]

    @property
    def on_v0(self) -> list[str]:
        """The other routers, on V0's embedding."""
        return [name for name in self.part.routers if name.endswith(ON_V0)]

    def figure(self, name: str, figure: str) -> float:
        """What was measured of a line; NaN where there is no such figure."""
        found = self.redrawn[name].figures.get(figure)
        return float("nan") if found is None else float(found[0])

    def best(self, names: Iterable[str], figure: str) -> str | None:
        """The line with the highest figure: chosen with hindsight, on the test prompts."""
        known = [name for name in names if np.isfinite(self.figure(name, figure))]
        return max(known, key=lambda name: self.figure(name, figure), default=None)

    def less(self, name: str, other: str | None, figure: str) -> Difference | None:
        """A line less another; None where they cannot be paired."""
        if other is None:
            return None
        return parts.differences(self.redrawn[name], self.redrawn[other]).get(figure)


def routers(part: Part) -> str:
    """Every line but the constant models, the highest AIQ first: V0's bold, those that learn nothing in italics."""
    lines = {**part.routers, **{n: r for n, r in part.references.items() if not n.startswith("constant:")}}
    rows = []
    for name, line in sorted(lines.items(), key=lambda item: -(item[1].aiq or 0)):
        ends = line.intervals.get("aiq")
        mark = "**" if name.startswith("v0") else "" if line.learns else "*"
        rows.append(
            [
                f"{mark}{name}{mark}",
                _share(line.accuracy),
                _share(line.aiq) + ("" if ends is None else f" [{_share(ends[0])}, {_share(ends[1])}]"),
                *map(_percent, (line.cost_save, line.gap_closed)),
                *map(_share, (line.auc, line.ece)),
                _said(line.to_v0.get("aiq")),
            ]
        )
    columns = (
        "accuracy, β=1",
        "AIQ [95%]",
        "CostSave",
        "gap closed",
        "AUC",
        "ECE",
        f"AIQ less {part.v0 or 'V0'}",
    )
    return _table(("", *columns), rows)


def about(entry: DataEntry, part: Part, peak_mb: float) -> str:
    """What a sweep was made on: models, prompts, those of the tests, memory, and what was left out."""
    tested = ", ".join(map(str, part.test_prompts))
    said = f"{len(entry.models)} models; {entry.prompts:,} prompts, test prompts {tested}; "
    said += f"peak memory {peak_mb / 1024:.1f} GiB."
    left = [f"{each.count:,} {each.what} ({each.why})" for each in (*entry.exclusions, *part.exclusions)]
    return f"{said} Left out: {'; '.join(left)}." if left else said


def earned(sweeps: Sequence[Swept], figure: str) -> str:
    """V0's figure less that of the best fitted router on either embedding."""
    rows = []
    for swept in sweeps:
        bests = [swept.best(names, figure) for names in (swept.fitted, swept.on_v0)]
        for name in swept.v0:
            row = [f"{swept.name}, {name}", _share(swept.figure(name, figure))]
            for best in bests:
                value = NONE if best is None else f"{_plain(best)} {_share(swept.figure(best, figure))}"
                row += [value, _bold(swept.less(name, best, figure))]
            rows.append(row)
    columns = ("V0", "best on MiniLM", "V0 less it", "best on V0's embedding", "V0 less it: the head")
    return _table(("", *columns), rows)


def embedding(sweeps: Sequence[Swept]) -> str:
    """The mean of the fitted routers on V0's embedding, less that of the same routers on the sentence embedding."""
    rows = [[swept.name, *(_bold(_of_embedding(swept, figure)) for figure in EMBEDDED)] for swept in sweeps]
    return _table(("", *(COUNTED[figure] for figure in EMBEDDED)), rows)


def gaps(sweeps: Sequence[Swept]) -> str:
    """The share of the gap to the oracle that is closed, and V0's as a multiple of the best fitted router's."""
    names = _in_order(name for swept in sweeps for name in swept.v0)
    rows = []
    for swept in sweeps:
        closed = {name: swept.figure(name, "gap_closed") for name in swept.v0}
        row = [swept.name, *(_percent(closed.get(name)) for name in names)]
        for others in (swept.fitted, swept.on_v0):
            best = swept.best(others, "gap_closed")
            bar = float("nan") if best is None else swept.figure(best, "gap_closed")
            times = [f"{closed[name] / bar:.2f}" if name in closed and bar > 0 else NONE for name in names]
            row += [NONE if best is None else f"{_plain(best)} {_percent(bar)}", ", ".join(times)]
        rows.append(row)
    return _table(("", *names, "best on MiniLM", "multiple", "best on V0's embedding", "multiple"), rows)


def beside_single(sweeps: Sequence[Swept]) -> str:
    """Accuracy at the largest β, V0 less the best single model."""
    names = _in_order(name for swept in sweeps for name in swept.v0)
    rows = [
        [
            swept.name,
            _share(swept.figure(BEST_SINGLE, "accuracy")),
            *(_bold(swept.less(n, BEST_SINGLE, "accuracy") if n in swept.v0 else None) for n in names),
        ]
        for swept in sweeps
    ]
    return _table(("", "best single", *names), rows)


def counts(sweeps: Sequence[Swept]) -> str:
    """Of the fitted routers, how many V0 is surely ahead of / behind, on either embedding."""
    rows = []
    for swept in sweeps:
        groups = [group for group in (swept.fitted, swept.on_v0) if group]
        for name in swept.v0:
            row = [f"{swept.name}, {name}"]
            for figure in COUNTED:
                signs = [[_sign(swept.less(name, other, figure), figure) for other in g] for g in groups]
                row.append("; ".join(f"{of.count(1)} / {of.count(-1)}" for of in signs))
            rows.append(row)
    return _table(("", *COUNTED.values()), rows)


def _of_embedding(swept: Swept, figure: str) -> Difference | None:
    pairs = [
        (swept.redrawn[name].figures[figure], swept.redrawn[name + ON_V0].figures[figure])
        for name in swept.fitted
        if name + ON_V0 in swept.on_v0
    ]
    if not pairs:
        return None
    change = np.mean([own - other for other, own in pairs], axis=0)  # (R,)
    return (float(change[0]), *metrics.interval(change[1:]))


def _sign(difference: Difference | None, figure: str) -> int:
    """1: surely better, -1: surely worse, 0: neither."""
    if difference is None:
        return 0
    sign = int(difference[1] > 0) - int(difference[2] < 0)
    return -sign if figure in LOWER_IS_BETTER else sign


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _plain(name: str) -> str:
    """A router's name without the embedding that its column says."""
    return name.removesuffix(ON_V0)


def _share(value: float | None) -> str:
    return NONE if value is None or not np.isfinite(value) else f"{value:.3f}".replace("0.", ".", 1)


def _percent(value: float | None) -> str:
    return NONE if value is None or not np.isfinite(value) else f"{100 * value:+.1f}%"


def _said(difference: Difference | None) -> str:
    if difference is None or not np.isfinite(difference).all():
        return NONE
    mean, low, high = difference
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _bold(difference: Difference | None) -> str:
    said = _said(difference)
    return f"**{said}**" if difference is not None and (difference[1] > 0 or difference[2] < 0) else said


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(columns), *map(" | ".join, rows)]
    head, *body = [f"| {line} |".replace("|  |", "| |") for line in lines]
    return "\n".join([head, "|" + "---|" * len(columns), *body])
