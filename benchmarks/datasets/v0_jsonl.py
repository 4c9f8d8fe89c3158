"""V0's own data (github.com/Now-Join-Us/V0, arXiv 2602.03584): .jsonl files beside prompt_dict.json.

A line is {"id", "dataset", "model", "step", "score" in [-1, 1]}; prompt_dict.json maps "<dataset>_<id>" to the text.
The score is the mean of ±1 rewards, so (score + 1) / 2 is the success rate; a policy's checkpoint "model@step<n>" is
a model. There are no costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import facts_beside, field, json_document, json_lines
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

TEXTS = "prompt_dict.json"


def recognises(path: Path) -> bool:
    """A folder with prompt_dict.json (or whose `data` has it), or a .jsonl file beside one."""
    return _folder(path) is not None


def read(path: Path) -> Outcomes:
    """Read one file, or all of a folder's; a pair in several files counts with its mean. Raises `OutcomesError`."""
    folder = _folder(path)
    if folder is None:
        raise OutcomesError(f"has no {TEXTS} beside it", path)
    texts = json_document(folder / TEXTS)
    if not isinstance(texts, dict):
        raise OutcomesError('is not an object of "<dataset>_<id>" and text', folder / TEXTS)
    files = [path] if path.is_file() else sorted(folder.glob("*.jsonl"))
    collector = Collector(path.resolve().name if path.is_dir() else path.stem, repeats="average")
    for file in files:
        records = [_row(record, file, row, texts) for row, record in json_lines(file)]
        if not records:
            raise OutcomesError("is empty", file)
        frame = pd.DataFrame(records).set_index("row")
        for record in records:
            if not -1 <= record["score"] <= 1:
                raise OutcomesError(f"score {record['score']} is not in [-1, 1]", file, record["row"])
        frame["score"] = (frame["score"] + 1) / 2
        collector.prompts(frame[frame["text"].notna()], file)
        collector.outcomes(frame, file)
    return collector.finish(facts_beside(folder))


def _folder(path: Path) -> Path | None:
    places = (path, path / "data") if path.is_dir() else (path.parent,) if path.suffix == ".jsonl" else ()
    return next((place for place in places if (place / TEXTS).is_file()), None)


def _row(record: dict[str, Any], file: Path, row: int, texts: dict[str, Any]) -> dict[str, Any]:
    dataset, score = field(record, "dataset", file, row), field(record, "score", file, row)
    identity = f"{dataset}_{field(record, 'id', file, row)}"
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise OutcomesError(f"score {score!r} is not a number", file, row)
    model, step = field(record, "model", file, row), record.get("step")
    return {
        "row": row,
        "prompt_id": identity,
        "dataset": dataset,
        "text": texts.get(identity),
        "model": str(model) if step is None else f"{model}@step{step}",
        "score": float(score),
    }
