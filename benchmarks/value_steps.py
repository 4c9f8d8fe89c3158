"""`router-bench value-steps`: a policy's checkpoints valued step by step, by V0 and by what a trainer has without it.

Each checkpoint is asked about from its own outcomes on other prompts (`aligned`) and from those of the checkpoint
before (`stale`). Previous-epoch is what the prompt itself earned at the checkpoint before; where it was not rolled out
then, that checkpoint's mean. V0 and own is V0's value beside it, as a trainer's `Remembering` has it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import typer

from router.schedule.own import informed
from router.value.ablation import PLAIN
from router.value.commands import complaints
from router.value.diagnostics import estimates, mean_over_policies
from router.value.metrics import auc, calibration_mse, expected_calibration_error
from router.value.paper_commands import MAX_TOKENS, SEEDS, weights_and_source
from router.value.protocols import policies, sequential_trials, steps, value_plainly, value_trials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.corpus import Source
    from router.value.diagnostics import Estimate, Valued
    from router.value.protocols import Trial

    Runs = list[list[Valued]]  # by seed, by policy

PREVIOUS = "previous epoch"
OWN = "v0 and own"
ROLLOUTS = 10  # behind each score: v0_dapo's
METRICS = {
    "AUC": mean_over_policies(auc),
    "MSE": mean_over_policies(calibration_mse),
    "ECE": mean_over_policies(expected_calibration_error),
}


@dataclass(frozen=True)
class Row:
    """One predictor at one step; figures by metric."""

    context: str
    when: str
    predictor: str
    queries: int
    found: dict[str, Estimate]


def previous_epoch(source: Source, trial: Trial) -> NDArray[np.float32]:
    """What a stale trial's queries (M,) earned at the checkpoint before; NaN where they were not rolled out then."""
    return source.scores[trial.queries, trial.column]


def filled(source: Source, trial: Trial) -> NDArray[np.float32]:
    """As `previous_epoch`, with that checkpoint's mean over other prompts where there is none."""
    earned = previous_epoch(source, trial)
    others = np.delete(source.scores[:, trial.column], trial.queries)
    return np.where(np.isnan(earned), np.nanmean(others), earned).astype(np.float32)


def with_own(values: NDArray[np.float32], earned: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (M,) beside what the prompts `earned` (M,) in `ROLLOUTS` at the checkpoint before; as they were at NaN."""
    return informed(values, earned, ROLLOUTS * ~np.isnan(earned)).astype(np.float32)


def at_step(runs: Runs, names: Iterable[str]) -> Runs:
    """The runs restricted to some policies."""
    kept = set(names)
    return [[one for one in run if one.policy in kept] for run in runs]


def where_known(runs: Runs, known: Mapping[str, NDArray[np.bool_]]) -> Runs:
    """The runs restricted to queries that `known` (M,) names, all policies as one: few are left of each."""

    span = 1 + max(
        int(one.queries.max()) for run in runs for one in run
    )  # one policy's prompt is not another's

    def together(run: Sequence[Valued]) -> list[Valued]:
        apart = [replace(one, queries=one.queries + number * span) for number, one in enumerate(run)]
        masks = [known[one.policy] for one in run]
        values, outcomes, hard, queries = (
            np.concatenate([getattr(one, part)[mask] for one, mask in zip(apart, masks, strict=True)])
            for part in ("values", "outcomes", "difficulty", "queries")
        )
        joined = replace(
            run[0], policy="all", values=values, outcomes=outcomes, difficulty=hard, queries=queries
        )
        return [joined]

    return [together(run) for run in runs]


def run(data: Path, weights: Path | None, cache: Path, out: Path | None) -> None:
    """Print the tables, and write the figures to out/value_steps.json."""
    with complaints():
        checkpoint, corpus, seen = weights_and_source(data, weights, cache)
        source = corpus.source
        found = policies(source)
        predicted: dict[str, dict[str, Runs]] = {"aligned": {}, "stale": {}}
        known: dict[str, NDArray[np.bool_]] = {}
        for seed in SEEDS:
            trials = [
                trial
                for step in steps(found)
                for trial in sequential_trials(source, step, seed, allowed=~seen)
            ]
            for kind, of in predicted.items():
                chosen = [trial for trial in trials if trial.kind == kind]
                valued = {"v0": value_trials(checkpoint.network, corpus, chosen, MAX_TOKENS)}
                valued |= {name: value_plainly(plain, corpus, chosen) for name, plain in PLAIN.items()}
                if kind == "stale":
                    asked = list(zip(valued["v0"], chosen, strict=True))
                    valued[PREVIOUS] = [replace(one, values=filled(source, trial)) for one, trial in asked]
                    valued[OWN] = [
                        replace(one, values=with_own(one.values, previous_epoch(source, trial)))
                        for one, trial in asked
                    ]
                    if seed == SEEDS[0]:
                        known = {t.policy.name: ~np.isnan(previous_epoch(source, t)) for t in chosen}
                for name, values in valued.items():
                    of.setdefault(name, []).append(values)
        rows: list[Row] = []
        for kind, of in predicted.items():
            for step in steps(found):
                names = [policy.name for policy in found if policy.step == step]
                for name, runs in of.items():
                    here = at_step(runs, names)
                    if here[0]:
                        rows.append(_row(kind, f"step {step}", name, here))
        rows += [
            _row("stale", "all, rolled out before", name, where_known(runs, known))
            for name, runs in predicted["stale"].items()
        ]
        typer.echo(
            f"{source.name}: {int(seen.sum())} of {len(seen)} prompts were trained on: never asked about; "
            f"{len(SEEDS)} draws of the context\n\n{_table(rows)}"
        )
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            shown = json.dumps([asdict(row) for row in rows], indent=2)
            (out / "value_steps.json").write_text(shown + "\n", encoding="utf-8")


def _row(context: str, when: str, predictor: str, runs: Runs) -> Row:
    return Row(context, when, predictor, sum(len(one.values) for one in runs[0]), estimates(METRICS, runs))


def _table(rows: Sequence[Row]) -> str:
    lines = [
        f"| context | when | predictor | queries | {' | '.join(METRICS)} |",
        f"|{'---|' * (4 + len(METRICS))}",
    ]
    for row in rows:
        figures = " | ".join(str(row.found[name]) for name in METRICS)
        lines.append(f"| {row.context} | {row.when} | {row.predictor} | {row.queries} | {figures} |")
    return "\n".join(lines)
