"""The story of one request: what it needs, who would do it best for the money, and who then answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from router.cache import ReplyCache
from router.call import AUTO
from router.config import Preset
from router.decide import Decision, decide, pin
from router.eligibility import Rule, too_dear, unfit, unlisted
from router.errors import BadRequest, NoCandidate, Resting, UnknownModel
from router.expected import assumed_cost, costs_of, output_limits
from router.failover import Retries, connect
from router.features import Features, extract, texts
from router.history import fit, sealed
from router.knobs import Bars
from router.logs import configure
from router.sessions import Keys, Sessions, Turn, incumbent, keys_of
from router.tokens import TokenCounter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fleet.fleet import Fleet
    from fleet.model import Model, Usage
    from router.call import Call
    from router.config import Settings
    from router.contexts import Capability, Snapshot
    from router.decide import Combine, Incumbent
    from router.ledger import Ledger
    from router.relay import Relay
    from router.valuation import Loading, Valuation
    from router.value.batcher import Scored

PATIENCE_S = 20.0  # how long a routed request waits for V0 to load


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
    """
    A decision and what it was made from; no `reading` where the caller named the model.

    `output_limits` are tokens that keep a model's reply within what it may cost, where nothing else does. `min_success`
    is the target that was decided by, None where β was. `keys` and `turn`: the conversation, and its turn before.
    """

    features: Features
    decision: Decision
    models: Mapping[str, Model]
    exploration: float
    reading: Reading | None
    output_limits: Mapping[str, int] = field(default_factory=dict)
    min_success: float | None = None
    keys: Keys = field(default_factory=Keys)
    turn: Turn | None = None
    retries: Retries = field(default_factory=Retries)


class Gateway:
    """What every endpoint works with."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        loading: Loading,
        ledger: Ledger,
        rng: Random | None = None,
        tokens: TokenCounter | None = None,
    ) -> None:
        self.settings = settings
        self.fleet = fleet
        self.loading = loading
        self.ledger = ledger
        self.tokens = tokens or TokenCounter()
        self.bars = Bars()
        self.sessions = Sessions()
        self.cache = ReplyCache()
        self._rng = rng or Random()

    def apply(self, settings: Settings) -> None:
        """Route by other settings from now on, all at once; requests under way end by the old ones."""
        self.fleet.replace(settings.fleet, settings.timeouts, settings.breaker)
        if settings.server.log != self.settings.server.log:
            configure(settings.server.log)
        self.settings = settings
        valuation = self.loading.now()
        if valuation is not None:
            valuation.contexts.follow(self.fleet.models, settings.context_size)

    async def route(self, call: Call, *, dry: bool = False) -> Routed:
        """
        Decide who answers a call. A dry run values the fleet even for a caller who named the model, and never
        explores.

        Raises `UnknownModel`, `BadRequest`, `NoCandidate`, `Resting`, `NotReady`.
        """
        settings, models = self.settings, self.fleet.models
        named = call.model if call.model in models else None
        preset = Preset() if call.model == AUTO else settings.presets.get(call.model)
        if named is None and preset is None:
            raise UnknownModel(call.model)
        preset = preset or Preset()
        text_tokens = await self.tokens.count(texts(call.body, call.operation))
        features = extract(call.body, call.operation, text_tokens)
        keys = keys_of(call)
        turn = self.sessions.last(keys, settings.sessions.keep_s)
        rules = _rules(call, preset, settings, models)
        beta, target = _wish(call, preset, settings)
        excluded = unlisted(models.values(), rules)
        if named is None and call.operation == "embeddings":
            named = _only_embedder(models, excluded)
        if named is not None and not dry:
            cost = assumed_cost(self.tokens, models[named], features)
            against = excluded.get(named) or too_dear({named: cost}, rules).get(named)
            if against is not None:
                raise NoCandidate({named: against})
            limits = output_limits(self.tokens, [models[named]], features, rules)
            return Routed(
                features,
                pin(named, cost, beta),
                models,
                0.0,
                None,
                limits,
                None,
                keys,
                turn,
                settings.retries,
            )
        if not features.text and call.operation == "completions":
            raise BadRequest(
                "a prompt in tokens cannot be read: send its text, or name a model", param="prompt"
            )

        excluded = self._unable(features, models, excluded)
        valuation = await self.loading.ready(PATIENCE_S)
        combine = settings.combine if target is None else "separate"  # a target is of success, not of r_β
        snapshot = await _snapshot(valuation, combine, beta)
        excluded |= {name: "was added a moment ago" for name in models if name not in snapshot.capabilities}
        able = {name: model for name, model in models.items() if name not in excluded}
        if not able:
            raise NoCandidate(excluded)
        scored, foretold = await _score(
            valuation, features.text, [snapshot.capabilities[name] for name in able]
        )
        values = dict(zip(able, map(float, scored.values), strict=False))
        costs = costs_of(self.tokens, able.values(), features, snapshot, foretold)
        current = None if turn is None else self._incumbent(turn, able, features, call)
        if current is not None:
            costs[current.model] -= current.saved_usd
        excluded |= too_dear(costs, rules)
        rows = {name: snapshot.capabilities[name].rows for name in able if name not in excluded}
        if not rows:
            raise NoCandidate(excluded)
        started = time.perf_counter()
        # a model without outcomes counts with what it is expected to cost, lest every dear newcomer cost the same
        cost_scale = max(snapshot.cost_scale, *(costs[name] for name, seen in rows.items() if not seen), 0.0)
        exploration = 0.0 if dry else settings.exploration
        decision = decide(
            {name: values[name] for name in rows},
            costs,
            excluded,
            beta,
            exploration,
            self._rng,
            cost_scale=cost_scale,
            combine=combine,
            bar=None if target is None else self.bars.bar(call.scope, target),
            incumbent=current,
        )
        timings = {**scored.timings, "decide": (time.perf_counter() - started) * 1e3}
        reading = Reading(scored.embedding, valuation.scorer.version, timings, rows, cost_scale)
        limits = output_limits(self.tokens, (able[name] for name in rows), features, rules)
        exploration = exploration if current is None else 0.0
        return Routed(
            features, decision, models, exploration, reading, limits, target, keys, turn, settings.retries
        )

    def _unable(
        self, features: Features, models: Mapping[str, Model], excluded: Mapping[str, str]
    ) -> dict[str, str]:
        """Who is out, with those who cannot serve the request or rest. Raises `NoCandidate` or `Resting`."""
        out = {**unfit(models.values(), features, self.tokens.of_model), **excluded}
        rests = {name: self.fleet.breakers.rest(models[name]) for name in models if name not in out}
        resting = {name: rest for name, rest in rests.items() if rest is not None}
        out |= {name: str(rest) for name, rest in resting.items()}
        if len(out) < len(models):
            return out
        if resting:
            raise Resting(out, min(rest.seconds for rest in resting.values()))
        raise NoCandidate(out)

    def _incumbent(
        self, turn: Turn, able: Mapping[str, Model], features: Features, call: Call
    ) -> Incumbent | None:
        """The model that the conversation is with, if it is able."""
        tokens = self.tokens.of_model(turn.model, features.input_tokens)
        firm = call.operation == "chat" and sealed(call.body["messages"])
        return incumbent(turn, able, tokens, self.settings.sessions, firm=firm)

    def opened(self, decision_id: str, call: Call, routed: Routed) -> None:
        """A decision is going to be carried out under this id."""
        self.ledger.open(decision_id)
        chosen = routed.decision.chosen
        value = next((each.value for each in routed.decision.candidates if each.model == chosen), None)
        if routed.min_success is not None and value is not None:
            self.bars.decided(call.scope, routed.min_success, value, decision_id)

    def answered(self, routed: Routed, name: str, usage: Usage) -> None:
        """A model has answered, and used so much."""
        counted = routed.features.input_tokens
        if not usage.estimated and routed.features.only_text:
            self.tokens.learn(name, counted, usage.input_tokens)
        self.sessions.answered(routed.keys, routed.models[name], self.tokens.of_model(name, counted))

    async def call(self, call: Call, routed: Routed, failed: dict[str, str]) -> Relay:
        """
        The reply of the chosen model or, should it fail before its first content, of the next in rank.

        `failed` learns who did not answer, and how. Raises a `GatewayError`.
        """
        decision = routed.decision
        order = (decision.chosen, *decision.fallbacks)
        return await connect(
            self.fleet,
            [routed.models[name] for name in order],
            call,
            failed,
            routed.retries,
            self._rng,
            partial(outgoing, call, routed),
        )


