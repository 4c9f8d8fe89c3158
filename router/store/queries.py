"""Reading the store. Every function here blocks on the database: on an event loop, call it in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, case, func, or_, select

from router.store.rows import CandidateRow, DecisionRow, OutcomeRow, PromptRow, unpack
from router.store.tables import decisions, models, outcomes, prompts, revisions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine, Row


@dataclass(frozen=True)
class ModelSummary:
    """What the store has seen of one model, over all its outcomes."""

    model: str
    rows: int
    mean_score: float
    mean_cost: float | None  # USD a request; None while no cost was observed
    last_outcome: float  # Unix seconds


def last_revision(engine: Engine) -> int:
    """The revision of the newest insert or update of an outcome; 0 in an empty store."""
    with engine.connect() as connection:
        return int(connection.execute(select(revisions.c.last)).scalar_one())


def outcomes_since(engine: Engine, revision: int, limit: int = 1000) -> list[OutcomeRow]:
    """
    Outcomes inserted or updated after a revision, in the order of their revisions, at most `limit`.

    Go on from the last row's revision. Nothing is missed: revisions are committed in order (see `tables.py`).
    """
    query = _outcomes().where(outcomes.c.revision > revision).order_by(outcomes.c.revision).limit(limit)
    with engine.connect() as connection:
        return [_outcome(row) for row in connection.execute(query)]


def newest_outcomes(engine: Engine, model: str, version: str, limit: int) -> list[OutcomeRow]:
    """One model's newest outcomes whose prompts were embedded by `version`, oldest first."""
    query = (
        _outcomes()
        .where(models.c.name == model, prompts.c.version == version, prompts.c.embedding.is_not(None))
        .order_by(outcomes.c.id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [_outcome(row) for row in connection.execute(query)][::-1]


def stale_outcomes(engine: Engine, names: Iterable[str], version: str) -> int:
    """How many outcomes of these models cannot be read by `version`."""
    query = (
        select(func.count())
        .select_from(outcomes.join(prompts).join(models))
        .where(
            models.c.name.in_(list(names)),
            or_(prompts.c.version != version, prompts.c.embedding.is_(None)),
        )
    )
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def decision(engine: Engine, reference: str) -> DecisionRow | None:
    """The decision of this id or, failing that, the newest one of this completion id."""
    query = (
        select(
            decisions,
            prompts.c.digest,
            prompts.c.version,
            prompts.c.embedding,
            prompts.c.text,
            prompts.c.tokens,
        )
        .join(prompts, prompts.c.id == decisions.c.prompt_id)
        .where(or_(decisions.c.id == reference, decisions.c.completion_id == reference))
        .order_by(case((decisions.c.id == reference, 0), else_=1), decisions.c.created_at.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).first()
    return None if row is None else _decision(row)


def model_summaries(engine: Engine) -> list[ModelSummary]:
    """Every model with outcomes, by name."""
    query = (
        select(
            models.c.name,
            func.count().label("rows"),
            func.avg(outcomes.c.score).label("mean_score"),
            func.avg(outcomes.c.cost_usd).label("mean_cost"),
            func.max(outcomes.c.created_at).label("last_outcome"),
        )
        .join(outcomes, outcomes.c.model_id == models.c.id)
        .group_by(models.c.name)
        .order_by(models.c.name)
    )
    with engine.connect() as connection:
        return [
            ModelSummary(row.name, row.rows, row.mean_score, row.mean_cost, row.last_outcome)
            for row in connection.execute(query)
        ]


def _outcomes() -> Select[Any]:
    return select(
        outcomes.c.id,
        outcomes.c.revision,
        models.c.name.label("model"),
        outcomes.c.score,
        prompts.c.embedding,
        prompts.c.version,
        outcomes.c.source,
        outcomes.c.created_at,
        outcomes.c.cost_usd,
        outcomes.c.input_tokens,
        outcomes.c.output_tokens,
        outcomes.c.latency_ms,
        outcomes.c.decision_id,
    ).select_from(outcomes.join(prompts).join(models))


def _outcome(row: Row[Any]) -> OutcomeRow:
    fields = dict(row._mapping)
    return OutcomeRow(**(fields | {"embedding": unpack(fields["embedding"])}))


def _decision(row: Row[Any]) -> DecisionRow:
    fields = dict(row._mapping)
    del fields["prompt_id"]
    prompt = PromptRow(
        **{name: fields.pop(name) for name in ("digest", "version", "embedding", "text", "tokens")}
    )
    candidates = tuple(CandidateRow(**candidate) for candidate in fields.pop("candidates"))
    return DecisionRow(**fields, prompt=prompt, candidates=candidates)
