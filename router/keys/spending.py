"""
What a key has spent, in memory: the store's sums, and what this process has added since. Pure; no clock of its own.

Days and months are those of the calendar in UTC. A request reserves what it may cost before it is sent on and settles
what it did cost when it has ended, so that requests under way cannot together spend a budget twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.keys.limits import Limits

DAY_S = 86_400
Span = Literal["day", "month", "total"]
SPANS: tuple[Span, ...] = ("day", "month", "total")


@dataclass(frozen=True)
class Sum:
    """Requests, tokens and USD of some time."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
        )


@dataclass(frozen=True)
class Budget:
    """One budget as it stands: USD allowed, spent (reservations apart) and reserved; `resets_at` None: never."""

    span: Span
    limit_usd: float
    spent_usd: float
    reserved_usd: float
    resets_at: float | None

    @property
    def left_usd(self) -> float:
        """What may still be reserved."""
        return self.limit_usd - self.spent_usd - self.reserved_usd


@dataclass
class Spending:
    """
    One key's spending by day (days since 1970, UTC).

    `stored` are the sums of other processes and of earlier runs, as last read; `ours` those of this one.
    """

    stored: dict[int, Sum] = field(default_factory=dict)  # replaced whole, never changed
    ours: dict[int, Sum] = field(default_factory=dict)
    reserved_usd: float = 0.0
    unsaved: set[int] = field(default_factory=set)  # days of `ours` that the store does not have as they are
    _our_months: dict[int, Sum] = field(default_factory=dict)
    _our_total: Sum = Sum()
    _known: tuple[object, int, Sum, Sum] | None = (
        None  # `stored`, a month's first day, that month's sum, all of it
    )

    def reserve(self, usd: float) -> None:
        """Set something aside for a request."""
        self.reserved_usd += usd

    def settle(self, reserved_usd: float, spent: Sum, at: float) -> None:
        """A request has ended: what was set aside is free again, and what it cost is spent."""
        self.reserved_usd -= reserved_usd
        if self.reserved_usd < 1e-15:
            self.reserved_usd = 0.0
        for sums, begin in ((self.ours, day_of(at)), (self._our_months, first_of_month(at))):
            sums[begin] = sums.get(begin, Sum()) + spent
        self._our_total += spent
        self.unsaved.add(day_of(at))

    def sum(self, span: Span, now: float) -> Sum:
        """What was spent in the day or month of `now`, or ever."""
        if span == "day":
            today = day_of(now)
            return self.stored.get(today, Sum()) + self.ours.get(today, Sum())
        first = first_of_month(now)
        if self._known is None or self._known[0] is not self.stored or self._known[1] != first:
            month = total = Sum()
            for day, spent in self.stored.items():
                total += spent
                month = month + spent if day >= first else month
            self._known = (self.stored, first, month, total)
        if span == "month":
            return self._known[2] + self._our_months.get(first, Sum())
        return self._known[3] + self._our_total

    def by_day(self) -> Mapping[int, Sum]:
        """The sums of every day."""
        merged = dict(self.stored)
        for day, spent in self.ours.items():
            merged[day] = merged.get(day, Sum()) + spent
        return merged

    def budgets(self, limits: Limits, now: float) -> list[Budget]:
        """The key's budgets as they stand."""
        allowed: dict[Span, float | None] = {
            "day": limits.day_usd,
            "month": limits.month_usd,
            "total": limits.total_usd,
        }
        return [
            Budget(span, limit, self.sum(span, now).cost_usd, self.reserved_usd, resets_at(span, now))
            for span, limit in allowed.items()
            if limit is not None
        ]


def day_of(at: float) -> int:
    """The day of a Unix time."""
    return int(at // DAY_S)


def first_of_month(now: float) -> int:
    """The first day of the month of a Unix time."""
    moment = datetime.fromtimestamp(now, UTC)
    return day_of(now) - moment.day + 1


def end_of_month(now: float) -> float:
    """The Unix time at which the next month begins."""
    moment = datetime.fromtimestamp(now, UTC)
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp()


def resets_at(span: Span, now: float) -> float | None:
    """When a budget begins anew; None: never."""
    if span == "day":
        return float((day_of(now) + 1) * DAY_S)
    return end_of_month(now) if span == "month" else None
