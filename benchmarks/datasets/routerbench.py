"""RouterBench (github.com/withmartian/routerbench, arXiv 2403.12031): one wide row a prompt.

Columns sample_id, prompt (a Python list of turns, as text), eval_name and, for every model M, M (score), M|total_cost
(USD) and M|model_response (not read). As `routerbench_0shot.pkl` from the hub, or the same table as CSV.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.datasets import safe_pickle
from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import BATCH_ROWS, check_columns, csv_batches, csv_header, facts_beside
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

COST = "|total_cost"
NEEDED = ["sample_id", "prompt", "eval_name"]


def recognises(path: Path) -> bool:
    """A .csv with a cost column, a .pkl called so, or a folder with one."""
    return _table(path) is not None


def read(path: Path) -> Outcomes:
    """Read the table; a sample that comes twice counts with its mean. Raises `OutcomesError`."""
    table = _table(path)
    if table is None:
        raise OutcomesError("is no RouterBench table", path)
    collector = Collector(table.stem, repeats="average")
    for first, frame in _batches(table):
        models = _models(list(frame.columns))
        prompts = frame.rename(columns={"sample_id": "prompt_id", "eval_name": "dataset"})
        prompts = prompts.assign(text=prompts["prompt"].map(_turns, na_action="ignore"))
        collector.prompts(prompts, table, first)
        for model in models:
            outcomes = pd.DataFrame({"prompt_id": prompts["prompt_id"], "model": model})
            outcomes["score"], outcomes["cost"] = frame[model], frame[model + COST]
            collector.outcomes(outcomes, table, first)
    return collector.finish(facts_beside(table.parent))


def _table(path: Path) -> Path | None:
    if path.is_dir():
        found = (_table(file) for file in sorted(path.glob("*")) if file.is_file())
        return next((table for table in found if table is not None), None)
    if path.suffix == ".csv" and path.stat().st_size:
        return path if any(name.endswith(COST) for name in csv_header(path)) else None
    return path if path.suffix == ".pkl" and "routerbench" in path.name.lower() else None


def _models(names: Sequence[str]) -> list[str]:
    return [name for name in names if name + COST in names]


def _batches(table: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    if table.suffix == ".csv":
        models = _models(csv_header(table))
        yield from csv_batches(table, [*NEEDED, *models, *(model + COST for model in models)])
        return
    frame = safe_pickle.load(table)
    if not isinstance(frame, pd.DataFrame):
        raise OutcomesError(f"holds a {type(frame).__name__}, not a table", table)
    check_columns(table, [str(name) for name in frame.columns], NEEDED)
    models = _models([str(name) for name in frame.columns])
    if not models:
        raise OutcomesError(
            f"no model has a column for its score and one with {COST!r} behind its name", table
        )
    frame = frame[[*NEEDED, *models, *(model + COST for model in models)]].reset_index(drop=True)
    for first in range(0, len(frame), BATCH_ROWS):
        yield first, frame.iloc[first : first + BATCH_ROWS].reset_index(drop=True)


def _turns(prompt: object) -> str:
    """The turns of "['first', 'second']", a blank line between; what is no such list stays as it is."""
    text = str(prompt)
    if text.startswith("["):
        try:
            turns = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns):
            return "\n\n".join(turns)
    return text
