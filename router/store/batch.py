"""One transaction's worth of writing: decisions, then the feedback that scores them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, or_, select, update

from router.store.engine import writing
from router.store.rows import CACHED, OutcomeRow, unpack
from router.store.tables import clean, decisions, models, outcomes, prompts, revisions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Engine, Row

    from router.store.rows import DecisionRow, FeedbackRow, PromptRow

DECISION_NUMBERS = ("cost_usd", "latency_ms", "first_byte_ms")
CANDIDATE_NUMBERS = ("value", "cost", "score")


def write_batch(
    engine: Engine, decided: Sequence[DecisionRow], scored: Sequence[FeedbackRow]
) -> list[OutcomeRow | None]:
    """
    Write it all or nothing; when this returns, it is on the disk.

    Answers one outcome per feedback, None where its decision is unknown. Feedback sees the decisions of its
    own batch. A decision already recorded is left as it is, so that a batch whose commit was in doubt can be
    written again. A second score from the same source for the same decision replaces the first: the row keeps
    its id and gets a new revision.
    """
    with writing(engine).begin() as connection:
        last = connection.execute(  # first of all: whoever holds this row is the only writer
            update(revisions).values(last=revisions.c.last + len(scored)).returning(revisions.c.last)
        ).scalar_one()
        _insert_decisions(connection, decided)
        return _apply(connection, scored, first_revision=last - len(scored) + 1)


def _insert_decisions(connection: Connection, decided: Sequence[DecisionRow]) -> None:
    rows = {clean(row.id): row for row in decided}
    if not rows:
        return
    known = connection.scalars(select(decisions.c.id).where(decisions.c.id.in_(list(rows))))
    for seen in known.all():
        del rows[seen]
    if not rows:
        return
    prompt_ids = _prompt_ids(connection, [row.prompt for row in rows.values()])
    connection.execute(
        insert(decisions),
        [_decision(row, prompt_ids[row.prompt.digest, clean(row.prompt.version)]) for row in rows.values()],
    )


def _decision(row: DecisionRow, prompt_id: int) -> dict[str, Any]:
    fields = _finite(vars(row), DECISION_NUMBERS) | {"prompt_id": prompt_id}
    del fields["prompt"]
    fields["candidates"] = [_finite(vars(candidate), CANDIDATE_NUMBERS) for candidate in row.candidates]
    return fields


def _finite(fields: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Numbers that are none (NaN, infinity) become None: one of them would spoil every mean over the column."""
    return fields | {
        name: None for name in names if fields[name] is not None and not math.isfinite(fields[name])
    }


