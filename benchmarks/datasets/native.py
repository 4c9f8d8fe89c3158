"""The native folder: prompts.parquet, outcomes.parquet, models.json. `docs/data.md` has its types and units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import facts_beside, parquet_batches
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.outcomes import Outcomes

PROMPTS = "prompts.parquet"
OUTCOMES = "outcomes.parquet"


def recognises(path: Path) -> bool:
    """A folder with either of the two tables, so that the other's absence is named."""
    return path.is_dir() and ((path / PROMPTS).exists() or (path / OUTCOMES).exists())


def read(path: Path) -> Outcomes:
    """Read a native folder, in batches. Raises `OutcomesError`."""
    collector = Collector(path.resolve().name)
    seen: set[str] = set()
    for first, frame in parquet_batches(path / PROMPTS, ["prompt_id", "dataset", "text"]):
        repeated = frame["prompt_id"].duplicated() | frame["prompt_id"].astype(str).isin(seen)
        if repeated.any():
            row = int(repeated.to_numpy().argmax())
            raise OutcomesError(
                f"prompt_id {frame['prompt_id'].iloc[row]!r} came before", path / PROMPTS, first + row
            )
        seen.update(frame["prompt_id"].astype(str))
        collector.prompts(frame, path / PROMPTS, first)
    for first, frame in parquet_batches(
        path / OUTCOMES, ["prompt_id", "model", "score"], ["input_tokens", "output_tokens", "cost_usd"]
    ):
        collector.outcomes(frame.rename(columns={"cost_usd": "cost"}), path / OUTCOMES, first)
    return collector.finish(facts_beside(path))
