"""RouteLLM (github.com/lm-sys/RouteLLM, arXiv 2406.18665): responses/mmlu_*.csv and gsm8k_responses.csv.

One row a prompt: `prompt`, and True or False under the name of each model; columns that end in `_response` are not
read. The file's name is the dataset. There are no costs; prices and sizes may stand in a models.json beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import csv_batches, csv_header, facts_beside
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

OTHER = ("_response", "|total_cost", "|model_response")
FORMATS_OF_OTHERS = {"model_name", "sample_id", "prompt_id"}


def recognises(path: Path) -> bool:
    """A CSV file with `prompt` and models, or a folder with such files at any depth."""
    return bool(_tables(path))


def read(path: Path) -> Outcomes:
    """Read the tables there are; a prompt that comes twice counts with its mean. Raises `OutcomesError`."""
    tables = _tables(path)
    if not tables:
        raise OutcomesError("is no RouteLLM table", path)
    collector = Collector(path.resolve().name if path.is_dir() else path.stem, repeats="average")
    for table in tables:
        models = _models(csv_header(table))
        dataset = table.stem.removesuffix("_responses")
        for first, frame in csv_batches(table, ["prompt", *models]):
            rows = pd.Series(range(first, first + len(frame)), index=frame.index)
            ids = dataset + "/" + rows.astype(str)
            prompts = pd.DataFrame({"prompt_id": ids, "dataset": dataset, "text": frame["prompt"]})
            collector.prompts(prompts, table, first)
            for model in models:
                scores = pd.DataFrame({"prompt_id": ids, "model": model, "score": frame[model]})
                collector.outcomes(scores, table, first)
    return collector.finish(facts_beside(path if path.is_dir() else path.parent))


def _models(names: list[str]) -> list[str]:
    return [name for name in names if name != "prompt" and not name.endswith(OTHER) and name]


def _tables(path: Path) -> list[Path]:
    files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".csv" and _is_table(file)]


def _is_table(file: Path) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    names = csv_header(file)
    return "prompt" in names and bool(_models(names)) and not FORMATS_OF_OTHERS & set(names)
