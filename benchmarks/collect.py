"""Ask every model of a fleet every question, several times, and grade the replies (`router-bench collect`).

Each model has its own lane of so many calls at once. All lanes share one purse: what a call is expected to cost is
set aside before it and settled after it. Every reply goes into the journal before anything else happens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.collect_journal import Call, Failed
from benchmarks.collect_reply import read, why
from fleet.errors import UpstreamError
from fleet.model import Usage
from fleet.prices import cost_usd
from router.eligibility import unfit
from router.profile import ASSUMED_OUTPUT_TOKENS, LONGEST_WAIT_S, MOST_FAILURES, TRIES
from router.verifiers import grade

if TYPE_CHECKING:
    from benchmarks.collect_journal import Journal
    from benchmarks.collect_questions import Question
    from benchmarks.collect_reply import Said
    from fleet.fleet import Fleet
    from fleet.model import Model

LONGEST_ASKED_WAIT_S = 300.0  # that an upstream may ask for
FOR_GOOD = frozenset({401, 402, 403, 404, 405})  # of the account or the name: no later call fares better


@dataclass(frozen=True)
class Plan:
    """What is to be asked, and how. None: left to the model, without a cap."""

    questions: Sequence[Question]
    models: Sequence[Model]
    samples: int = 1
    temperature: float | None = None
    max_tokens: int | None = None
    sampling_seed: int | None = None  # of the first sample; the others count up
    concurrency: int = 8  # calls at once, of each model
    cap_usd: float | None = None
    per_call: int = 1  # samples that one call asks for, by `n`

    def body(self, question: Question, samples: Sequence[int] = (0,)) -> dict[str, Any]:
        """The chat body of one call."""
        body: dict[str, Any] = {"messages": list(question.messages)}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.sampling_seed is not None:
            body["seed"] = self.sampling_seed + samples[0]
        if len(samples) > 1:
            body["n"] = len(samples)
        return body


@dataclass(frozen=True)
class Expected:
    """What is still to be asked: calls, tokens of a model's usual length, and USD."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


class Purse:
    """USD spent, and set aside for calls in flight, never more than the cap together."""

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.spent = spent
        self.empty = False  # a call did not fit any more
        self._cap = cap
        self._reserved = 0.0
        self._settled = asyncio.Condition()

    async def reserve(self, amount: float) -> bool:
        """Set an amount aside, if need be once calls in flight are settled; False once one does not fit."""
        async with self._settled:
            while (
                not self.empty and self._cap is not None and self.spent + self._reserved + amount > self._cap
            ):
                if self._reserved <= 0:
                    self.empty = True
                    self._settled.notify_all()
                    return False
                await self._settled.wait()
            if self.empty:
                return False
            self._reserved += amount
            return True

    async def settle(self, reserved: float, spent: float) -> None:
        """Give back what was set aside, and pay."""
        async with self._settled:
            self._reserved = max(0.0, self._reserved - reserved)
            self._reserved = 0.0 if self._reserved < 1e-12 else self._reserved
            self.spent += spent
            self._settled.notify_all()


