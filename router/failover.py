"""
Who is asked, in which order, until somebody answers.

The chosen model, then its fallbacks; with a hedge, the next one beside a model that is silent for long. When all have
failed, those that said no without generating anything (a connection that was not made, a 429, a 5xx) are asked once
more after a pause, unless the caller repeats requests itself. Nothing of this happens once a reply's first content
is in: what was sent cannot be taken back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from fleet.errors import UpstreamError
from fleet.hedge import first_of
from router.errors import GatewayError, UpstreamFailed, UpstreamRefused, UpstreamResting
from router.relay import Relay, passed_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from fleet.fleet import Fleet
    from fleet.model import Model
    from router.call import Call

logger = logging.getLogger(__name__)

OPERATORS_CONCERN = (401, 402, 403, 404, 405)  # of our account there; a client would take them for its own
NOT_ASKED = ("resting", "limited", "window")
OVERTAKEN = "failed: overtaken"


@dataclass(frozen=True)
class Retries:
    """
    `rounds` more after the first, with pauses of `pause_s`, then twice that, and so on up to `longest_pause_s`, each
    shortened by chance to between half and all of it. An upstream's retry-after lengthens a pause; one beyond the
    longest ends the search. `hedge_after_s` None: no hedging.
    """

    rounds: int = 2
    pause_s: float = 0.25
    longest_pause_s: float = 8.0
    hedge_after_s: float | None = None

    def pause(self, attempt: int, errors: Sequence[UpstreamError], rng: Random) -> float | None:
        """Seconds before round `attempt` (from 1) of those that failed like this; None: not worth the wait."""
        asked = min(error.retry_after or 0.0 for error in errors)
        if asked > self.longest_pause_s:
            return None
        backoff = min(self.longest_pause_s, self.pause_s * 2 ** (attempt - 1))
        return asked + backoff * rng.uniform(0.5, 1.0)


@dataclass
class _Search:
    """One request's way through the models; `failed` is the caller's."""

    fleet: Fleet
    call: Call
    failed: dict[str, str]
    body_of: Callable[[Model], Mapping[str, Any]]
    errors: dict[str, UpstreamError] = field(default_factory=dict)
    overflown: int = 0  # a window that was too small
    hopeless: bool = False  # the request's own fault: nobody would answer it
    asked: list[str] = field(default_factory=list)

    async def round(self, order: Sequence[Model], hedge_after: float | None) -> Relay | None:
        """Ask these models; the first reply, or None when all have failed."""
        self.asked.clear()
        attempts = [partial(self._open, model) for model in order]
        found = await first_of(attempts, partial(self._failed, order), Relay.aclose, hedge_after)
        if found is None:
            return None
        _, relay = found
        self.failed.pop(relay.model, None)  # in an earlier round
        for name in self.asked:
            if name != relay.model:
                self.failed.setdefault(name, OVERTAKEN)
        return relay

    async def _open(self, model: Model) -> Relay:
        self.asked.append(model.name)
        if model.context_window is not None and model.context_window <= self.overflown:
            raise UpstreamError(model.name, "window")
        reply = await self.fleet.ask(self.call.operation, model, self.body_of(model))
        relay = Relay(model.name, reply, self.call)
        try:
            await relay.prime()
        except BaseException as error:
            if isinstance(error, UpstreamError):
                relay.failed(error)
            with anyio.CancelScope(shield=True):
                await relay.aclose()
            raise
        return relay

    def _failed(self, order: Sequence[Model], place: int, error: Exception) -> bool:
        if not isinstance(error, UpstreamError):
            raise error
        model = order[place]
        self.errors.pop(model.name, None)  # the last to fail stands last
        self.failed.pop(model.name, None)
        self.errors[model.name] = error
        self.failed[model.name] = f"failed: {error.status or error.cause}"
        logger.warning("model=%s cause=%s status=%s", model.name, error.cause, error.status)
        if error.overflow:
            self.overflown = max(self.overflown, model.context_window or 0)
        self.hopeless = not error.retryable
        return self.hopeless


async def connect(
    fleet: Fleet,
    order: Sequence[Model],
    call: Call,
    failed: dict[str, str],
    retries: Retries,
    rng: Random,
    body_of: Callable[[Model], Mapping[str, Any]],
) -> Relay:
    """
    The reply of the first model that gives one; `failed` learns who did not, and how. Each is sent its `body_of`.

    An upstream's refusal that no other model would change (a bad request) ends the search. Raises
    `UpstreamRefused` with the last upstream's own error or, where it had none, `UpstreamFailed`; `UpstreamResting`
    where nobody could be asked.
    """
    search = _Search(fleet, call, failed, body_of)
    rounds = 0 if call.repeated else retries.rounds
    for attempt in range(1, rounds + 2):
        relay = await search.round(order, retries.hedge_after_s)
        if relay is not None:
            return relay
        if search.hopeless or attempt > rounds:
            break
        order = [model for model in order if search.errors[model.name].repeatable]
        if not order:
            break
        pause = retries.pause(attempt, [search.errors[model.name] for model in order], rng)
        if pause is None:
            break
        await asyncio.sleep(pause)
    said = list(search.errors.values())
    raise _as_answer(next((e for e in reversed(said) if e.cause not in NOT_ASKED), said[-1]))


def _as_answer(error: UpstreamError) -> GatewayError:
    if error.cause in ("resting", "limited"):
        return UpstreamResting(f"{error}", error.headers, limited=error.cause == "limited")
    if error.status is None:
        return UpstreamFailed(error.model, f"{error}", slow=error.cause == "timeout")
    if error.status in OPERATORS_CONCERN or error.status < 400:
        return UpstreamFailed(
            error.model,
            f"{error}: its key, address or name is not accepted",
            headers={"x-should-retry": "false"},
        )
    return UpstreamRefused(error.model, error.status, error.body, passed_on(error.headers))
