"""A collection as a native folder: prompts.parquet, outcomes.parquet, models.json, and a README with its provenance.

Only whole pairs are written: a prompt and a model with a grade for every sample. What is left out is counted, with
the reason, in the README.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd

from router.eligibility import unfit

if TYPE_CHECKING:
    from benchmarks.collect_journal import Call, Journal
    from benchmarks.collect_questions import Question
    from fleet.model import Model

NOT_ASKED = "not asked yet"
SIMULATED = "simulated"


@dataclass(frozen=True)
class ModelSummary:
    """One model's part of a folder. Means are over its pairs; None where there are none, or no cost is known."""

    pairs: int
    accuracy: float | None
    cost_usd: float | None  # a call's mean
    output_tokens: float | None
    empty: int  # replies without text
    cut: int  # replies that ended at the token limit
    left_out: Mapping[str, int]  # pairs by reason


def facts(model: Model) -> dict[str, Any]:
    """What models.json says of a model; never an address or the name of a key."""
    return {
        "target": model.target,
        "price_in_per_mtok": model.prices.input,
        "price_out_per_mtok": model.prices.output,
        "price_cached_in_per_mtok": model.prices.cached_input,
        "parameter_ratio": model.parameter_ratio,
        "price_source": SIMULATED if model.provider == "replay" else "router.yaml",
    }


def write(
    folder: Path,
    questions: Sequence[Question],
    models: Sequence[Model],
    samples: int,
    journal: Journal,
    stopped: Mapping[str, str],
    about: Mapping[str, str],
) -> dict[str, ModelSummary]:
    """
    Write what is whole; `about` are the lines of the README's table. Each file is replaced at once, or not at all.

    `models` are those of this run, `stopped` says why some stopped; earlier runs' models are written as well.
    """
    rows, summaries = _rows(questions, {model.name: model for model in models}, samples, journal, stopped)
    asked = {row["prompt_id"] for row in rows}
    prompts = [
        {
            "prompt_id": question.id,
            "dataset": question.dataset,
            "text": question.text,
            "answer": question.answer,
            "verifier": question.verifier,
            **question.facts,
        }
        for question in questions
        if question.id in asked
    ]
    named = [
        {"model": name, "params_b": None, "active_params_b": None, **journal.models[name]}
        for name in summaries
    ]
    columns = ["prompt_id", "model", "score", "input_tokens", "output_tokens", "cost_usd"]
    outcomes = pd.DataFrame(rows, columns=columns).astype(
        {
            "prompt_id": "string", "model": "string", "score": "float64", "input_tokens": "Int64",
            "output_tokens": "Int64", "cost_usd": "float64",
        }
    )  # fmt: skip
    _replace(
        folder / "outcomes.parquet", lambda path: outcomes.to_parquet(path, index=False, compression="zstd")
    )
    _replace(
        folder / "models.json",
        lambda path: path.write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8"),
    )
    text = readme(folder.resolve().name, summaries, journal.models, about)
    _replace(folder / "README.md", lambda path: path.write_text(text, encoding="utf-8"))
    frame = pd.DataFrame(prompts, columns=None if prompts else ["prompt_id", "dataset", "text"])
    # written last: a folder with prompts is whole
    _replace(folder / "prompts.parquet", lambda path: frame.to_parquet(path, index=False, compression="zstd"))
    return summaries


def _rows(
    questions: Sequence[Question],
    models: Mapping[str, Model],
    samples: int,
    journal: Journal,
    stopped: Mapping[str, str],
) -> tuple[list[dict[str, Any]], dict[str, ModelSummary]]:
    rows: list[dict[str, Any]] = []
    summaries = {}
    for name in journal.models:
        left_out: Counter[str] = Counter()
        calls: list[Call] = []
        before = len(rows)
        for question in questions:
            keys = [(question.id, name, sample) for sample in range(samples)]
            said = [journal.calls[key] for key in keys if key in journal.calls]
            if len(said) == samples:
                rows.append(_row(question.id, name, said))
                calls += said
                continue
            failed = next((journal.failures[key].failed for key in keys if key in journal.failures), None)
            unable = unfit([models[name]], question.features).get(name) if name in models else None
            left_out[unable or failed or stopped.get(name, NOT_ASKED)] += 1
        summaries[name] = _summary(rows[before:], calls, left_out)
    return rows, summaries


