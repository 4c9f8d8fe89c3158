"""The story of one request: what it needs, who would do it best for the money, and who then answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from router.call import AUTO
from router.config import Preset
from router.decide import Decision, decide, expected_cost, pin
from router.errors import BadRequest, NoCandidate, UnknownModel
from router.features import Features, extract, unfit
from router.relay import Relay, connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fleet.fleet import Fleet
    from fleet.model import Model
    from router.call import Call
    from router.config import Settings
    from router.contexts import Snapshot
    from router.ledger import Ledger
    from router.valuation import Loading, Valuation

PATIENCE_S = 20.0  # how long a routed request waits for V0 to load
ASSUMED_OUTPUT_TOKENS = 256.0  # of a model without outcomes, in a fleet without outcomes


@dataclass(frozen=True)
class Reading:
    """What V0 made of a prompt: its embedding (dim,), V0's version, the time it took in ms by part."""

    embedding: NDArray[np.float32]
    version: str
    timings: Mapping[str, float]
    rows: Mapping[str, int]  # outcomes in each candidate's context
    cost_scale: float  # USD, the unit of c̃


@dataclass(frozen=True)
class Routed:
    """A decision and what it was made from; no `reading` where the caller named the model."""

    features: Features
    decision: Decision
    models: Mapping[str, Model]
    exploration: float
    reading: Reading | None


class Gateway:
    """What every endpoint works with."""

    def __init__(
        self, settings: Settings, fleet: Fleet, loading: Loading, ledger: Ledger, rng: Random | None = None
    ) -> None:
        self.settings = settings
        self.fleet = fleet
        self.loading = loading
        self.ledger = ledger
        self._rng = rng or Random()

    def apply(self, settings: Settings) -> None:
        """Route by other settings from now on; requests under way end by the old ones."""
        self.settings = settings
        self.fleet.replace(settings.fleet)
        valuation = self.loading.now()
        if valuation is not None:
            valuation.contexts.follow(self.fleet.models)

    async def route(self, call: Call, *, dry: bool = False) -> Routed:
        """
        Decide who answers a call. A dry run values the fleet even for a caller who named the model, and never
        explores.

        Raises `UnknownModel`, `BadRequest`, `NoCandidate`, `NotReady`.
        """
        settings, models = self.settings, self.fleet.models
        named = call.model if call.model in models else None
        preset = Preset() if call.model == AUTO else settings.presets.get(call.model)
        if named is None and preset is None:
            raise UnknownModel(call.model)
        preset = preset or Preset()
        features = extract(call.body, call.operation)
        beta = next(each for each in (call.beta, preset.beta, settings.beta) if each is not None)
        excluded = _unlisted(call, preset, models)
        if named is None and call.operation == "embeddings":
            named = _only_embedder(models, excluded)
        if named is not None and not dry:
            limit = ASSUMED_OUTPUT_TOKENS if features.output_tokens is None else features.output_tokens
            expected = min(limit, ASSUMED_OUTPUT_TOKENS)
            cost = expected_cost(models[named], features.input_tokens, expected)
            return Routed(features, pin(named, cost, beta), models, 0.0, None)
        if not features.text and call.operation == "completions":
            raise BadRequest(
                "a prompt in tokens cannot be read: send its text, or name a model", param="prompt"
            )

        excluded = unfit(models.values(), features) | excluded
        if len(excluded) == len(models):
            raise NoCandidate(excluded)
        valuation = await self.loading.ready(PATIENCE_S)
        snapshot = await _snapshot(valuation, settings, beta)
        excluded |= {name: "was added a moment ago" for name in models if name not in snapshot.capabilities}
        able = {name: snapshot.capabilities[name] for name in models if name not in excluded}
        if not able:
            raise NoCandidate(excluded)
        scored = await valuation.scorer.score(features.text, [each.context for each in able.values()])

        started = time.perf_counter()
        costs = _expected_costs({name: models[name] for name in able}, features, snapshot)
        # a model without outcomes counts with what it is expected to cost, lest every dear newcomer cost the same
        cost_scale = max(
            snapshot.cost_scale, *(costs[name] for name, each in able.items() if not each.rows), 0.0
        )
        exploration = 0.0 if dry else settings.exploration
        decision = decide(
            {name: float(value) for name, value in zip(able, scored.values, strict=True)},
            costs,
            excluded,
            beta,
            exploration,
            self._rng,
            cost_scale=cost_scale,
            combine=settings.combine,
        )
        timings = {**scored.timings, "decide": (time.perf_counter() - started) * 1e3}
        rows = {name: each.rows for name, each in able.items()}
        reading = Reading(scored.embedding, valuation.scorer.version, timings, rows, cost_scale)
        return Routed(features, decision, models, exploration, reading)

    async def call(self, call: Call, routed: Routed, failed: dict[str, str]) -> Relay:
        """
        The reply of the chosen model or, should it fail before its first content, of the next in rank.

        `failed` learns who did not answer, and how. Raises a `GatewayError`.
        """
        decision = routed.decision
        return await connect(self.fleet, (decision.chosen, *decision.fallbacks), call, failed)


def _unlisted(call: Call, preset: Preset, models: Mapping[str, Model]) -> dict[str, str]:
    """Whom the preset or the caller left out. Raises `BadRequest` for an allow-list of unknown names."""
    unknown = [name for name in call.only or () if name not in models]
    if unknown:
        raise BadRequest(
            f"router.models names {unknown[0]!r}, which the fleet does not have", param="router.models"
        )
    by_caller = {name: "is not in router.models" for name in models if call.only and name not in call.only}
    allowed = models if preset.models is None else preset.models
    return {name: f"is not in {call.model}" for name in models if name not in allowed} | by_caller


def _only_embedder(models: Mapping[str, Model], excluded: Mapping[str, str]) -> str:
    """The one model that makes embeddings: vectors of two models cannot be compared, so none is chosen."""
    able = [
        name for name, model in models.items() if "embeddings" in model.abilities and name not in excluded
    ]
    if len(able) == 1:
        return able[0]
    why = f"name one of {', '.join(able)}" if able else "the fleet has no model with the ability embeddings"
    raise BadRequest(f"embeddings need a named model; {why}", param="model", code="model_required")


async def _snapshot(valuation: Valuation, settings: Settings, beta: float) -> Snapshot:
    if settings.combine == "weighted":
        return await valuation.contexts.weighted(beta)
    return valuation.contexts.current


def _expected_costs(models: Mapping[str, Model], features: Features, snapshot: Snapshot) -> dict[str, float]:
    """USD an answer of each model; one without outcomes is taken to answer at the fleet's mean length."""
    lengths = {
        name: capability.mean_output_tokens
        for name, capability in snapshot.capabilities.items()
        if capability.mean_output_tokens is not None
    }
    usual = sum(lengths.values()) / len(lengths) if lengths else ASSUMED_OUTPUT_TOKENS
    limit = features.output_tokens or float("inf")
    return {
        name: expected_cost(model, features.input_tokens, min(limit, lengths.get(name, usual)))
        for name, model in models.items()
    }
