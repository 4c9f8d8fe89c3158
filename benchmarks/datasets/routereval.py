"""RouterEval (github.com/MilkThink-Lab/RouterEval, arXiv 2503.10657): <dataset>_router_dataset.pkl.

A dict: prompt[part + "_prompt"] are the texts of part train, val and test; and under "easy" and "hard", pool size and
group ("all_strong", …) come model (names) and data[part + "_score"] (prompts × models). Pools overlap and share the
prompts: their union is the matrix. Embeddings are not read. There are no costs and no sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.datasets import safe_pickle
from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import facts_beside
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

ENDING = "_router_dataset.pkl"
PARTS = ("train", "val", "test")
DIFFICULTIES = ("easy", "hard")


def recognises(path: Path) -> bool:
    """A file of that ending, or a folder with some at any depth."""
    return bool(_files(path))


def read(path: Path) -> Outcomes:
    """Read the files there are, each a dataset. Raises `OutcomesError`."""
    files = _files(path)
    if not files:
        raise OutcomesError(f"holds no {ENDING[1:]}", path)
    collector = Collector(path.resolve().name if path.is_dir() else path.name.removesuffix(ENDING))
    for file in files:
        document = safe_pickle.load(file)
        dataset = file.name.removesuffix(ENDING)
        ids = {part: _add_prompts(collector, document, part, dataset, file) for part in PARTS}
        seen: set[str] = set()
        for where, models, data in _pools(document, file):
            for part in PARTS:
                scores = np.asarray(data.get(f"{part}_score"))
                if scores.shape != (len(ids[part]), len(models)):
                    raise OutcomesError(
                        f"{where}: {part}_score has shape {scores.shape}, expected {(len(ids[part]), len(models))}",
                        file,
                    )
                for column, model in enumerate(models):
                    if model not in seen:
                        frame = pd.DataFrame(
                            {"prompt_id": ids[part], "model": model, "score": scores[:, column]}
                        )
                        collector.outcomes(frame, f"{file} {where} {part}")
            seen.update(models)
    return collector.finish(facts_beside(path if path.is_dir() else path.parent))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob("*" + ENDING))
    return [path] if path.name.endswith(ENDING) and path.is_file() else []


def _add_prompts(collector: Collector, document: Any, part: str, dataset: str, file: Path) -> list[str]:
    prompts = document.get("prompt") if isinstance(document, dict) else None
    if not isinstance(prompts, dict) or prompts.get(f"{part}_prompt") is None:
        raise OutcomesError(f"has no prompt[{part + '_prompt'!r}]", file)
    texts = [str(text) for text in prompts[f"{part}_prompt"]]
    ids = [f"{dataset}/{part}/{number}" for number in range(len(texts))]
    collector.prompts(
        pd.DataFrame({"prompt_id": ids, "dataset": dataset, "text": texts}), f"{file} {part}_prompt"
    )
    return ids


def _pools(document: dict[str, Any], file: Path) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """(where, model names, scores by part) of every pool of models, the largest first."""
    pools = [
        (f"{difficulty}/{size}/{group}", pool)
        for difficulty in DIFFICULTIES
        for size, groups in document.get(difficulty, {}).items()
        for group, pool in groups.items()
    ]
    if not pools:
        raise OutcomesError("has no pool of models under 'easy' or 'hard'", file)
    for where, pool in sorted(pools, key=lambda item: -len(item[1].get("model", ()))):
        if "model" not in pool or not isinstance(pool.get("data"), dict):
            raise OutcomesError(f"{where} has no model or no data", file)
        yield where, [str(model) for model in pool["model"]], pool["data"]
