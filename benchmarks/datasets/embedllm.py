"""EmbedLLM (github.com/richardzhuang0412/EmbedLLM, arXiv 2410.02223): one row a pair, correct or not.

train.csv, val.csv and test.csv with prompt_id, model_id, model_name, label (0 or 1), prompt, and a category. Prompt
ids are shared by the three files. There are no costs; sizes may stand in a models.json beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import csv_batches, csv_header, facts_beside
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

NEEDED = ["prompt_id", "model_name", "label", "prompt"]
CATEGORIES = ("category", "category_id")


def recognises(path: Path) -> bool:
    """A CSV file with `model_name` and `label`, or a folder with such files."""
    return bool(_tables(path))


def read(path: Path) -> Outcomes:
    """Read the tables there are; repeated pairs count with their mean. Raises `OutcomesError`."""
    tables = _tables(path)
    if not tables:
        raise OutcomesError("is no EmbedLLM table", path)
    folder = tables[0].parent
    collector = Collector(folder.resolve().name if path.is_dir() else path.stem, repeats="average")
    for table in tables:
        for first, frame in csv_batches(table, NEEDED, CATEGORIES):
            category = next((name for name in CATEGORIES if name in frame.columns), None)
            renamed = frame.rename(columns={"prompt": "text", "model_name": "model", "label": "score"})
            renamed["dataset"] = "embedllm" if category is None else frame[category].fillna("embedllm")
            # each prompt comes once a model: its first row of the batch is enough
            once = renamed.drop_duplicates(["prompt_id", "text"])
            collector.prompts(once, table, first)
            collector.outcomes(renamed, table, first)
    return collector.finish(facts_beside(folder))


def _tables(path: Path) -> list[Path]:
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    tables = [file for file in files if file.suffix == ".csv" and file.is_file() and file.stat().st_size]
    return [file for file in tables if {"model_name", "label"} <= set(csv_header(file))]
