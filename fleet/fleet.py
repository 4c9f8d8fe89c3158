"""The fleet: the models by name, and the upstream that reaches each."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from fleet.errors import UnknownModel
from fleet.model import Timeouts
from fleet.providers.catalog import kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleet.model import Model
    from fleet.providers.catalog import Kind
    from fleet.upstream import Operation, Reply, Upstream


class Fleet:
    """The models by name, and one upstream for each kind of provider."""

    def __init__(self, models: Sequence[Model], upstreams: Mapping[Kind, Upstream]) -> None:
        self._upstreams = dict(upstreams)
        self._models = _by_name(models)

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
        )

    @property
    def models(self) -> Mapping[str, Model]:
        """The models by name, in router.yaml's order. Read it once per request: `replace` swaps it."""
        return self._models

    def replace(self, models: Sequence[Model]) -> None:
        """Swap the models. Replies under way are not disturbed; connections stay open."""
        self._models = _by_name(models)

    async def chat(self, name: str, body: Mapping[str, Any]) -> Reply:
        """Ask a model by name to chat; see `ask`."""
        return await self.ask("chat", name, body)

    async def ask(self, operation: Operation, name: str, body: Mapping[str, Any]) -> Reply:
        """
        Ask a model by name; see Upstream.

        Raises UnknownModel, or UpstreamError when no reply arrives or its status is 400 or above.
        """
        models = self._models
        if name not in models:
            raise UnknownModel(name, models)
        model = models[name]
        upstream = self._upstreams[kind(model.target, model.api_base)]
        match operation:
            case "chat":
                return await upstream.chat(model, body)
            case "completions":
                return await upstream.complete(model, body)
            case "embeddings":
                return await upstream.embed(model, body)

    async def aclose(self) -> None:
        """Close every upstream."""
        await asyncio.gather(*(upstream.aclose() for upstream in self._upstreams.values()))


def _by_name(models: Sequence[Model]) -> Mapping[str, Model]:
    named = {model.name: model for model in models}
    if len(named) < len(models):
        raise ValueError("two models of a fleet have the same name")
    return MappingProxyType(named)