def _row(prompt: str, model: str, said: Sequence[Call]) -> dict[str, Any]:
    """The mean over samples; tokens are rounded, and nothing is made up where the upstream did not say."""
    read, written = (_mean([getattr(c, name) for c in said]) for name in ("input_tokens", "output_tokens"))
    return {
        "prompt_id": prompt,
        "model": model,
        "score": fmean(call.score for call in said),
        "input_tokens": None if read is None else round(read),
        "output_tokens": None if written is None else round(written),
        "cost_usd": _mean([call.cost_usd for call in said]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if values and len(known) == len(values) else None


def _summary(
    rows: Sequence[Mapping[str, Any]], calls: Sequence[Call], left_out: Mapping[str, int]
) -> ModelSummary:
    return ModelSummary(
        pairs=len(rows),
        accuracy=fmean(row["score"] for row in rows) if rows else None,
        cost_usd=_mean([call.cost_usd for call in calls]),
        output_tokens=_mean([call.output_tokens for call in calls]),
        empty=sum(call.empty for call in calls),
        cut=sum(call.finish == "length" for call in calls),
        left_out=dict(left_out),
    )


def _replace(path: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file beside its place, then put it there."""
    beside = path.with_name(f".{path.name}.part")
    write_to(beside)
    os.replace(beside, path)


def readme(
    name: str,
    summaries: Mapping[str, ModelSummary],
    models: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, str],
) -> str:
    """The README of a folder."""
    simulated = [model for model in summaries if models[model]["price_source"] == SIMULATED]
    lines = [
        f"# {name}",
        "",
        "Outcomes of real calls, written by `router-bench collect`, in the native folder format of V0 Router.",
        "A score is the mean over the samples of a prompt, each graded by the prompt's verifier; costs and tokens are",
        "what the upstreams reported, at the prices below.",
        *(["", f"SIMULATED models, not language models: {', '.join(simulated)}."] if simulated else []),
        "",
        "| | |",
        "|---|---|",
        *(f"| {_cell(key)} | {_cell(value)} |" for key, value in about.items()),
        "",
        "## Models",
        "",
        "| model | target | USD/M in, out | pairs | mean score | USD a call | tokens a reply | empty | cut |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for model, one in summaries.items():
        known = models[model]
        lines.append(
            f"| {_cell(model)} | {_cell(known['target'])} | {known['price_in_per_mtok']:g}, "
            f"{known['price_out_per_mtok']:g} | {one.pairs} | {_figure(one.accuracy, '.3f')} | "
            f"{_figure(one.cost_usd, '.3g')} | {_figure(one.output_tokens, '.1f')} | {one.empty} | {one.cut} |"
        )
    lines += [
        "",
        "A pair is a prompt and a model with a grade for every sample. Replies without text, and replies that were",
        "cut at the token limit, are graded as they are, and counted here.",
        "",
        "## Left out",
        "",
        *_left_out(summaries),
        "",
    ]
    return "\n".join(lines)


def _left_out(summaries: Mapping[str, ModelSummary]) -> list[str]:
    by_reason: dict[tuple[str, str], int] = defaultdict(int)
    for model, one in summaries.items():
        for reason, count in one.left_out.items():
            by_reason[model, reason] += count
    if not by_reason:
        return ["Nothing: every pair is there."]
    head = [
        "Pairs without a grade for every sample are not in the tables:",
        "",
        "| model | pairs | why |",
        "|---|--:|---|",
    ]
    return head + [f"| {_cell(m)} | {count} | {_cell(why)} |" for (m, why), count in by_reason.items()]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
