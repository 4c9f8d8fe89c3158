"""The fleet: the models by name, and the upstream that reaches each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from fleet.breaker import Breakers, BreakerSettings
from fleet.errors import UnknownModel, UpstreamError
from fleet.model import Timeouts
from fleet.patience import Patience, Watched
from fleet.providers.catalog import kind
from fleet.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleet.breaker import Visit
    from fleet.model import Model
    from fleet.providers.catalog import Kind
    from fleet.upstream import Operation, Upstream


class Fleet:
    """
    The models by name, and one upstream for each kind of provider.

    Unless `breakers` say so, no failure keeps it from asking a model again; an upstream's own retry-after does.
    """

    def __init__(
        self,
        models: Sequence[Model],
        upstreams: Mapping[Kind, Upstream],
        timeouts: Timeouts | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self._upstreams = dict(upstreams)
        self._timeouts = timeouts or Timeouts()
        self._models = _by_name(models, self._timeouts)
        self.breakers = breakers or Breakers(BreakerSettings(failures=0))

    @classmethod
    def open(cls, models: Sequence[Model], timeouts: Timeouts | None = None) -> Self:
        """A fleet with every upstream that is shipped. Connects to nothing until it is asked something."""
        from fleet.providers.litellm import LiteLlm
        from fleet.providers.openai_compatible import OpenAiCompatible
        from fleet.replay import Replay

        timeouts = timeouts or Timeouts()
        return cls(
            models,
            {
                "openai_compatible": OpenAiCompatible(timeouts),
                "litellm": LiteLlm(timeouts),
                "replay": Replay(),
            },
            timeouts,
        )

    @property
    def models(self) -> Mapping[str, Model]:
        """The models by name, in router.yaml's order. Read it once per request: `replace` swaps it."""
        return self._models

    def replace(
        self,
        models: Sequence[Model],
        timeouts: Timeouts | None = None,
        breaker: BreakerSettings | None = None,
    ) -> None:
        """
        Swap the models, and how long they may take. Calls under way end as they began; connections stay open, and
        what is known of the health of models that stay is kept.
        """
        self._timeouts = timeouts or self._timeouts
        self._models = _by_name(models, self._timeouts)
        self.breakers.keep(list(models), breaker or self.breakers.settings)

    async def chat(self, name: str, body: Mapping[str, Any]) -> Reply:
        """Ask a model by name to chat; see `ask`. Raises UnknownModel as well."""
        models = self._models
        if name not in models:
            raise UnknownModel(name, models)
        return await self.ask("chat", models[name], body)

    async def ask(self, operation: Operation, model: Model, body: Mapping[str, Any]) -> Reply:
        """
        Ask a model, which may have left the fleet meanwhile; see Upstream.

        Raises UpstreamError when no reply arrives in time, its status is 400 or above, or its upstream rests.
        """
        visit = self.breakers.visit(model)
        upstream = self._upstreams[kind(model.target, model.api_base)]
        patience = Patience(model.timeouts or self._timeouts)
        try:
            match operation:
                case "chat":
                    reply = await patience.reply(upstream.chat(model, body), model)
                case "completions":
                    reply = await patience.reply(upstream.complete(model, body), model)
                case "embeddings":
                    reply = await patience.reply(upstream.embed(model, body), model)
        except UpstreamError as error:
            visit.failed(error)
            raise
        except BaseException:
            visit.left()
            raise
        return _watched(reply, patience, visit, model)

    async def aclose(self) -> None:
        """Close every upstream."""
        await asyncio.gather(*(upstream.aclose() for upstream in self._upstreams.values()))


def _watched(reply: Reply, patience: Patience, visit: Visit, model: Model) -> Reply:
    content, close = Watched(reply.content, patience, visit, model), reply.close

    async def closing() -> None:
        if content.exhausted:
            visit.succeeded()
        else:
            visit.left()
        if close is not None:
            await close()

    return Reply(reply.status, reply.headers, content, closing, visit)


def _by_name(models: Sequence[Model], timeouts: Timeouts) -> Mapping[str, Model]:
    named = {
        model.name: model if model.timeouts is not None else replace(model, timeouts=timeouts)
        for model in models
    }
    if len(named) < len(models):
        raise ValueError("two models of a fleet have the same name")
    return MappingProxyType(named)