class Lane:
    """
    One model's calls.

    `stopped` says why there are no more of them, where it is not because all are done; `halt` ends all lanes.
    """

    def __init__(
        self, plan: Plan, model: Model, fleet: Fleet, journal: Journal, purse: Purse, halt: asyncio.Event
    ) -> None:
        self.model = model
        self.stopped: str | None = None
        self._halt = halt
        self._plan = plan
        self._fleet = fleet
        self._journal = journal
        self._purse = purse
        self._failing: set[str] = set()  # prompts that failed since the last reply
        self._refused: set[str] = set()  # prompts that it is no use to ask again
        calls = [call for call in journal.calls.values() if call.model == model.name]
        lengths = [call.output_tokens for call in calls if call.output_tokens is not None]
        self._replies, self._written = len(lengths), sum(lengths)
        self._dearest = max((call.cost_usd or 0.0 for call in calls), default=0.0)
        self._queue = self.waiting()

    def waiting(self) -> Iterator[tuple[Question, list[int]]]:
        """The calls that are not done, each with its samples, in order; what the model cannot do is no call."""
        name, done = self.model.name, self._journal.calls
        for question in self._plan.questions:
            if not unfit([self.model], question.features):
                open_ = [n for n in range(self._plan.samples) if (question.id, name, n) not in done]
                for first in range(0, len(open_), self._plan.per_call):
                    yield question, open_[first : first + self._plan.per_call]

    def expected(self) -> Expected:
        """What is left to do."""
        waiting = list(self.waiting())
        read = sum(question.features.input_tokens * len(samples) for question, samples in waiting)
        written = self._usual_length() * sum(len(samples) for _, samples in waiting)
        return Expected(len(waiting), read, written, cost_usd(self.model.prices, Usage(read, written)))

    async def work(self, on_call: Callable[[Call | Failed], None], pause_s: float) -> None:
        """Make calls until none is left, the purse is empty, or the model gives out. Many may work on one lane."""
        for question, samples in self._queue:
            if self.stopped or self._halt.is_set():
                return
            if question.id in self._refused:
                continue
            reserved = self._reserve(question) * len(samples)
            if not await self._purse.reserve(reserved):
                self.stopped = "the spending cap was reached"
                return
            entries: list[Call | Failed] = []
            try:
                entries = await self._ask(question, samples, pause_s)
            finally:
                each = reserved / len(samples)
                calls = [entry for entry in entries if isinstance(entry, Call)]
                paid = sum(each if call.cost_usd is None else call.cost_usd for call in calls)
                await self._purse.settle(reserved, paid)
            for entry in entries:
                self._journal.add(entry)
                self._learn(entry)
                on_call(entry)

    def _reserve(self, question: Question) -> float:
        expected = Usage(question.features.input_tokens, self._usual_length())
        return max(cost_usd(self.model.prices, expected), self._dearest)

    def _usual_length(self) -> int:
        usual = round(self._written / self._replies) if self._replies else ASSUMED_OUTPUT_TOKENS
        return min(usual, self._plan.max_tokens or usual)

    def _learn(self, entry: Call | Failed) -> None:
        if isinstance(entry, Failed):
            self._failing.add(entry.prompt)
            if len(self._failing) >= MOST_FAILURES and not self.stopped:
                self.stopped = f"{MOST_FAILURES} prompts in a row failed; the last: {entry.failed}"
            return
        self._failing.clear()
        self._dearest = max(self._dearest, entry.cost_usd or 0.0)
        if entry.output_tokens is not None:
            self._replies += 1
            self._written += entry.output_tokens

    async def _ask(self, question: Question, samples: Sequence[int], pause_s: float) -> list[Call | Failed]:
        """One call, repeated while that may help, waiting as long as the upstream asks or ever longer."""
        reason = ""
        for attempt in range(TRIES):
            wait = min(LONGEST_WAIT_S, pause_s * 2**attempt * random.uniform(0.75, 1.25))
            try:
                reply = await self._fleet.chat(self.model.name, self._plan.body(question, samples))
                return self._graded(question, samples, await read(self.model, reply))
            except UpstreamError as error:
                reason = why(error)
                if error.cause == "key" or error.status in FOR_GOOD:
                    self.stopped = self.stopped or reason
                    break
                if not error.retryable or b"context_length_exceeded" in error.body:
                    self._refused.add(question.id)
                    break
                if error.retry_after is not None:
                    wait = min(LONGEST_ASKED_WAIT_S, error.retry_after)
            if attempt == TRIES - 1 or await _happens(self._halt, wait):
                break
        return [Failed(question.id, self.model.name, sample, reason) for sample in samples]

    def _graded(
        self, question: Question, samples: Sequence[int], said: Sequence[Said]
    ) -> list[Call | Failed]:
        """What was said, one choice a sample; a model that does not know `n` says too little."""
        reason = f"answered {len(said)} of {len(samples)} choices: --samples-per-call 1"
        graded: list[Call | Failed] = [
            self._call(question, sample, one) for sample, one in zip(samples, said, strict=False)
        ]
        missing = samples[len(said) :]
        return graded + [Failed(question.id, self.model.name, sample, reason) for sample in missing]

    def _call(self, question: Question, sample: int, said: Said) -> Call:
        usage = said.usage
        return Call(
            question.id,
            self.model.name,
            sample,
            grade(question.verifier, said.text, question.answer),
            usage.input_tokens if usage else None,
            usage.output_tokens if usage else None,
            cost_usd(self.model.prices, usage) if usage else None,
            said.finish,
            not said.text.strip(),
        )


async def collect(
    plan: Plan,
    fleet: Fleet,
    journal: Journal,
    on_call: Callable[[Call | Failed], None] = lambda _: None,
    halt: asyncio.Event | None = None,
    pause_s: float = 0.5,
) -> dict[str, str]:
    """
    Make the plan's calls that are not in the journal yet; once `halt` is set, those in flight are the last.

    Returns why models stopped before they were through, by name. `pause_s` is the first wait before a repetition;
    it doubles.
    """
    lanes = lanes_of(plan, fleet, journal, halt)
    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            for _ in range(plan.concurrency):
                group.create_task(lane.work(on_call, pause_s))
    return {lane.model.name: lane.stopped for lane in lanes if lane.stopped}


def lanes_of(plan: Plan, fleet: Fleet, journal: Journal, halt: asyncio.Event | None = None) -> list[Lane]:
    """A lane for each model, with one purse."""
    purse, halt = Purse(plan.cap_usd, journal.spent), halt or asyncio.Event()
    return [Lane(plan, model, fleet, journal, purse, halt) for model in plan.models]


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event, but no longer than so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return False
    return True
