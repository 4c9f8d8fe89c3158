"""
Who may answer, before anything is scored: every model that is out, with its reason. Pure.

Each party that has a say (the operator, a preset, the caller's key, the request) brings a `Rule`. A model is out as
soon as one rule leaves it out; the limits of several rules are the strictest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fleet.model import Model
    from router.features import Features


@dataclass(frozen=True)
class Rule:
    """
    One party's say.

    `party` is how reasons call it ("auto-cheap", "router", "the key"). `allow` None: everybody. `regions`: the model
    must be tagged with one of them. `max_cost_usd`: of one request. `left_usd`: what is left of a budget.
    """

    party: str
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    regions: tuple[str, ...] | None = None
    max_cost_usd: float | None = None
    left_usd: float | None = None

    def against(self, model: Model) -> str | None:
        """Why this party leaves a model out, or None."""
        if self.allow is not None and model.name not in self.allow:
            return f"is not among the models of {self.party}"
        if model.name in self.deny:
            return f"is excluded by {self.party}"
        if self.regions is not None and not model.regions.intersection(self.regions):
            where = ", ".join(sorted(model.regions)) or "no region"
            return f"is tagged with {where}, and {self.party} asks for {' or '.join(self.regions)}"
        return None


def unlisted(models: Iterable[Model], rules: Sequence[Rule]) -> dict[str, str]:
    """Whom the rules leave out by name or region: a model's name → reason."""
    return _reasons(models, lambda model: next(filter(None, (rule.against(model) for rule in rules)), None))


def unfit(
    models: Iterable[Model], features: Features, tokens_of: Callable[[str, int], int] | None = None
) -> dict[str, str]:
    """
    Who cannot serve the request, and why: a model's name → reason.

    `tokens_of` (model, our count) → tokens as that model counts them; without it all count alike.
    """

    def why(model: Model) -> str | None:
        if "embeddings" in model.abilities - features.needs:
            return "makes embeddings only"
        missing = features.needs - model.abilities
        if missing:
            return f"lacks {', '.join(sorted(missing))}"
        if model.context_window is None:
            return None
        counted = features.input_tokens
        needed = (tokens_of(model.name, counted) if tokens_of else counted) + (features.output_tokens or 0)
        if needed > model.context_window:
            return f"context window of {model.context_window} tokens is too small for about {needed}"
        return None

    return _reasons(models, why)


def too_dear(costs: Mapping[str, float], rules: Sequence[Rule]) -> dict[str, str]:
    """Who is expected to cost (USD) more than one request may, or than a budget has left: name → reason."""
    reasons = {}
    for name, cost in costs.items():
        for rule in rules:
            if rule.max_cost_usd is not None and cost > rule.max_cost_usd:
                reasons[name] = (
                    f"is expected to cost {cost:.2g} USD, above max_cost_usd {rule.max_cost_usd:g}"
                )
            elif rule.left_usd is not None and cost > rule.left_usd:
                reasons[name] = (
                    f"is expected to cost {cost:.2g} USD; {rule.party} has {rule.left_usd:.2g} left"
                )
    return reasons


def cost_limit(rules: Sequence[Rule]) -> float | None:
    """USD that one request may cost by all rules; None without a limit."""
    limits = [rule.max_cost_usd for rule in rules if rule.max_cost_usd is not None]
    return min(limits, default=None)


def affordable_output(model: Model, features: Features, input_tokens: int, limit_usd: float) -> int | None:
    """
    The most output tokens of a reply (of each choice) that keep its cost within a limit; None where the model's own
    limits, or the caller's, keep it there anyway. At least 1: a model that cannot afford that is out before.
    """
    price = model.prices.output
    if price <= 0:
        return None
    rest = limit_usd - model.prices.input * input_tokens / 1e6
    tokens = max(1, int(rest * 1e6 / price / features.choices))
    bounds = [model.max_output_tokens, features.output_tokens]
    if model.context_window is not None:
        bounds.append(max(1, model.context_window - input_tokens))
    return tokens if all(bound is None or tokens < bound for bound in bounds) else None


def _reasons(models: Iterable[Model], why: Callable[[Model], str | None]) -> dict[str, str]:
    reasons = ((model.name, why(model)) for model in models)
    return {name: reason for name, reason in reasons if reason is not None}
