"""The demo's tables and its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from router.demo.asking import Answer, Line, by_domain, line

NARROW: dict[str, Any] = {"box": SIMPLE, "pad_edge": False, "collapse_padding": True}  # fits 80 columns
# Okabe and Ito's colours: distinguishable with every kind of colour vision; the markers differ as well.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"


def lines_table(
    lines: Sequence[Line], references: Sequence[Line], models: Sequence[str], count: int
) -> Table:
    """Every β and every reference: accuracy, cost, and who got which share."""
    table = Table(title=f"{count} held-out prompts", **NARROW)
    table.add_column("", no_wrap=True)
    for heading in ("accuracy", "USD/1k", *models):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in (*lines, *references):
        if each is references[0]:
            table.add_section()
        shares = [f"{each.shares[model]:.0%}" if model in each.shares else "" for model in models]
        bold = "bold" if each in lines else None
        table.add_row(each.name, f"{each.accuracy:.1%}", f"{each.usd_per_1k:.4f}", *shares, style=bold)
    return table


def domains_table(routed: Sequence[Answer], strongest: Sequence[Answer], beta: float) -> Table:
    """Where the prompts of each domain went, and what came of it, beside the strongest model alone."""
    alone = strongest[0].model
    table = Table(title=f"β = {beta:g}, domain by domain, beside {alone} alone", **NARROW)
    for heading in ("domain", "mostly sent to"):
        table.add_column(heading, no_wrap=True)
    for heading in ("accuracy", "alone", "USD/1k", "alone"):
        table.add_column(heading, justify="right", no_wrap=True)
    theirs = by_domain(strongest)
    for domain, ours in sorted(by_domain(routed).items()):
        mine, other = line(domain, ours), line(domain, theirs[domain])
        top = sorted(mine.shares.items(), key=lambda item: -item[1])[:2]
        sent = ", ".join(f"{model} {share:.0%}" for model, share in top)
        accuracies = (f"{each.accuracy:.1%}" for each in (mine, other))
        table.add_row(domain, sent, *accuracies, f"{mine.usd_per_1k:.4f}", f"{other.usd_per_1k:.4f}")
    return table


def joined_table(before: Sequence[Answer], after: Sequence[Answer], newcomer: str, its_domain: str) -> Table:
    """Before and after a model joined, inside its domain and outside."""
    table = Table(title=f"before and after {newcomer} joined", **NARROW)
    table.add_column("", no_wrap=True)
    for heading in ("prompts", "accuracy", "USD/1k", f"to {newcomer}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, inside in ((its_domain, True), ("everything else", False)):
        old = [answer for answer in before if (answer.task.domain == its_domain) == inside]
        new = [answer for answer in after if (answer.task.domain == its_domain) == inside]
        was, now = line(name, old), line(name, new)
        table.add_row(
            name,
            str(len(old)),
            f"{was.accuracy:.1%} → {now.accuracy:.1%}",
            f"{was.usd_per_1k:.4f} → {now.usd_per_1k:.4f}",
            f"{now.shares.get(newcomer, 0):.0%}",
        )
    return table


def picture(
    path: Path, lines: Sequence[Line], references: Mapping[str, Line], singles: Sequence[Line]
) -> None:
    """The frontier as a PNG: accuracy over cost, one point for every β."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    figure = Figure(figsize=(7.2, 4.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curve = sorted(lines, key=lambda each: (each.usd_per_1k, each.accuracy))
    axes.plot(
        [each.usd_per_1k for each in curve],
        [each.accuracy for each in curve],
        color=BLUE, marker="o", linewidth=2, zorder=3, label="V0 Router, one point for every β",
    )  # fmt: skip
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for each in curve:
        axes.annotate(
            each.name, (each.usd_per_1k, each.accuracy), ha="left",
            xytext=(2, 6), rotation=35, rotation_mode="anchor",
            textcoords="offset points", fontsize=8, color=BLUE, path_effects=halo,
        )  # fmt: skip
    axes.scatter(
        [each.usd_per_1k for each in singles], [each.accuracy for each in singles],
        color=ORANGE, marker="s", s=36, label="one model for everything",
    )  # fmt: skip
    for each in singles:
        axes.annotate(
            each.name, (each.usd_per_1k, each.accuracy), ha="center",
            xytext=(0, -14), textcoords="offset points", fontsize=8, color=ORANGE, path_effects=halo,
        )  # fmt: skip
    for (name, each), marker, colour in zip(references.items(), "*D", (GREEN, GREY), strict=False):
        axes.scatter(
            [each.usd_per_1k], [each.accuracy], color=colour, marker=marker, s=90, label=name, zorder=4
        )
    axes.set_xscale("log")
    axes.margins(x=0.08)
    highest = max(each.accuracy for each in (*curve, *singles, *references.values()))
    axes.set_ylim(0, min(1.02, 1.35 * highest))  # room for the legend
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("USD per 1,000 requests (log scale)")
    axes.set_ylabel("accuracy on held-out prompts")
    axes.set_title("V0 Router over five tiny language models")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
