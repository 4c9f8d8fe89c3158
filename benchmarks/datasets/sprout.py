"""SPROUT (hub: CARROT-LLM-Routing/SPROUT, arXiv 2502.03261): parquet files, one row a prompt.

Columns key, dataset, prompt, golden_answer and, for every model, a struct with score in [0, 1], num_input_tokens and
num_output_tokens (its response is not read). Prices are not part of it: put them into a models.json beside the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import facts_beside, parquet_batches
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

FIELDS = {"score": "score", "num_input_tokens": "input_tokens", "num_output_tokens": "output_tokens"}


def recognises(path: Path) -> bool:
    """A parquet file in which models are structs with a score, or a folder with such files at any depth."""
    return bool(_tables(path))


def read(path: Path) -> Outcomes:
    """Read the files there are, in batches. Raises `OutcomesError`."""
    tables = _tables(path)
    if not tables:
        raise OutcomesError("is no SPROUT table", path)
    collector = Collector(path.resolve().name if path.is_dir() else path.stem)
    for table in tables:
        part = table.stem.partition("-")[0]  # "train" of train-00000-of-00003: keys are its own
        models = _models(table)
        nested = [f"{model}.{name}" for model in models for name in _fields(table, model)]
        for first, frame in parquet_batches(table, ["prompt"], ["key", "dataset"], nested):
            number = pd.Series(range(first, first + len(frame)), index=frame.index).astype(str)
            ids = f"{part}/" + (frame["key"].astype(str) if "key" in frame else f"{table.stem}/" + number)
            dataset = frame.get("dataset", "sprout")
            prompts = pd.DataFrame({"prompt_id": ids, "dataset": dataset, "text": frame["prompt"]})
            collector.prompts(prompts, table, first)
            for model in models:
                cells = pd.DataFrame(
                    [cell if isinstance(cell, dict) else {} for cell in frame[model]], index=frame.index
                )
                cells = cells.reindex(columns=list(FIELDS)).rename(columns=FIELDS)
                collector.outcomes(cells.assign(prompt_id=ids, model=model), table, first)
    folder = path if path.is_dir() else path.parent
    return collector.finish(facts_beside(folder))


def _tables(path: Path) -> list[Path]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".parquet" and file.is_file() and _models(file)]


def _models(table: Path) -> list[str]:
    return [name for name, fields in _schema(table).items() if "score" in fields]


def _fields(table: Path, model: str) -> list[str]:
    return [name for name in _schema(table)[model] if name in FIELDS]


def _schema(table: Path) -> dict[str, Sequence[str]]:
    """Column name -> the names of its fields, none for one that is no struct."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(table)
    except (pa.ArrowInvalid, OSError):
        return {}
    return {
        column.name: [part.name for part in column.type] if pa.types.is_struct(column.type) else []
        for column in schema
    }
