"""The gateway's decisions, read from its store: a log for off-policy estimates, and what else there is to say of it."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from benchmarks.datasets.gateway import opened, shown
from benchmarks.off_policy import Log
from benchmarks.outcomes import Exclusion, OutcomesError
from router.store.tables import decisions, outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FITTING = 1e-6  # by how much a share may miss 0 or 1


@dataclass(frozen=True)
class ModelTraffic:
    """How often a model stood in routed decisions, and in how many of those that it answered an outcome came in."""

    candidate: int
    chosen: int
    scored: int


@dataclass(frozen=True)
class Traffic:
    """What a store says of its traffic. Times are Unix seconds, of the decisions in the log."""

    log: Log
    decisions: int  # all of them, with those that are left out
    models: Mapping[str, ModelTraffic]
    begin: float
    end: float


def read_traffic(reference: str) -> Traffic:
    """
    The router's own decisions, those with an outcome as a log; several outcomes of one decision are averaged.

    The probability of every candidate is worked out from the recorded one of the chosen: the gateway takes the best
    with 1 − ε and otherwise any candidate alike. Where one failed and another answered, it is the draw that counts,
    with the answer that came of it: whether a model that was not drawn would have failed, nobody knows. Raises
    `OutcomesError`.
    """
    scored = (
        select(outcomes.c.decision_id, func.avg(outcomes.c.score).label("score"))
        .where(outcomes.c.decision_id.is_not(None))
        .group_by(outcomes.c.decision_id)
        .subquery()
    )
    query = (
        select(
            decisions.c.created_at, decisions.c.beta, decisions.c.chosen, decisions.c.reason, decisions.c.propensity,
            decisions.c.candidates, decisions.c.cost_usd, scored.c.score,
        )
        .select_from(decisions.outerjoin(scored, scored.c.decision_id == decisions.c.id))
        .order_by(decisions.c.created_at)
    )  # fmt: skip
    found = _Reading()
    with opened(reference) as connection:
        for batch in connection.execute(query).partitions():
            for row in batch:
                found.add(row)
    if not found.scores:
        said = "; ".join(f"{count}: {why}" for why, count in found.left_out.items())
        because = f" of {found.decisions} ({said})" if said else ": the store has none"
        raise OutcomesError(f"no decision can be evaluated{because}", shown(reference))
    return found.traffic()


def exploration(candidates: int, propensity: float, place: int, failed: int = 0) -> float:
    """
    ε, from the recorded propensity of who answered: the best has 1 − ε + ε/K, any other of the K candidates ε/K.

    `place` is the rank of who answered, from 0. After failures it is the best of the others, and has what the failed
    ones had as well: 1 − ε·(K − 1 − failed)/K. Raises ValueError where no ε in [0, 1] fits.
    """
    others = candidates - 1 - failed
    if place > 0 and not failed:
        found = propensity * candidates
    elif others > 0:
        found = (1 - propensity) * candidates / others
    elif propensity == 1 and not failed:
        found = 0.0  # the only candidate
    else:
        raise ValueError("nobody else was left: any exploration fits")
    if not -FITTING < found < 1 + FITTING:
        raise ValueError(f"a propensity of {propensity:g} does not fit {candidates} candidates")
    return min(1.0, max(0.0, found))


class _Reading:
    """Decisions on their way into a `Log`, kept as numbers: a store may hold more than memory as rows."""

    def __init__(self) -> None:
        self.decisions = 0
        self.left_out: Counter[str] = Counter()
        self.scores = array("d")
        self._seen: dict[str, Counter[str]] = {}
        self._times, self._costs, self._scales = array("d"), array("d"), array("d")
        self._chosen, self._first = array("q"), array("q")
        self._column: dict[str, int] = {}
        self._entries = _Entries()

    def add(self, row: Any) -> None:
        """Take in a decision, or count why it is left out."""
        self.decisions += 1
        try:
            why = self._take(row)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            why = "what was recorded does not tell how the model was drawn"
        if why is not None:
            self.left_out[why] += 1

    def _take(self, row: Any) -> str | None:
        if row.reason == "pinned":
            return "the caller named the model"
        candidates = [
            each for each in row.candidates if each.get("excluded") is None or each["score"] is not None
        ]
        names = [each["model"] for each in candidates]
        failed = [each["model"] for each in candidates if each.get("excluded") is not None]
        self._count(names, row)
        if row.score is None:
            return "no outcome came in"
        if row.propensity is None or not 0 < row.propensity <= 1:
            return "the recorded propensity is not in (0, 1]"
        if row.chosen not in names or row.chosen in failed:
            return "the model that answered is not among the candidates"
        explored = exploration(len(names), row.propensity, names.index(row.chosen), len(failed))
        each_has = explored / len(names)
        drawn = _drawn(names, failed) or [row.chosen]
        together = _holds_cost(candidates, row.beta)
        entries = [
            (
                self._column.setdefault(each["model"], len(self._column)),
                each_has + (1 - explored) * (rank == 0),
                np.nan if together else _number(each["value"]),
                _number(each["cost"]),
                each["model"] in drawn,
            )
            for rank, each in enumerate(candidates)
        ]
        self._entries.add(len(self.scores), entries)
        self.scores.append(row.score)
        self._times.append(row.created_at)
        self._costs.append(_number(row.cost_usd))
        self._scales.append(np.nan if together else _cost_scale(candidates, row.beta))
        self._chosen.append(self._column[row.chosen])
        self._first.append(self._column[names[0]])
        return None

    def _count(self, names: Sequence[str], row: Any) -> None:
        for name in names:
            self._seen.setdefault(name, Counter())["candidate"] += 1
        chosen = self._seen.setdefault(row.chosen, Counter())
        chosen["chosen"] += 1
        chosen["scored"] += row.score is not None

    def traffic(self) -> Traffic:
        """What was taken in."""
        names = sorted(self._column)
        position = np.argsort(np.argsort(np.array(list(self._column), dtype=object)))
        times = np.frombuffer(self._times)
        log = Log(
            models=tuple(names),
            chosen=position[np.frombuffer(self._chosen, dtype=np.int64)],
            first=position[np.frombuffer(self._first, dtype=np.int64)],
            **self._entries.matrices(len(self.scores), position),
            cost_scales=np.frombuffer(self._scales),
            scores=np.frombuffer(self.scores),
            costs=np.frombuffer(self._costs),
            exclusions=tuple(Exclusion("decisions", why, count) for why, count in self.left_out.items()),
        )
        seen = {
            name: ModelTraffic(counts["candidate"], counts["chosen"], counts["scored"])
            for name, counts in sorted(self._seen.items())
        }
        return Traffic(log, self.decisions, seen, float(times.min()), float(times.max()))


@dataclass
class _Entries:
    """One entry for each decision and candidate."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    columns: array[int] = field(default_factory=lambda: array("q"))
    chances: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    costs: array[float] = field(default_factory=lambda: array("d"))
    drawn: array[int] = field(default_factory=lambda: array("b"))

    def add(self, row: int, entries: Sequence[tuple[int, float, float, float, bool]]) -> None:
        """Candidates of one decision: column, chance, value, expected cost, and whether it may have been drawn."""
        for column, chance, value, cost, drawn in entries:
            self.rows.append(row)
            self.columns.append(column)
            self.chances.append(chance)
            self.values.append(value)
            self.costs.append(cost)
            self.drawn.append(drawn)

    def matrices(self, rows: int, position: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """The matrices of a `Log`, (rows, models), the columns put into their `position`."""
        at = np.frombuffer(self.rows, dtype=np.int64), position[np.frombuffer(self.columns, dtype=np.int64)]

        def matrix(values: NDArray[Any], elsewhere: float | bool) -> NDArray[Any]:
            whole = np.full((rows, len(position)), elsewhere)
            whole[at] = values
            return whole

        return {
            "propensities": matrix(np.frombuffer(self.chances), 0.0),
            "candidates": matrix(np.ones(len(self.rows), dtype=np.bool_), False),
            "drawn": matrix(np.frombuffer(self.drawn, dtype=np.int8).astype(np.bool_), False),
            "values": matrix(np.frombuffer(self.values), np.nan),
            "expected_costs": matrix(np.frombuffer(self.costs), np.nan),
        }


def _drawn(names: Sequence[str], failed: Sequence[str]) -> Sequence[str]:
    """
    Which of the failed models was drawn: one that was not next in rank, having the best of the others behind it.

    If they are the best in rank, it may have been any of them: whichever, the same ones would have failed.
    """
    return failed if list(failed) == list(names[: len(failed)]) else failed[-1:]


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _holds_cost(candidates: Sequence[Mapping[str, Any]], beta: float) -> bool:
    """Under `combine: weighted` a value is of success and cost together, and is the score itself."""
    return beta < 1 and all(each["value"] == each["score"] for each in candidates)


def _cost_scale(candidates: Sequence[Mapping[str, Any]], beta: float) -> float:
    """The unit of c̃ in one decision, worked out from score = β·value + (1−β)·(1−cost/scale); NaN where it cannot be."""
    if beta == 1:
        return np.nan
    scales = [
        (relative, each["cost"] / relative)
        for each in candidates
        if each["score"] is not None and each["cost"]
        for relative in [1 - (each["score"] - beta * each["value"]) / (1 - beta)]
        if FITTING < relative < 1 - FITTING  # 1 may have been cut off there
    ]
    return max(scales)[1] if scales else np.nan  # the largest share was rounded least
