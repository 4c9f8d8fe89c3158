"""What a call is expected to cost with each model, before any is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.decide import expected_cost
from router.eligibility import affordable_output, cost_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fleet.model import Model
    from router.contexts import Snapshot
    from router.eligibility import Rule
    from router.features import Features
    from router.tokens import TokenCounter

ASSUMED_OUTPUT_TOKENS = 256.0  # of a model without outcomes, in a fleet without outcomes


def cost_of(tokens: TokenCounter, model: Model, features: Features, output_tokens: float) -> float:
    """USD that a call is expected to cost, every choice of it so many output tokens long."""
    input_tokens = tokens.of_model(model.name, features.input_tokens)
    return expected_cost(model, input_tokens, output_tokens * features.choices)


def assumed_cost(tokens: TokenCounter, model: Model, features: Features) -> float:
    """The same where nothing is known of how long a model's answers are."""
    limit = ASSUMED_OUTPUT_TOKENS if features.output_tokens is None else features.output_tokens
    return cost_of(tokens, model, features, min(limit, ASSUMED_OUTPUT_TOKENS))


def costs_of(
    tokens: TokenCounter,
    models: Iterable[Model],
    features: Features,
    snapshot: Snapshot,
    foretold: Mapping[str, float],
) -> dict[str, float]:
    """
    USD an answer of each model: as long as is foretold of this prompt, else as long as its answers are on average. One
    without outcomes is taken to answer at the fleet's mean length.
    """
    lengths = {
        name: capability.mean_output_tokens
        for name, capability in snapshot.capabilities.items()
        if capability.mean_output_tokens is not None
    }
    usual = sum(lengths.values()) / len(lengths) if lengths else ASSUMED_OUTPUT_TOKENS
    lengths |= foretold
    limit = features.output_tokens or float("inf")
    return {
        model.name: cost_of(tokens, model, features, min(limit, lengths.get(model.name, usual)))
        for model in models
    }


def output_limits(
    tokens: TokenCounter, models: Iterable[Model], features: Features, rules: Sequence[Rule]
) -> Mapping[str, int]:
    """The output tokens to ask of each model, where `max_cost_usd` asks for fewer than anything else does."""
    most = cost_limit(rules)
    if most is None or "embeddings" in features.needs:
        return {}
    limits = {
        model.name: affordable_output(
            model, features, tokens.of_model(model.name, features.input_tokens), most
        )
        for model in models
    }
    return {name: limit for name, limit in limits.items() if limit is not None}