def _prompt_ids(connection: Connection, wanted: Iterable[PromptRow]) -> dict[tuple[str, str], int]:
    """Ids by (digest, version), after inserting the new ones and completing those that lacked something."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for prompt in wanted:
        fields = vars(prompt) | {"version": clean(prompt.version)}
        found = merged.setdefault((prompt.digest, fields["version"]), fields)
        found.update({name: fields[name] for name in ("embedding", "text") if found[name] is None})
    existing = connection.execute(
        select(
            prompts.c.id,
            prompts.c.digest,
            prompts.c.version,
            prompts.c.embedding.is_not(None).label("embedded"),
            prompts.c.text.is_not(None).label("stored"),
        ).where(prompts.c.digest.in_({digest for digest, _ in merged}))
    ).all()
    ids: dict[tuple[str, str], int] = {}
    for row in existing:
        fields = merged.get((row.digest, row.version), {})
        if not fields:
            continue
        ids[row.digest, row.version] = row.id
        missing = {
            name: fields[name]
            for name, present in (("embedding", row.embedded), ("text", row.stored))
            if not present and fields[name] is not None
        }
        if missing:
            connection.execute(update(prompts).where(prompts.c.id == row.id).values(missing))
    new = [key for key in merged if key not in ids]
    if new:
        connection.execute(insert(prompts), [merged[key] for key in new])
        named = (prompts.c.id, prompts.c.digest, prompts.c.version)  # returning ids would insert one by one
        made = connection.execute(select(*named).where(prompts.c.digest.in_({digest for digest, _ in new})))
        ids.update({(digest, version): number for number, digest, version in made})
    return ids


def _apply(
    connection: Connection, scored: Sequence[FeedbackRow], first_revision: int
) -> list[OutcomeRow | None]:
    if not scored:
        return []
    decided = _decisions_by_reference(connection, {clean(feedback.reference) for feedback in scored})
    latest: dict[tuple[str, str], tuple[FeedbackRow, int]] = {}
    for revision, feedback in enumerate(scored, first_revision):
        found = decided.get(clean(feedback.reference))
        if found is not None:
            latest[found.id, feedback.source] = (feedback, revision)
    model_ids = _model_ids(
        connection, {decided[clean(feedback.reference)].chosen for feedback, _ in latest.values()}
    )
    ids = _outcome_ids(connection, {decision_id for decision_id, _ in latest})
    by_id = {row.id: row for row in decided.values()}
    new = []
    for key, (feedback, revision) in latest.items():
        told = {
            "revision": revision,
            "score": float(feedback.score),
            "comment": feedback.comment,
            "created_at": feedback.created_at,
        }
        if key in ids:
            connection.execute(update(outcomes).where(outcomes.c.id == ids[key]).values(told))
        else:
            new.append((key, {**_observed(by_id[key[0]], model_ids), "source": feedback.source, **told}))
    if new:
        inserted = connection.scalars(
            insert(outcomes).returning(outcomes.c.id, sort_by_parameter_order=True), [row for _, row in new]
        )
        ids.update(zip((key for key, _ in new), inserted.all(), strict=True))
    return [
        _outcome(decided.get(clean(feedback.reference)), feedback, revision, ids)
        for revision, feedback in enumerate(scored, first_revision)
    ]


def _decisions_by_reference(connection: Connection, references: set[str]) -> dict[str, Row[Any]]:
    """Decisions by their own id, else by completion id, the newest where an upstream repeated one."""
    rows = connection.execute(
        select(decisions, prompts.c.embedding, prompts.c.version)
        .join(prompts, prompts.c.id == decisions.c.prompt_id)
        .where(or_(decisions.c.id.in_(references), decisions.c.completion_id.in_(references)))
        .order_by(decisions.c.created_at)
    ).all()
    return {row.completion_id: row for row in rows} | {row.id: row for row in rows}


def _model_ids(connection: Connection, names: set[str]) -> dict[str, int]:
    known = connection.execute(select(models.c.name, models.c.id).where(models.c.name.in_(names))).all()
    ids = {row.name: row.id for row in known}
    new = sorted(names - ids.keys())
    if new:
        now = time.time()
        inserted = connection.scalars(
            insert(models).returning(models.c.id, sort_by_parameter_order=True),
            [{"name": name, "created_at": now} for name in new],
        )
        ids.update(zip(new, inserted.all(), strict=True))
    return ids


def _known_cost(decision: Row[Any]) -> float | None:
    return None if decision.reason == CACHED else decision.cost_usd


def _outcome_ids(connection: Connection, decision_ids: set[str]) -> dict[tuple[str, str], int]:
    rows = connection.execute(
        select(outcomes.c.decision_id, outcomes.c.source, outcomes.c.id).where(
            outcomes.c.decision_id.in_(decision_ids)
        )
    ).all()
    return {(row.decision_id, row.source): row.id for row in rows}


def _observed(decision: Row[Any], model_ids: dict[str, int]) -> dict[str, Any]:
    """What an outcome takes over from its decision; an answer from the cache says nothing of what its model costs."""
    return {
        "decision_id": decision.id,
        "prompt_id": decision.prompt_id,
        "model_id": model_ids[decision.chosen],
        "cost_usd": _known_cost(decision),
        "input_tokens": decision.input_tokens,
        "output_tokens": decision.output_tokens,
        "latency_ms": None if decision.reason == CACHED else decision.latency_ms,
    }


def _outcome(
    decision: Row[Any] | None, feedback: FeedbackRow, revision: int, ids: dict[tuple[str, str], int]
) -> OutcomeRow | None:
    if decision is None:
        return None
    return OutcomeRow(
        id=ids[decision.id, feedback.source],
        revision=revision,
        model=decision.chosen,
        score=float(feedback.score),
        embedding=unpack(decision.embedding),
        version=decision.version,
        source=feedback.source,
        created_at=feedback.created_at,
        cost_usd=_known_cost(decision),
        input_tokens=decision.input_tokens,
        output_tokens=decision.output_tokens,
        latency_ms=None if decision.reason == CACHED else decision.latency_ms,
        decision_id=decision.id,
    )
