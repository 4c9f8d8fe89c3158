"""
One key's account in this process: what is under way, what went through lately, what was spent.

A request is an `Admission`: it enters (rates, spent budgets), reserves what it may use, settles what it did use, and
leaves, whatever its end. All of it is in memory and of one event loop; nothing here waits for anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.errors import ModelNotAllowed, QuotaSpent, RateLimited
from router.keys.pacing import Pacer
from router.keys.spending import Spending, Sum
from router.keys.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from router.decide import Decision
    from router.keys.limits import Limits
    from router.keys.window import Taken
    from router.store.rows import KeyRow

PARTY = "the key"  # how reasons call it
CONCURRENT_RETRY_S = 1.0


class Account:
    """What a key has under way and behind it; `key` is replaced when its limits change."""

    def __init__(self, key: KeyRow) -> None:
        self.key = key
        self.under_way = 0
        self.requests = Window()
        self.tokens = Window()
        self.spending = Spending()
        self.pacer = Pacer()

    @property
    def limits(self) -> Limits:
        """The key's limits as they are now."""
        return self.key.limits

    def left_usd(self, now: float) -> float | None:
        """What the tightest budget has left; None without a budget."""
        return min((each.left_usd for each in self.spending.budgets(self.limits, now)), default=None)


@dataclass(frozen=True)
class Clock:
    """Unix time, and a time that never goes back; both in seconds."""

    now: Callable[[], float]
    ticks: Callable[[], float]


class Admission:
    """One request of a key."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self.account = account
        self.limits = account.limits
        self.key_id = account.key.id
        self._clock = clock
        self._inside = False
        self._taken: Taken | None = None
        self._reserved_usd = 0.0

    def enter(self) -> None:
        """Count the request. Raises `RateLimited` or `QuotaSpent`; then it is not counted."""
        account, limits = self.account, self.limits
        if limits.concurrent is not None and account.under_way >= limits.concurrent:
            raise RateLimited("requests under way", limits.concurrent, "at a time", CONCURRENT_RETRY_S)
        ticks = self._clock.ticks()
        if limits.requests_per_minute is not None:
            wait = account.requests.wait(ticks, 1, limits.requests_per_minute)
            if wait > 0:
                raise RateLimited("requests", limits.requests_per_minute, "a minute", wait, self.headers())
        if limits.tokens_per_minute is not None:
            wait = account.tokens.wait(ticks, 1, limits.tokens_per_minute)
            if wait > 0:
                raise RateLimited("tokens", limits.tokens_per_minute, "a minute", wait, self.headers())
        self._refuse_spent(0.0)
        account.requests.take(ticks, 1)
        account.under_way += 1
        self._inside = True

    def allow(self, model: str) -> None:
        """Raises `ModelNotAllowed` where the key may not ask this model."""
        if not self.limits.allows(model):
            raise ModelNotAllowed(model)

    def allowed(self, fleet: Iterable[str]) -> tuple[str, ...] | None:
        """Which models the key may ask; None: all."""
        return self.limits.allowed(fleet)

    def left_usd(self) -> float | None:
        """What the key's tightest budget has left for one more request; None without a budget."""
        return self.account.left_usd(self._clock.now())

    def paced_beta(self) -> float | None:
        """β at which the month lands on its budget; None where the key is not paced."""
        if not self.limits.pace:
            return None
        return self.account.pacer.beta(self.account.spending, self.limits, self._clock.now())

    def reserve(self, tokens: float, usd: float) -> None:
        """Set aside what the request may use. Raises `RateLimited` or `QuotaSpent`; then nothing is."""
        account, limits = self.account, self.limits
        ticks = self._clock.ticks()
        if limits.tokens_per_minute is not None:
            wait = account.tokens.wait(ticks, tokens, limits.tokens_per_minute)
            if wait > 0:
                raise RateLimited(
                    "tokens", limits.tokens_per_minute, "a minute", wait, self.headers(), needs=tokens
                )
        self._refuse_spent(usd)
        self._taken = account.tokens.take(ticks, tokens)
        account.spending.reserve(usd)
        self._reserved_usd = usd

    def settle(self, used: Sum, at: float) -> None:
        """Book what the request used; `at` is the Unix time that its decision bears."""
        if self._taken is not None:
            tokens = used.input_tokens + used.output_tokens
            self.account.tokens.correct(self._taken, tokens, self._clock.ticks())
            self._taken = None
        self.account.spending.settle(self._reserved_usd, used, at)
        self._reserved_usd = 0.0

    def leave(self) -> None:
        """The request is over. What it reserved and never settled is free again. Safe to call twice."""
        if self._taken is not None:
            self.account.tokens.correct(self._taken, 0, self._clock.ticks())
            self._taken = None
        if self._reserved_usd:
            self.account.spending.reserve(-self._reserved_usd)
            self._reserved_usd = 0.0
        if self._inside:
            self._inside = False
            self.account.under_way -= 1

    def decided(self, decision: Decision, cost_scale: float) -> float | None:
        """Learn from a decision by β for the pace; what its best was expected to cost (USD), None unpaced."""
        able = [each for each in decision.candidates if each.value is not None and each.cost is not None]
        if not self.limits.pace or not able:
            return None
        values, costs = [each.value or 0.0 for each in able], [each.cost or 0.0 for each in able]
        self.account.pacer.saw(values, costs, cost_scale, self._clock.now())
        return costs[0]

    def paid(self, expected_usd: float | None, paid_usd: float, *, answered: bool) -> None:
        """What the request cost, for the pace; `expected_usd` as `decided` said."""
        if not self.limits.pace or not answered:
            return
        if expected_usd is None:
            self.account.pacer.saw_other(paid_usd, self._clock.now())
        else:
            self.account.pacer.paid(expected_usd, paid_usd)

    def broke(self) -> None:
        """Nobody who could answer is within the budget. Raises `QuotaSpent`, naming the tightest budget."""
        now = self._clock.now()
        budgets = self.account.spending.budgets(self.limits, now)
        if budgets:
            raise QuotaSpent(min(budgets, key=lambda each: each.left_usd), 0.0, now)

    def headers(self) -> dict[str, str]:
        """OpenAI's x-ratelimit headers, as far as the key has such limits."""
        ticks = self._clock.ticks()
        found: dict[str, str] = {}
        for name, limit, window in (
            ("requests", self.limits.requests_per_minute, self.account.requests),
            ("tokens", self.limits.tokens_per_minute, self.account.tokens),
        ):
            if limit is not None:
                left = max(0, math.floor(limit - window.used(ticks)))
                found[f"x-ratelimit-limit-{name}"] = str(limit)
                found[f"x-ratelimit-remaining-{name}"] = str(left)
                found[f"x-ratelimit-reset-{name}"] = f"{window.reset_s(ticks):.3f}s"
        return found

    def _refuse_spent(self, usd: float) -> None:
        now = self._clock.now()
        for budget in self.account.spending.budgets(self.limits, now):
            if budget.left_usd <= 0 or usd > budget.left_usd:
                raise QuotaSpent(budget, usd, now)
