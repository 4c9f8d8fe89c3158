"""What the runs say together: learning curves, what a method needs to be as good as GRPO, and the pictures."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.rl.run import Run

    Floats = NDArray[np.float64]

REFERENCE = "grpo-16"
POINTS = 61  # of a curve
WINDOW = 5  # measurements that a curve's mean is over, centred
STEPS = 9  # that a gradient's norm is a mean over
DRAWS = 2_000
LATE = 0.5  # the later share of a run that levels are means of
COLOURS = {
    "grpo-16": "#555555",
    "grpo-4": "#56B4E9",
    "dapo-16": "#E69F00",
    "v0.5-4": "#F0B7A0",
    "v0.5-4-own": "#D55E00",
    "v0.5-own": "#8B1A1A",
    "mixture-own": "#CC79A7",
    "budget-v0": "#8FD4B5",
    "budget-own": "#009E73",
    "budget-previous": "#0072B2",
}


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval over seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Line:
    """
    One method. `needed` is the share of the reference's rollouts after which the mean curve is as high as the
    reference ends; `reached` how many redraws of the seeds got there at all. The rest are means over late steps.
    """

    method: str
    seeds: int
    start: float
    end: Estimate
    gain: Estimate  # of the mean reward over the whole run on the reference's, paired by seed
    needed: Estimate
    reached: float
    baseline_mse: float
    prior_mse: float
    gradient: float
    rollouts_a_prompt: float
    cpu_s: float


def smoothed(run: Run, at: Floats) -> Floats:
    """The held-out reward (len(at),) after so many rollouts: a running mean over measurements, between them lines."""
    rewards = np.array([one.reward for one in run.measured])
    half = WINDOW // 2
    means = [rewards[max(0, i - half) : i + half + 1].mean() for i in range(len(rewards))]
    return np.interp(at, [one.rollouts for one in run.measured], means)


def compare(runs: Sequence[Run]) -> list[Line]:
    """Every method beside the reference, which has to be among them. Seeds are redrawn together, paired."""
    by_method: dict[str, list[Run]] = defaultdict(list)
    for one in runs:
        by_method[one.method].append(one)
    total = min(one.measured[-1].rollouts for one in runs)
    at = np.linspace(0, total, POINTS)
    curves = {name: np.array([smoothed(one, at) for one in each]) for name, each in by_method.items()}
    seeds = min(len(each) for each in curves.values())
    picks = np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds))
    return [_line(name, by_method[name], curves, at, picks) for name in by_method]


def needed(curve: Floats, target: float, at: Floats) -> float:
    """The share of all rollouts after which a curve first is at the target; infinite where it never is."""
    above = np.flatnonzero(curve >= target)
    if not len(above):
        return float("inf")
    first = int(above[0])
    if first == 0:
        return 0.0
    low, high = curve[first - 1], curve[first]
    return float((at[first - 1] + (target - low) / (high - low) * (at[first] - at[first - 1])) / at[-1])


def _line(
    name: str, runs: Sequence[Run], curves: Mapping[str, Floats], at: Floats, picks: NDArray[np.int64]
) -> Line:
    own, reference = curves[name], curves[REFERENCE]
    shares = np.array([needed(own[pick].mean(0), float(reference[pick, -1].mean()), at) for pick in picks])
    late = [step for one in runs for step in one.steps[int(len(one.steps) * LATE) :]]
    asked = [each for one in runs for each in one.measured[1:]]
    return Line(
        method=name,
        seeds=len(runs),
        start=float(own[:, 0].mean()),
        end=_estimate(own[:, -1], picks),
        gain=_estimate((own - reference).mean(1), picks),
        needed=Estimate(
            needed(own.mean(0), float(reference[:, -1].mean()), at),
            *np.quantile(shares, (0.025, 0.975), method="nearest").tolist(),
        ),
        reached=float(np.isfinite(shares).mean()),
        baseline_mse=_mean([each.baseline_mse for each in asked]),
        prior_mse=_mean([each.prior_mse for each in asked]),
        gradient=float(np.mean([step.gradient for step in late])),
        rollouts_a_prompt=float(
            sum(one.steps[-1].rollouts for one in runs)
            / sum(step.prompts for one in runs for step in one.steps)
        ),
        cpu_s=float(np.mean([one.cpu_s for one in runs])),
    )


def _estimate(of_seeds: Floats, picks: NDArray[np.int64]) -> Estimate:
    low, high = np.quantile(of_seeds[picks].mean(1), (0.025, 0.975))
    return Estimate(float(of_seeds.mean()), float(low), float(high))


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def table(lines: Sequence[Line]) -> str:
    """Markdown."""
    rows = [
        "| method | reward at the end | mean gain on GRPO-16 | rollouts to GRPO-16's end | baseline MSE | prior MSE "
        "| gradient norm | rollouts a prompt | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        share = f"{line.needed}" + (f", {line.reached:.0%} of redraws" if line.reached < 1 else "")
        rows.append(
            f"| {line.method} | {line.end} | {line.gain} | {share} | {line.baseline_mse:.3f} | {line.prior_mse:.3f} "
            f"| {line.gradient:.2f} | {line.rollouts_a_prompt:.1f} | {line.cpu_s:.0f} |"
        )
    return "\n".join(rows)


def write(runs: Sequence[Run], figures: Path, folder: Path) -> str:
    """rl.png and .svg below `figures`, summary.json below `folder`; the table."""
    lines = compare(runs)
    figures.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(
        json.dumps([asdict(line) for line in lines], indent=2) + "\n", encoding="utf-8"
    )
    figure = _draw(runs)
    for suffix in ("png", "svg"):
        figure.savefig(figures / f"rl.{suffix}", dpi=130, bbox_inches="tight")
    return table(lines)


def _draw(runs: Sequence[Run]) -> Any:
    """Learning curves with intervals; gradient norms, baselines' errors, prompts seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[tuple[str, Callable[[Run, Floats], Floats]]] = [
        ("held-out reward", smoothed),
        ("gradient norm", _gradients),
        ("baseline MSE (rewards ±1), to here", _errors),
        ("prompts learnt from", _prompts),
    ]
    at = np.linspace(0, min(one.measured[-1].rollouts for one in runs), POINTS)
    for axes, (title, curve) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name in dict.fromkeys(one.method for one in runs):
            curves = np.array([curve(one, at) for one in runs if one.method == name])
            spread = (
                1.96 * curves.std(0, ddof=1) / len(curves) ** 0.5 if len(curves) > 1 else np.zeros(len(at))
            )
            mean, colour = curves.mean(0), COLOURS.get(name, "#8B6F00")
            axes.plot(at, mean, color=colour, label=name)
            axes.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("rollouts")
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def _gradients(run: Run, at: Floats) -> Floats:
    """A running mean over a few steps."""
    width = min(STEPS, len(run.steps))
    norms, rollouts = (
        np.convolve(each, np.ones(width) / width, mode="valid")
        for each in ([step.gradient for step in run.steps], [step.rollouts for step in run.steps])
    )
    return np.interp(at, rollouts, norms)


def _errors(run: Run, at: Floats) -> Floats:
    known = [(one.rollouts, one.baseline_mse) for one in run.measured if one.baseline_mse is not None]
    rollouts, errors = zip(*known, strict=True)
    return np.interp(at, rollouts, np.cumsum(errors) / np.arange(1, len(errors) + 1))


def _prompts(run: Run, at: Floats) -> Floats:
    return np.interp(
        at, [step.rollouts for step in run.steps], np.cumsum([step.prompts for step in run.steps])
    )
