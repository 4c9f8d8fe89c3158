"""
Profiling: fill a model's capability context by asking it probes whose answers are known.

Every probe goes through the gateway, pinned to the model, and its grade comes back as feedback, as any client could
send it: there is no other way into a context. The same function serves `router profile`, `router demo` and tests.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from fleet.model import Prices, Usage
from fleet.prices import cost_usd
from router.probes import Graded, Journal, Probe
from router.verifiers import grade

CHAT, FEEDBACK = "/v1/chat/completions", "/v1/feedback"
ASSUMED_OUTPUT_TOKENS = 256  # of a reply, before any was seen
TRIES = 6
LONGEST_WAIT_S = 30.0
MOST_FAILURES = 10  # in a row, before profiling gives up
REPEATED = frozenset({408, 409, 425, 429})  # statuses below 500 that may pass


class ProfileStopped(Exception):  # noqa: N818
    """Profiling cannot go on: the gateway refuses this model or this caller, or nothing answers. Says what it said."""


@dataclass(frozen=True)
class Estimate:
    """What the probes still to be sent will use: tokens, and USD, None where prices are unknown."""

    probes: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


@dataclass(frozen=True)
class Failure:
    """A probe without a grade, and why."""

    probe: Probe
    reason: str


@dataclass
class ProfileReport:
    """
    How far profiling came.

    `graded` are the probes of this run, `resumed` those that an earlier run had graded, `failures` those that got
    no reply. `capped` when the spending cap ended the run, with `left` probes unsent. `cost_usd` is this run's.
    """

    model: str
    resumed: list[Graded] = field(default_factory=list)
    graded: list[Graded] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    capped: bool = False
    left: int = 0
    seconds: float = 0.0

    @property
    def cost_usd(self) -> float | None:
        """USD of this run; None where prices are unknown."""
        costs = [each.cost_usd for each in self.graded]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def mean_score(self) -> float | None:
        """Mean score over all graded probes, of this and earlier runs."""
        scores = [each.score for each in (*self.resumed, *self.graded)]
        return sum(scores) / len(scores) if scores else None


def estimate(probes: Sequence[Probe], prices: Prices | None, seen: Sequence[Graded] = ()) -> Estimate:
    """What probes will use: a token for four characters in; out, as long as the replies seen so far."""
    lengths = [each.output_tokens for each in seen if each.output_tokens is not None]
    expected = sum(lengths) / len(lengths) if lengths else ASSUMED_OUTPUT_TOKENS
    read = sum(-(-len(probe.prompt) // 4) for probe in probes)
    written = round(expected * len(probes))
    cost = None if prices is None else cost_usd(prices, Usage(read, written))
    return Estimate(len(probes), read, written, cost)


async def profile(
    client: httpx.AsyncClient,
    model: str,
    probes: Sequence[Probe],
    *,
    prices: Prices | None = None,
    max_usd: float | None = None,
    concurrency: int = 8,
    journal: Journal | None = None,
    on_graded: Callable[[Graded], None] | None = None,
    pause_s: float = 0.5,
) -> ProfileReport:
    """
    Ask `model` every probe through the gateway behind `client`, grade the replies, and send the grades as feedback.

    With a `journal`, probes graded before are not sent again. With `max_usd`, which needs `prices`, no probe is
    sent that, by the length of the replies so far, could bring this run's cost above it together with those in
    flight. `pause_s` is the first wait before a repetition; it doubles.

    Raises ProfileStopped when it makes no sense to go on; what was graded until then is in the contexts and the
    journal.
    """
    if max_usd is not None and prices is None:
        raise ValueError("a spending cap needs prices")
    started = time.perf_counter()
    known = journal.read() if journal else {}
    report = ProfileReport(model, resumed=[known[probe.digest] for probe in probes if probe.digest in known])
    waiting = [probe for probe in probes if probe.digest not in known]
    run = _Run(client, model, prices, max_usd, journal, on_graded, pause_s, report)
    queue = iter(waiting)
    stopped: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(waiting))):
                group.create_task(run.work(queue))
    except* ProfileStopped as several:
        stopped = several.exceptions[0]
    if stopped is not None:
        raise stopped
    report.seconds = time.perf_counter() - started
    report.left = len(waiting) - len(report.graded) - len(report.failures)
    return report


class _Run:
    """One run's workers and what they share."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        model: str,
        prices: Prices | None,
        max_usd: float | None,
        journal: Journal | None,
        on_graded: Callable[[Graded], None] | None,
        pause_s: float,
        report: ProfileReport,
    ) -> None:
        self._client = client
        self._model = model
        self._prices = prices
        self._max_usd = max_usd
        self._journal = journal
        self._on_graded = on_graded
        self._pause_s = pause_s
        self._report = report
        self._spent = 0.0  # USD of what was graded
        self._reserved = 0.0  # USD that probes in flight may cost
        self._dearest = 0.0  # USD of the dearest probe so far
        self._failed_in_a_row = 0

    async def work(self, queue: Iterator[Probe]) -> None:
        for probe in queue:
            reserve = self._reserve(probe)
            if reserve is None:
                self._report.capped = True
                return
            try:
                graded = await self._grade(probe)
            except _NoReplyError as error:
                self._fail(probe, str(error))
                continue
            finally:
                self._reserved -= reserve
            self._failed_in_a_row = 0
            self._spent += graded.cost_usd or 0.0
            self._dearest = max(self._dearest, graded.cost_usd or 0.0)
            self._report.graded.append(graded)
            if self._journal:
                self._journal.add(graded)
            if self._on_graded:
                self._on_graded(graded)

    def _reserve(self, probe: Probe) -> float | None:
        """USD set aside for a probe; None when it might break the cap."""
        if self._max_usd is None or self._prices is None:
            return 0.0
        expected = estimate([probe], self._prices, self._report.graded).cost_usd or 0.0
        reserve = max(expected, self._dearest)
        if self._report.capped or self._spent + self._reserved + reserve > self._max_usd:
            return None
        self._reserved += reserve
        return reserve

    def _fail(self, probe: Probe, reason: str) -> None:
        self._report.failures.append(Failure(probe, reason))
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MOST_FAILURES:
            raise ProfileStopped(f"{MOST_FAILURES} probes in a row got no reply; the last: {reason}")

    async def _grade(self, probe: Probe) -> Graded:
        body = {"model": self._model, "messages": [{"role": "user", "content": probe.prompt}]}
        response = await self._post(CHAT, body)
        decision_id = response.headers.get("x-router-decision")
        if decision_id is None:
            raise ProfileStopped("the reply names no decision: is this V0 Router's gateway?")
        answered = response.json()
        score = grade(probe.verifier, _content(answered), probe.answer)
        feedback = {"decision_id": decision_id, "score": score, "source": "verifier"}
        await self._post(FEEDBACK, feedback)
        usage = answered.get("usage") or {}
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        cost = None
        if self._prices is not None:
            cost = cost_usd(self._prices, Usage(read or 0, written or 0))
        return Graded(probe.digest, decision_id, score, read, written, cost)

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """
        Post until it succeeds, waiting as long as the server asks or ever longer.

        Raises _NoReplyError when it does not, ProfileStopped when it never will.
        """
        reason = ""
        for attempt in range(TRIES):
            retry_after: float | None = None
            try:
                response = await self._client.post(path, json=body)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__} on {path}"
            else:
                if response.is_success:
                    return response
                reason = f"{path} answered {response.status_code}: {_message(response)}"
                if response.status_code in (401, 403) or (response.status_code == 404 and path == CHAT):
                    raise ProfileStopped(reason)
                if response.status_code < 500 and response.status_code not in REPEATED:
                    break
                retry_after = _seconds(response.headers.get("retry-after"))
            if attempt < TRIES - 1:
                backoff = self._pause_s * 2**attempt * random.uniform(0.75, 1.25)
                await asyncio.sleep(min(LONGEST_WAIT_S, backoff if retry_after is None else retry_after))
        raise _NoReplyError(reason)


class _NoReplyError(Exception):
    """A probe that got no reply, and why."""


def _content(answered: Any) -> str:
    """The text of a completion; none where there is none."""
    try:
        content = answered["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return content if isinstance(content, str) else ""


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < 3600 else None
