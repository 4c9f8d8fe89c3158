"""RouterArena (github.com/RouteWorks/RouterArena, arXiv 2510.00202): cached_results/<model>.jsonl.

One line an answer: global_index ("AIME_112"), question, llm_selected, token_usage {input_tokens, output_tokens} and
evaluation_result {score, inference_cost (USD)}. Prices come from model_cost/model_cost.json where it is.
Its terms forbid training routers on its data that are then submitted to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import BATCH_ROWS, facts_beside, field, json_document, json_lines
from benchmarks.outcomes import ModelFacts, OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

PRICES = ("model_cost.json", "model_cost/model_cost.json", "../model_cost/model_cost.json")


def recognises(path: Path) -> bool:
    """A .jsonl file whose first line has a `global_index`, or a folder (or its cached_results) of such files."""
    return bool(_files(path))


def read(path: Path) -> Outcomes:
    """Read every model's answers; repeated ones count with their mean. Raises `OutcomesError`."""
    files = _files(path)
    if not files:
        raise OutcomesError("holds no RouterArena answers", path)
    folder = path if path.is_dir() else path.parent
    collector = Collector(path.resolve().name if path.is_dir() else path.stem, "average", wordings="first")
    for file in files:
        rows: dict[int, dict[str, Any]] = {}
        for row, record in json_lines(file):
            if len(rows) == BATCH_ROWS:
                _add(collector, rows, file)
                rows = {}
            rows[row] = _row(record, file, row)
        if rows:
            _add(collector, rows, file)
    return collector.finish({**_prices(folder), **facts_beside(folder)})


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        files = [path] if path.suffix == ".jsonl" and path.is_file() else []
    else:
        files = sorted(path.glob("*.jsonl")) or sorted((path / "cached_results").glob("*.jsonl"))
    return [file for file in files if _starts_with_index(file)]


def _starts_with_index(file: Path) -> bool:
    with file.open("rb") as opened:
        return b'"global_index"' in opened.read(4096)


def _row(record: dict[str, Any], file: Path, row: int) -> dict[str, Any]:
    identity = str(field(record, "global_index", file, row))
    graded, used = record.get("evaluation_result") or {}, record.get("token_usage") or {}
    if not isinstance(graded, dict) or not isinstance(used, dict):
        raise OutcomesError("evaluation_result and token_usage are objects or null", file, row)
    return {
        "prompt_id": identity,
        "dataset": identity.rpartition("_")[0] or identity,
        "text": record.get("question"),
        "model": record.get("llm_selected") or file.stem,
        "score": graded.get("score"),
        "input_tokens": used.get("input_tokens"),
        "output_tokens": used.get("output_tokens"),
        "cost": graded.get("inference_cost"),
    }


def _add(collector: Collector, rows: dict[int, dict[str, Any]], file: Path) -> None:
    frame = pd.DataFrame(list(rows.values()), index=list(rows))
    collector.prompts(frame, file)
    collector.outcomes(frame, file)


def _prices(folder: Path) -> dict[str, ModelFacts]:
    path = next((folder / name for name in PRICES if (folder / name).is_file()), None)
    document = {} if path is None else json_document(path)
    facts = {}
    for name, entry in document.items() if isinstance(document, dict) else ():
        if not isinstance(entry, dict):
            raise OutcomesError(f"the prices of {name!r} are not an object", path)
        prices = entry.get("input_token_price_per_million"), entry.get("output_token_price_per_million")
        facts[name] = ModelFacts(name, *(float(p) if isinstance(p, int | float) else None for p in prices))
    return facts
