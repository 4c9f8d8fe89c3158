"""What values prompts, and the wait for it: V0 takes seconds to load, and the gateway serves meanwhile."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.errors import BadRequest, NotReady

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from router.contexts import Contexts
    from router.value.batcher import Scorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Valuation:
    """V0 and the contexts it reads; `owns_scorer` where nobody else closes the scorer."""

    scorer: Scorer
    contexts: Contexts
    owns_scorer: bool

    async def aclose(self) -> None:
        """Contexts first: they use the scorer."""
        await self.contexts.aclose()
        if self.owns_scorer:
            await self.scorer.aclose()


class Loading:
    """A valuation on its way, or none for good (None). Build it inside a running event loop."""

    def __init__(self, load: Coroutine[Any, Any, Valuation] | None) -> None:
        self._task = None if load is None else asyncio.create_task(load, name="load-value-model")
        if self._task is not None:
            self._task.add_done_callback(_report)

    @property
    def off(self) -> bool:
        """Whether there will never be one: router.yaml says so."""
        return self._task is None

    def now(self) -> Valuation | None:
        """The valuation if it is here already."""
        if self._task is None:
            return None
        done = self._task.done() and not self._task.cancelled() and self._task.exception() is None
        return self._task.result() if done else None

    @property
    def problem(self) -> str | None:
        """Why `now()` is None; None once the valuation is here, and where none is wanted."""
        if self._task is None:
            return None
        if not self._task.done():
            return "the value model is still loading"
        if self._task.cancelled() or self._task.exception() is not None:
            return "the value model could not be loaded; the log says why"
        return None

    async def ready(self, patience_s: float) -> Valuation:
        """The valuation, waiting for at most `patience_s`. Raises `NotReady`, or `BadRequest` where none is wanted."""
        if self._task is None:
            told = "this gateway values no prompts (value.head is none in its router.yaml): name a model of its fleet"
            raise BadRequest(told, param="model", code="value_model_off")
        if not self._task.done():
            await asyncio.wait({self._task}, timeout=patience_s)
        valuation = self.now()
        if valuation is None:
            raise NotReady(self.problem or "the value model is not ready")
        return valuation

    async def aclose(self) -> None:
        """Stop loading, or close what was loaded."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        valuation = self.now()
        if valuation is not None:
            await valuation.aclose()


def _report(task: asyncio.Task[Valuation]) -> None:
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        logger.error("the value model could not be loaded: %s: %s", type(error).__name__, error)
