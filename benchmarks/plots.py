"""The pictures, told apart without colour too: cost against accuracy; quality against the outcomes of a new model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.frontier import pareto

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from benchmarks.cold_start import ColdRouter, ColdStart
    from benchmarks.results import Part, Results, RouterResult

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8B6F00", "#555555")
"""Okabe and Ito's colours (2008), which colour-blind readers tell apart; yellow is darkened for print."""
V0_COLOUR = "#D55E00"  # the eighth, kept for V0
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("", "6 2", "2 2", "8 2 2 2")
LOG_FROM = 20.0  # dearest over cheapest cost from which the axis is logarithmic


@dataclass(frozen=True)
class Style:
    """How a line is drawn, here and in the report. `dash` is lengths in points, as in SVG."""

    colour: str
    marker: str
    dash: str
    width: float


def styles(names: Iterable[str]) -> dict[str, Style]:
    """
    A style for every router, the same in every picture: no two share colour and dash within 28.

    V0's are thick and in a colour of their own.
    """
    ordered = sorted(names)
    others = [name for name in ordered if not name.startswith("v0")]
    found = {
        name: Style(
            OKABE_ITO[i % len(OKABE_ITO)],
            MARKERS[(i + i // len(OKABE_ITO)) % len(MARKERS)],
            DASHES[i // len(OKABE_ITO) % len(DASHES)],
            1.2,
        )
        for i, name in enumerate(others)
    }
    own = [name for name in ordered if name.startswith("v0")]
    for i, name in enumerate(own):
        found[name] = Style(V0_COLOUR, MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)], 2.4)
    return found


def is_wide(part: Part) -> bool:
    """Whether costs span so much that the axis is better logarithmic."""
    low, high = part.cost_range
    return low > 0 and high / low >= LOG_FROM


def frontier(made: Results, folder: Path) -> list[Path]:
    """frontier.png and .svg of the result, and frontier-TITLE of each further part."""
    written = []
    for part in (made, *made.parts.values()):
        stem = "frontier" if part is made else f"frontier-{slug(part.title)}"
        written += _write(_draw(part), folder, stem)
    return written


def cold_start(found: ColdStart, folder: Path) -> list[Path]:
    """cold_start-DATA.png and .svg of every dataset."""
    written = []
    for data, routers in found.data.items():
        figure = _draw_cold_start(f"{data}: {found.new_models[data]} new models", routers)
        written += _write(figure, folder, f"cold_start-{slug(data)}")
    return written


def slug(title: str) -> str:
    """A title as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _write(figure: Figure, folder: Path, stem: str) -> list[Path]:
    paths = [folder / f"{stem}.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=160, bbox_inches="tight")
    return paths


def _canvas(title: str) -> tuple[Any, Any]:
    """A figure and its axes, without any window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _line(style: Style) -> dict[str, Any]:
    """A style in matplotlib's words."""
    dash = (0, tuple(map(float, style.dash.split()))) if style.dash else "-"
    return {"color": style.colour, "linestyle": dash, "linewidth": style.width, "marker": style.marker}


def _draw_cold_start(title: str, routers: Mapping[str, ColdRouter]) -> Any:
    """The sizes at even distances; a router that has to be fitted again is one mark, its seconds in the legend."""
    figure, axes = _canvas(title)
    sizes = sorted({point.outcomes for router in routers.values() for point in router.points})
    drawn = styles(routers)
    for name, router in routers.items():
        points = [point for point in router.points if point.auc is not None]
        if not points:
            continue
        label = name if router.takes_new_models else f"{name} (refit, {points[-1].seconds:.1f} s)"
        at = [sizes.index(point.outcomes) for point in points]
        axes.plot(at, [point.auc for point in points], **_line(drawn[name]), markersize=5, label=label)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlabel("outcomes of each new model")
    axes.set_ylabel("AUC on the new models")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return figure


def _draw(part: Part) -> Any:
    figure, axes = _canvas(part.title)
    _draw_references(axes, part.references)
    drawn = styles(part.routers)
    for name in sorted(part.routers, key=lambda name: -(part.routers[name].aiq or 0)):
        _draw_router(axes, name, part.routers[name], drawn[name])
    if is_wide(part):
        axes.set_xscale("log")
    axes.set_xlabel(f"cost ({part.cost_unit})")
    axes.set_ylabel("accuracy (mean score)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, title="by AIQ")
    return figure


def _draw_router(axes: Any, name: str, line: RouterResult, style: Style) -> None:
    """The points that none of its own others beats, joined; the beaten ones small and pale."""
    cost = [point.cost for point in line.points]
    accuracy = [point.accuracy for point in line.points]
    best = pareto(cost, accuracy)
    axes.plot(
        [cost[k] for k in best],
        [accuracy[k] for k in best],
        **_line(style),
        markersize=4,
        label=name if line.aiq is None else f"{name}  {line.aiq:.3f}",
        zorder=4 if style.colour == V0_COLOUR else 3,
    )
    axes.plot(cost, accuracy, style.marker, color=style.colour, markersize=2, alpha=0.35, zorder=2)


def _draw_references(axes: Any, references: Mapping[str, RouterResult]) -> None:
    for name, line in references.items():
        cost = [point.cost for point in line.points]
        accuracy = [point.accuracy for point in line.points]
        if name == "zero-router":
            axes.plot(
                cost, accuracy, color="#000000", linestyle="--", linewidth=1, label="zero router", zorder=2
            )
        elif name.startswith("constant:"):
            axes.plot(cost, accuracy, "o", color="#999999", markersize=4, zorder=1)
            axes.annotate(
                name.removeprefix("constant:").rsplit("/", 1)[-1],
                (cost[0], accuracy[0]),
                textcoords="offset points",
                xytext=(4, -8),
                fontsize=6,
                color="#666666",
            )
        elif name in ("oracle", "best-single", "random"):
            marker = {"oracle": "*", "best-single": "h", "random": "x"}[name]
            axes.plot(cost[-1:], accuracy[-1:], marker, color="#000000", markersize=8, label=name, zorder=5)
        elif name == "per-dataset-best":
            best = pareto(cost, accuracy)
            axes.plot(
                [cost[k] for k in best],
                [accuracy[k] for k in best],
                color="#000000",
                linestyle=":",
                linewidth=1,
                label=name,
                zorder=2,
            )
