"""
One request's money: what its key lets it do, what is set aside for it, what it cost, and whether the cache knows it.

Nothing here waits for the store. Spending is written with the decision, after the reply.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from router.cache import key_of
from router.decide import Decision
from router.eligibility import Rule
from router.errors import NoCandidate
from router.features import extract
from router.gateway import Routed
from router.keys.account import PARTY
from router.keys.spending import Sum
from router.money import Bill, bill, bill_now, most
from router.relay import Relay
from router.store.rows import CACHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.cache import ReplyCache
    from router.call import Call
    from router.gateway import Gateway
    from router.keys.account import Admission
    from router.store.rows import DecisionRow


class Till:
    """The money of one exchange; without a key (`admission` None) it only adds up what was spent."""

    def __init__(self, gateway: Gateway, admission: Admission | None) -> None:
        self._gateway = gateway
        self._admission = admission
        self._cache: ReplyCache = gateway.cache
        self._cache_key: bytes | None = None
        self._looked_up = False
        self._expected_usd: float | None = None  # of a paced decision
        self.cached = False
        self.bill = Bill(None, None)

    @property
    def key_id(self) -> int | None:
        """The key that pays; None without one."""
        return self._admission.key_id if self._admission else None

    def enter(self, call: Call, headers: Iterable[tuple[bytes, bytes]]) -> Call:
        """
        Let the request in, and return it with what its key says (`with_terms`).

        Raises `RateLimited`, `QuotaSpent` or `ModelNotAllowed`.
        """
        admission = self._admission
        if admission is None:
            return call
        if call.model in self._gateway.fleet.models:
            admission.allow(call.model)
        admission.enter()
        if admission.limits.cache_ttl_s is not None:
            said = next((value for name, value in headers if name == b"cache-control"), b"").lower()
            if b"no-store" not in said:
                self._cache_key = key_of(admission.key_id, call)
            self._looked_up = b"no-cache" not in said
        return replace(with_terms(call, admission, self._gateway), keep=self._cache_key is not None)

    async def remembered(self, call: Call) -> tuple[Routed, Relay] | None:
        """The reply that the cache has for this request, with the decision that says so."""
        if self._cache_key is None or not self._looked_up:
            return None
        stored = self._cache.get(self._cache_key)
        models = self._gateway.fleet.models
        if stored is None or stored.model not in models:
            return None
        relay = Relay(stored.model, stored.reply(), replace(call, keep=False))
        await relay.prime()
        self.cached = True
        low, high = call.beta_bounds
        wished = self._gateway.settings.beta if call.beta is None else call.beta
        decision = Decision(stored.model, (), (), min(high, max(low, wished)), CACHED, 1.0)
        return Routed(extract(call.body, call.operation), decision, models, 0.0, None), relay

    def reserve(self, call: Call, routed: Routed) -> None:
        """Set aside what the chosen model may use. Raises `RateLimited` or `QuotaSpent`."""
        admission = self._admission
        if admission is None:
            return
        decision = routed.decision
        model = routed.models[decision.chosen]
        features = routed.features
        admission.reserve(
            *most(model, features, self._gateway.tokens.of_model(model.name, features.input_tokens))
        )
        if routed.reading is not None and call.beta is None and routed.min_success is None:
            self._expected_usd = admission.decided(decision, routed.reading.cost_scale)

    def refused(self, error: NoCandidate) -> None:
        """Raises `QuotaSpent` where somebody could answer but for the key's budget."""
        if self._admission is not None and any(f"; {PARTY} has " in why for why in error.reasons.values()):
            self._admission.broke()

    @property
    def headers(self) -> dict[str, str]:
        """What the client learns of cost, limits and cache."""
        found = self.bill.headers
        if self._admission is not None:
            found |= self._admission.headers()
        if self._cache_key is not None:
            found["x-router-cache"] = "hit" if self.cached else "miss"
        return found

    async def count(self, routed: Routed, relay: Relay) -> Bill:
        """Make out the bill of a reply that is whole."""
        model = routed.models[relay.model]
        self.bill = await bill(model, relay.reader, routed.features, self._gateway.tokens, free=self.cached)
        return self.bill

    def count_now(self, routed: Routed, relay: Relay | None) -> Bill:
        """The bill as far as the reply came, where `count` was not reached."""
        if relay is not None and (self.bill.usage is None or relay.cut):
            model = routed.models[relay.model]
            self.bill = bill_now(model, relay.reader, routed.features, self._gateway.tokens, free=self.cached)
        return self.bill

    def settle(self, row: DecisionRow, relay: Relay | None) -> None:
        """The request has ended: book it, and keep its reply if it may be given again."""
        admission = self._admission
        if admission is None:
            return
        cost = self.bill.cost_usd or 0.0
        admission.settle(self._spent(), row.created_at)
        admission.paid(self._expected_usd, cost, answered=self.bill.usage is not None)
        ttl_s = admission.limits.cache_ttl_s
        if (
            self._cache_key is not None
            and ttl_s is not None
            and not self.cached
            and relay is not None
            and relay.recorded is not None
            and row.status == 200
        ):
            self._cache.put(self._cache_key, relay.model, relay.content_type, relay.recorded, ttl_s)

    def _spent(self) -> Sum:
        """What the request adds to its key's spending; a reply from the cache used nothing."""
        usage = self.bill.usage
        if usage is None or self.cached:
            return Sum(1)
        return Sum(1, usage.input_tokens, usage.output_tokens, self.bill.cost_usd or 0.0)

    def leave(self) -> None:
        """Whatever its end: the request is no longer under way."""
        if self._admission is not None:
            self._admission.leave()


def with_terms(call: Call, admission: Admission, gateway: Gateway) -> Call:
    """A call with what its key says: models, bounds of β, its own β or target, what it may cost and has left."""
    limits = admission.limits
    rule = Rule(
        PARTY,
        allow=admission.allowed(gateway.fleet.models),
        max_cost_usd=limits.max_cost_usd,
        left_usd=admission.left_usd(),
    )
    paced = limits.pace and gateway.settings.combine == "separate"
    return replace(
        call,
        rules=(*call.rules, rule),
        beta=None if call.beta is None else limits.bounded(call.beta),
        beta_bounds=(limits.beta_min, limits.beta_max),
        key_min_success=limits.min_success,
        paced=paced,
        paced_beta=admission.paced_beta() if paced else None,
    )