def outgoing(call: Call, routed: Routed, model: Model) -> Mapping[str, Any]:
    """The body that a model gets: a history that its provider takes, and no more output than it may cost."""
    origin = routed.turn.provider if routed.turn else None
    unsure = origin is None and routed.reading is not None  # a caller who names models knows their history
    body = fit(call.body, model.provider, foreign=unsure or origin not in (None, model.provider))
    limit = routed.output_limits.get(model.name)
    if limit is None:
        return body
    name = (
        "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
    )  # all know the latter
    return {**body, name: limit}


def _rules(call: Call, preset: Preset, settings: Settings, models: Mapping[str, Model]) -> tuple[Rule, ...]:
    """What everybody says about who may answer. Raises `BadRequest` for names that the fleet does not have."""
    for option, names in (("models", call.only or ()), ("exclude", call.exclude)):
        unknown = next((name for name in names if name not in models), None)
        if unknown is not None:
            place = f"router.{option}"
            raise BadRequest(f"{place} names {unknown!r}, which the fleet does not have", param=place)
    everybody = Rule("router.yaml", None, (), settings.regions, settings.max_cost_usd)
    named = Rule(call.model, preset.models, preset.exclude, preset.regions, preset.max_cost_usd)
    return tuple(rule for rule in (everybody, named, *call.rules, call.rule) if rule != Rule(rule.party))


