"""The gateway's own store, opened read-only: outcomes as a matrix, and decisions as a log for off-policy estimates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import DatabaseError

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import check_file
from benchmarks.off_policy import Log
from benchmarks.outcomes import Exclusion, OutcomesError
from router.store.tables import decisions, models, outcomes, prompts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Row, Select

    from benchmarks.outcomes import Outcomes

SQLITE = b"SQLite format 3\0"
BATCH_ROWS = 10_000


def recognises(path: Path) -> bool:
    """A SQLite file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def read(path: Path) -> Outcomes:
    """
    The outcomes whose prompts were stored with their text, each model's on each prompt averaged.

    Traffic is no experiment: a model is only seen on what was sent to it. For what another policy would have
    earned, take `read_log`. Raises `OutcomesError`.
    """
    collector = Collector(path.stem, repeats="average")
    query = (
        select(
            outcomes.c.id, prompts.c.digest, prompts.c.text, models.c.name, outcomes.c.score,
            outcomes.c.input_tokens, outcomes.c.output_tokens, outcomes.c.cost_usd,
        )
        .select_from(outcomes.join(prompts).join(models))
        .order_by(outcomes.c.id)
    )  # fmt: skip
    columns = ["row", "prompt_id", "text", "model", "score", "input_tokens", "output_tokens", "cost"]
    for batch in _batches(path, query):
        frame = pd.DataFrame([tuple(row) for row in batch], columns=columns).assign(dataset="gateway")
        kept = frame[frame["text"].notna()]
        collector.note("outcomes", "the text of their prompt was not stored", len(frame) - len(kept))
        collector.prompts(kept, path, int(frame["row"].iloc[0]))
        collector.outcomes(kept, path, int(frame["row"].iloc[0]))
    return collector.finish()


def read_log(path: Path) -> Log:
    """
    The router's own decisions that have an outcome; several outcomes of one decision are averaged.

    The probability of every model is worked out from the recorded one of the chosen: the gateway takes the best
    with 1 − ε and otherwise any candidate alike. Raises `OutcomesError`.
    """
    scored = (
        select(outcomes.c.decision_id, func.avg(outcomes.c.score).label("score"))
        .where(outcomes.c.decision_id.is_not(None))
        .group_by(outcomes.c.decision_id)
        .subquery()
    )
    query = (
        select(
            decisions.c.chosen, decisions.c.reason, decisions.c.propensity, decisions.c.candidates,
            decisions.c.cost_usd, scored.c.score,
        )
        .select_from(decisions.outerjoin(scored, scored.c.decision_id == decisions.c.id))
        .order_by(decisions.c.created_at)
    )  # fmt: skip
    left_out: Counter[str] = Counter()
    kept: list[Row[Any]] = []
    for batch in _batches(path, query):
        for row in batch:
            why = _unusable(row)
            if why is None:
                kept.append(row)
            else:
                left_out[why] += 1
    if not kept:
        said = "; ".join(f"{count}: {why}" for why, count in left_out.items())
        raise OutcomesError(f"no decision can be evaluated{f' ({said})' if said else ''}", path)
    return _log(kept, [Exclusion("decisions", why, count) for why, count in left_out.items()])


def propensities(
    candidates: Sequence[str], chosen: str, propensity: float, explored: bool
) -> dict[str, float]:
    """
    Every candidate's probability, from the chosen one's: candidates in rank, the best first.

    The best has 1 − ε + ε/K and every other ε/K of the K candidates.
    """
    others = len(candidates) - 1
    if not others:
        return {chosen: 1.0}
    if explored and chosen != candidates[0]:
        return {**dict.fromkeys(candidates, propensity), candidates[0]: 1 - others * propensity}
    return {**dict.fromkeys(candidates, (1 - propensity) / others), chosen: propensity}


def _unusable(row: Row[Any]) -> str | None:
    if row.reason == "pinned":
        return "the caller named the model"
    if row.score is None:
        return "no outcome came in"
    if not 0 < row.propensity <= 1:
        return "the recorded propensity is not in (0, 1]"
    if row.chosen not in _eligible(row):
        return "the model that answered is not among the candidates"
    return None


def _eligible(row: Row[Any]) -> list[str]:
    return [
        candidate["model"]
        for candidate in row.candidates
        if candidate.get("excluded") is None and candidate.get("score") is not None
    ]


def _log(rows: list[Row[Any]], exclusions: list[Exclusion]) -> Log:
    names = tuple(sorted({model for row in rows for model in _eligible(row)}))
    column = {name: m for m, name in enumerate(names)}
    shape = (len(rows), len(names))
    chances, values, expected = np.zeros(shape), np.full(shape, np.nan), np.full(shape, np.nan)
    for n, row in enumerate(rows):
        eligible = _eligible(row)
        for model, chance in propensities(
            eligible, row.chosen, row.propensity, row.reason == "explored"
        ).items():
            chances[n, column[model]] = max(0.0, chance)
        for candidate in row.candidates:
            if candidate["model"] in eligible:
                m = column[candidate["model"]]
                values[n, m], expected[n, m] = candidate["value"], candidate["cost"]
    chances /= chances.sum(axis=1, keepdims=True)
    return Log(
        models=names,
        chosen=np.array([column[row.chosen] for row in rows], dtype=np.intp),
        propensities=chances,
        values=values,
        expected_costs=expected,
        scores=np.array([row.score for row in rows], dtype=np.float64),
        costs=np.array([np.nan if row.cost_usd is None else row.cost_usd for row in rows], dtype=np.float64),
        exclusions=tuple(exclusions),
    )


def _batches(path: Path, query: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    check_file(path)
    engine = _read_only(path)
    try:
        with engine.connect() as connection:
            yield from connection.execution_options(yield_per=BATCH_ROWS).execute(query).partitions()
    except DatabaseError as error:
        raise OutcomesError(f"is not a store of this version of the gateway: {error.orig}", path) from error
    finally:
        engine.dispose()


def _read_only(path: Path) -> Engine:
    return create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true")
