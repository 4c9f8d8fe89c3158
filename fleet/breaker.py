"""
A circuit breaker for each upstream: after failures in a row it rests, then one request tries whether it is back.

    closed ──failures in a row──▶ open ──rest is over──▶ half-open ──the probe's first content──▶ closed
                                   ▲                        │
                                   └──the probe fails, twice the rest──┘

An upstream that asks to be left alone (429, or 503 with retry-after) rests for as long as it asked. What is the
request's own fault (a 400, a prompt that is too long) says nothing against the upstream.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from fleet.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from fleet.model import Model

BUSY: Final = (429, 503, 529)
MISPLACED: Final = (401, 402, 403, 404, 405)  # our key, address or name is wrong there
PROBE_S: Final = 1.0  # when to look again while somebody else's probe is out


@dataclass(frozen=True)
class BreakerSettings:
    """
    `failures` in a row open it (0: never), for `rest_s` at first and twice as long after every failed probe, up to
    `longest_rest_s`; neither does an upstream's own retry-after keep it away for longer.
    """

    failures: int = 5
    rest_s: float = 5.0
    longest_rest_s: float = 300.0


@dataclass(frozen=True)
class Rest:
    """Why an upstream is not asked now, and for how many seconds still."""

    why: Literal["resting", "limited"]
    seconds: float

    def __str__(self) -> str:
        said = "rests after failures" if self.why == "resting" else "has asked to be left alone"
        return f"{said}, for {max(1, round(self.seconds))} s more"


class Breaker:
    """The state of one upstream. Times are the caller's, in seconds of any clock that does not go back."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._failures = 0  # in a row
        self._openings = 0  # in a row
        self._rests_until: float | None = None  # None: closed
        self._limited_until = 0.0
        self._probing = False

    def rest(self, now: float) -> Rest | None:
        """Why it must not be asked now; None where it may."""
        if now < self._limited_until:
            return Rest("limited", self._limited_until - now)
        if self._rests_until is None:
            return None
        if now < self._rests_until:
            return Rest("resting", self._rests_until - now)
        return Rest("resting", PROBE_S) if self._probing else None

    def enter(self) -> bool:
        """Somebody goes to ask it; True for the probe of a half-open one."""
        probe = self._rests_until is not None
        self._probing = self._probing or probe
        return probe

    def began(self, probe: bool) -> None:
        """A reply's first content is in."""
        if probe:
            self._close()

    def succeeded(self, probe: bool) -> None:
        """A reply came to its end, or was the request's own fault."""
        self._failures = 0
        if probe:
            self._close()

    def failed(self, probe: bool, now: float) -> None:
        """No reply, or one that broke off."""
        self._failures += 1
        tripped = 0 < self._settings.failures <= self._failures and self._rests_until is None
        if probe or tripped:
            rest = min(self._settings.longest_rest_s, self._settings.rest_s * 2**self._openings)
            self._openings += 1
            self._rests_until = now + rest
            self._probing = False

    def limited(self, probe: bool, now: float, seconds: float) -> None:
        """It said when to come back."""
        self._limited_until = max(self._limited_until, now + min(seconds, self._settings.longest_rest_s))
        self.left(probe)

    def left(self, probe: bool) -> None:
        """The asker went away without an answer: nothing was learned, and somebody else may probe."""
        if probe:
            self._probing = False

    def _close(self) -> None:
        self._rests_until, self._probing, self._openings, self._failures = None, False, 0, 0


class Visit:
    """One call of one upstream; tell it how that ended, once or, where a reply that had begun breaks off, again."""

    def __init__(self, breaker: Breaker, clock: Callable[[], float]) -> None:
        self._breaker = breaker
        self._clock = clock
        self._probe = breaker.enter()
        self.over = False

    def began(self) -> None:
        """The first content is in."""
        if not self.over:
            self._breaker.began(self._probe)
            self._probe = False

    def succeeded(self) -> None:
        """The reply is complete."""
        self._end(self._breaker.succeeded)

    def left(self) -> None:
        """Nobody waits for the answer any more."""
        self._end(self._breaker.left)

    def failed(self, error: UpstreamError) -> None:
        """It failed like this."""
        if self.over:
            return
        self.over = True
        status, after = error.status, error.retry_after
        if status in BUSY and after is not None and after > 0:
            self._breaker.limited(self._probe, self._clock(), after)
        elif status is None or status >= 500 or status in MISPLACED or status == 429:
            self._breaker.failed(self._probe, self._clock())
        else:
            self._breaker.succeeded(self._probe)

    def _end(self, how: Callable[[bool], None]) -> None:
        if not self.over:
            self.over = True
            how(self._probe)


class Breakers:
    """The breakers of all upstreams: a model at an address with a key has its own."""

    def __init__(
        self, settings: BreakerSettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings or BreakerSettings()
        self._clock = clock
        self._breakers: dict[Hashable, Breaker] = {}

    def rest(self, model: Model) -> Rest | None:
        """Why a model must not be asked now; None where it may."""
        breaker = self._breakers.get(_address(model))
        return None if breaker is None else breaker.rest(self._clock())

    def visit(self, model: Model) -> Visit:
        """Go and ask a model. Raises `UpstreamError` (resting or limited) where it must not be asked now."""
        breaker = self._breakers.get(_address(model))
        if breaker is None:
            breaker = self._breakers[_address(model)] = Breaker(self.settings)
        rest = breaker.rest(self._clock())
        if rest is not None:
            seconds = str(max(1, round(rest.seconds)))
            raise UpstreamError(model.name, rest.why, headers={"retry-after": seconds})
        return Visit(breaker, self._clock)

    def keep(self, models: list[Model], settings: BreakerSettings) -> None:
        """Forget the upstreams of all other models; other settings begin anew."""
        addresses = {_address(model) for model in models}
        same = settings == self.settings
        self._breakers = {a: kept for a, kept in self._breakers.items() if a in addresses and same}
        self.settings = settings


def _address(model: Model) -> Hashable:
    return model.target, model.api_base, model.api_key_env, model.api_key_file