def _only_embedder(models: Mapping[str, Model], excluded: Mapping[str, str]) -> str:
    """The one model that makes embeddings: vectors of two models cannot be compared, so none is chosen."""
    able = [
        name for name, model in models.items() if "embeddings" in model.abilities and name not in excluded
    ]
    if len(able) == 1:
        return able[0]
    why = f"name one of {', '.join(able)}" if able else "the fleet has no model with the ability embeddings"
    raise BadRequest(f"embeddings need a named model; {why}", param="model", code="model_required")


def _wish(call: Call, preset: Preset, settings: Settings) -> tuple[float, float | None]:
    """β, and the target for success before it: whoever of request, preset, key and file first names either."""
    wished = (call.beta, call.paced_beta, preset.beta, settings.beta)
    low, high = call.beta_bounds
    beta = min(high, max(low, next(each for each in wished if each is not None)))
    for wish in (call, preset):
        if wish.min_success is not None or wish.beta is not None:
            return beta, wish.min_success
    if call.paced:
        return beta, None
    return beta, settings.min_success if call.key_min_success is None else call.key_min_success


async def _score(
    valuation: Valuation, text: str, capabilities: Sequence[Capability]
) -> tuple[Scored, dict[str, float]]:
    """A prompt's value to each of these models, in their order, and the output tokens foretold of those that can be."""
    lengths = [(each.model, each.lengths) for each in capabilities if each.lengths is not None]
    contexts = [each.context for each in capabilities]
    scored = await valuation.scorer.score(text, contexts + [each.context for _, each in lengths])
    known = zip(lengths, scored.values[len(contexts) :], strict=True)
    return scored, {model: float(each.expected(value)) for (model, each), value in known}


async def _snapshot(valuation: Valuation, combine: Combine, beta: float) -> Snapshot:
    if combine == "weighted":
        return await valuation.contexts.weighted(beta)
    return valuation.contexts.current
