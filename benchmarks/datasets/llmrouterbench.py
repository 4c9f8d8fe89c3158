"""LLMRouterBench (github.com/ynulihao/LLMRouterBench, arXiv 2601.07206): bench/<dataset>/<split>/<model>/<time>.json.

A file is one run: dataset_name, split, model_name, records with index, origin_query, prompt, score, prompt_tokens,
completion_tokens and cost (USD). The newest run of a model counts, as in its own loader.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import facts_beside, field, json_document
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

DEPTH = 3  # folders between the root and a run
HEAD_BYTES = 65_536


def recognises(path: Path) -> bool:
    """A folder with `<dataset>/<split>/<model>/*.json`, or with a `bench` or `results/bench` folder of those."""
    return bool(path.is_dir() and _runs(path))


def read(path: Path) -> Outcomes:
    """Read the newest run of every model on every split. Raises `OutcomesError`."""
    collector = Collector(path.resolve().name, wordings="first")
    runs = _runs(path)
    if not runs:
        raise OutcomesError("holds no LLMRouterBench run", path)
    for folder in sorted({run.parent for run in runs}):
        newest, *older = sorted((run for run in runs if run.parent == folder), reverse=True)
        collector.note("runs", "the same model has a newer run on the same split", len(older))
        _read_run(newest, collector)
    return collector.finish(facts_beside(path))


def _runs(path: Path) -> list[Path]:
    for root in (path, path / "bench", path / "results" / "bench"):
        found = sorted(root.glob("/".join(["*"] * DEPTH) + "/*.json"))
        if found and _is_run(found[0]):
            return found
    return []


def _is_run(file: Path) -> bool:
    """Whether a file begins as a run does, so that another benchmark's folders of JSON are not taken for runs."""
    with file.open("rb") as opened:
        beginning = opened.read(HEAD_BYTES)
    return b'"records"' in beginning or b'"performance"' in beginning


def _read_run(run: Path, collector: Collector) -> None:
    document = json_document(run)
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        raise OutcomesError("is not a run: it has no list of records", run)
    if document.get("demo"):
        collector.note("runs", "they are marked as a demonstration")
        return
    model_folder, split_folder, dataset_folder = run.parent, run.parent.parent, run.parent.parent.parent
    dataset = str(document.get("dataset_name") or dataset_folder.name)
    split = str(document.get("split") or split_folder.name)
    rows = [
        _row(record, run, number, f"{dataset}/{split}") for number, record in enumerate(document["records"])
    ]
    if not rows:
        collector.note("runs", "they have no records")
        return
    frame = pd.DataFrame(rows).assign(
        dataset=dataset, model=str(document.get("model_name") or model_folder.name)
    )
    if not frame["cost"].fillna(0).astype(bool).any():
        collector.note("recorded costs", "a run whose every cost is 0 recorded none", len(frame))
        frame["cost"] = None
    collector.prompts(frame, run)
    collector.outcomes(frame, run)


def _row(record: Any, run: Path, number: int, prefix: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise OutcomesError("a record is not an object", run, number)
    query = record.get("origin_query") or record.get("prompt")
    return {
        "prompt_id": f"{prefix}/{field(record, 'index', run, number)}",
        "text": query if isinstance(query, str) or query is None else json.dumps(query, ensure_ascii=False),
        "score": field(record, "score", run, number),
        "input_tokens": record.get("prompt_tokens"),
        "output_tokens": record.get("completion_tokens"),
        "cost": record.get("cost"),
    }
