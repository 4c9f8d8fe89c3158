"""The load: clients that ask for chats in a closed or an open loop (`python -m benchmarks.load.drive`).

It runs in a process of its own, so that neither the progress bar nor whoever samples memory slows it down: a `Plan`
comes in as one line of JSON, `{"done": N}` goes out as it proceeds, and at last `{"load": Load}`.

In a closed loop, each of `concurrency` clients asks again when it has its answer. In an open loop, requests leave by
a schedule, whatever has become of the earlier ones, and a latency counts from the moment when the request was due:
one that had to wait because the loop was behind is not excused.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import re
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import orjson

from benchmarks.load import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Arrivals = Literal["poisson", "even"]
WARM_UP = 20  # requests before the measurement, to open connections and fill caches of code
REPORT_EVERY_S = 0.25
IDLE_CONNECTION_S = 3.0  # less than servers keep one, so that none is asked just when its server drops it
TOKENS_OF_A_NUMBER = 8  # of forty bits, in hexadecimal digits
FIRST_TOKEN = re.compile(rb'"content"\s*:\s*"(?!")')
FAILED_EVENT = re.compile(rb'data:\s*\{\s*"error"')
DONE = b"data: [DONE]"
WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power hour
game line end member law car city community name president team minute idea body information
""".split()  # noqa: SIM905 (as a list, it is harder to read)


@dataclass(frozen=True)
class Plan:
    """
    Where to ask, what, and how often; one of `concurrency` and `rate`, one of `requests` and `duration_s`.

    `gateway` and `mock` are process ids whose trees are watched, None where there is none; `watcher` is the process
    that has started all of them; `unseen` where something has a part in it that cannot be watched. Plans of the same
    `seed` send the same prompts by the same schedule.
    """

    url: str  # of the chat endpoint
    model: str
    key: str | None = None
    stream: bool = False
    concurrency: int | None = None
    rate: float | None = None  # requests a second
    arrivals: Arrivals = "poisson"
    requests: int | None = None
    duration_s: float | None = None
    warm_up: int = WARM_UP
    timeout_s: float = 60.0
    prompt_tokens: int = 50
    same_prompt: bool = False
    seed: int = 0
    gateway: int | None = None
    mock: int | None = None
    watcher: int | None = None
    unseen: bool = False


@dataclass
class Load:
    """
    What came of a plan. Failed requests are counted by kind and have no latency.

    Milliseconds, one number a request, in the order in which they ended. `late_ms`: how long after it was due a
    request left, in an open loop. CPU seconds are of the measured span, None where they cannot be known.
    """

    elapsed_s: float = 0.0
    latency_ms: list[float] = field(default_factory=list)
    first_token_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    cpu_gateway_s: float | None = None
    cpu_mock_s: float | None = None
    cpu_load_s: float = 0.0
    other_cores: float | None = None  # used by processes that have no part in this

    @property
    def sent(self) -> int:
        """Requests that were made in the measured span."""
        return len(self.latency_ms) + sum(self.errors.values())


class RequestFailed(Exception):  # noqa: N818
    """A reply that does not count; the message is the kind of failure."""


def schedule(plan: Plan) -> Iterator[float]:
    """Seconds after the start at which the requests of an open loop are due, ascending. `plan.rate` must be set."""
    assert plan.rate is not None
    chance, due = random.Random(plan.seed), 0.0
    for number in itertools.count():
        if plan.requests is not None and number >= plan.requests:
            return
        if plan.duration_s is not None and due >= plan.duration_s:
            return
        yield due
        due = (number + 1) / plan.rate if plan.arrivals == "even" else due + chance.expovariate(plan.rate)


def prompt(plan: Plan, number: int) -> str:
    """Some words, about `prompt_tokens` of them; the number makes it one that nobody has seen."""
    chance = random.Random(f"{plan.seed} {0 if plan.same_prompt else number}")
    unique = f"{chance.getrandbits(40):x}"
    return " ".join([unique, *chance.choices(WORDS, k=max(0, plan.prompt_tokens - TOKENS_OF_A_NUMBER))])


def body(plan: Plan, number: int) -> bytes:
    """A request for the numbered prompt. A stream asks for its usage, as clients that account for it do."""
    asked: dict[str, Any] = {
        "model": plan.model,
        "messages": [{"role": "user", "content": prompt(plan, number)}],
    }
    if plan.stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(asked)


async def ask(client: aiohttp.ClientSession, plan: Plan, sent: bytes) -> float | None:
    """When the first token came, in seconds of `perf_counter`; None unless streaming. Raises `RequestFailed`."""
    try:
        async with client.post(plan.url, data=sent) as reply:
            if reply.status != 200:
                await reply.read()
                raise RequestFailed(f"status {reply.status}")
            if plan.stream:
                return await _stream(reply.content)
            if b'"choices"' not in await reply.read():
                raise RequestFailed("no choices")
            return None
    except TimeoutError:
        raise RequestFailed("timeout") from None
    except aiohttp.ClientConnectorError:
        raise RequestFailed("no connection") from None
    except (aiohttp.ClientError, OSError) as error:
        raise RequestFailed(f"broken off: {type(error).__name__}") from None


async def _stream(content: aiohttp.StreamReader) -> float:
    first, seen = None, b""
    async for chunk in content.iter_any():
        seen += chunk
        if FAILED_EVENT.search(seen):
            raise RequestFailed("error event")
        if first is None and FIRST_TOKEN.search(seen):
            first = time.perf_counter()
        seen = (
            seen[-64:] if first is not None else seen
        )  # enough for what begins in one chunk and ends in the next
    if DONE not in seen:
        raise RequestFailed("cut stream")
    if first is None:
        raise RequestFailed("no token")
    return first


async def drive(plan: Plan, on_progress: Callable[[int], None] = lambda _done: None) -> Load:
    """Carry out a plan, warm-up first, and tell now and then how many requests are done."""
    headers = {"content-type": "application/json"} | (
        {"authorization": f"Bearer {plan.key}"} if plan.key else {}
    )
    async with aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=plan.timeout_s),
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S),
        auto_decompress=False,
        skip_auto_headers=("accept-encoding",),
    ) as client:
        run = _Run(plan, client, on_progress)
        await run.warm_up()
        gc.collect()
        gc.freeze()
        watch = _Watch(plan)
        started = time.perf_counter()
        await (run.open_loop(started) if plan.rate is not None else run.closed_loop(started))
        watch.stop(run.load)
        run.load.elapsed_s = max(run.ended, started + 1e-6) - started
        return run.load


class _Run:
    """One plan under way."""

    def __init__(self, plan: Plan, client: aiohttp.ClientSession, on_progress: Callable[[int], None]) -> None:
        self.load = Load()
        self.ended = 0.0
        self._plan = plan
        self._client = client
        self._on_progress = on_progress
        self._reported = 0.0

    async def warm_up(self) -> None:
        """As many clients at once as there will be; nothing is counted."""
        numbers = iter(range(-1, -1 - self._plan.warm_up, -1))

        async def client() -> None:
            for number in numbers:
                try:
                    await ask(self._client, self._plan, body(self._plan, number))
                except RequestFailed:
                    return  # the measurement will say so

        await asyncio.gather(*(client() for _ in range(self._plan.concurrency or 4)))

    async def closed_loop(self, started: float) -> None:
        """Each client asks, waits for its answer, asks again."""
        plan = self._plan
        numbers = itertools.count() if plan.requests is None else iter(range(plan.requests))
        last = float("inf") if plan.duration_s is None else started + plan.duration_s

        async def client() -> None:
            for number in numbers:
                sent = body(plan, number)
                now = time.perf_counter()
                if now >= last:
                    return
                await self._one(sent, now)

        assert plan.concurrency is not None
        await asyncio.gather(*(client() for _ in range(plan.concurrency)))

    async def open_loop(self, started: float) -> None:
        """Requests leave when they are due; none waits for another."""
        async with asyncio.TaskGroup() as under_way:
            for number, after in enumerate(schedule(self._plan)):
                sent, due = body(self._plan, number), started + after
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                under_way.create_task(self._one(sent, due))

    async def _one(self, sent: bytes, due: float) -> None:
        if self._plan.rate is not None:
            self.load.late_ms.append((time.perf_counter() - due) * 1e3)
        try:
            first = await ask(self._client, self._plan, sent)
        except RequestFailed as failure:
            self.load.errors[str(failure)] = self.load.errors.get(str(failure), 0) + 1
            self.ended = time.perf_counter()
            if self._plan.rate is None:
                await asyncio.sleep(0.01)  # a gateway that refuses everything is not to be asked without end
        else:
            self.ended = time.perf_counter()
            self.load.latency_ms.append((self.ended - due) * 1e3)
            if first is not None:
                self.load.first_token_ms.append((first - due) * 1e3)
        if self.ended - self._reported > REPORT_EVERY_S:
            self._reported = self.ended
            self._on_progress(self.load.sent)


class _Watch:
    """CPU that the gateway, the mock, this process and everybody else use from now until `stop`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        roots = [pid for pid in (plan.watcher or os.getpid(), plan.gateway) if pid is not None]
        self._others = processes.Neighbours(roots) if processes.SUPPORTED and not plan.unseen else None
        self._gateway, self._mock = _cpu(plan.gateway), _cpu(plan.mock)
        self._own = _own_seconds()

    def stop(self, load: Load) -> None:
        """Enter what was used into the load."""
        load.cpu_load_s = _own_seconds() - self._own
        load.cpu_gateway_s = _difference(_cpu(self._plan.gateway), self._gateway)
        load.cpu_mock_s = _difference(_cpu(self._plan.mock), self._mock)
        load.other_cores = None if self._others is None else self._others.cores()


def _cpu(pid: int | None) -> float | None:
    """CPU seconds of a tree so far; None where that cannot be known."""
    return processes.cpu_seconds(processes.tree(pid)) if pid is not None and processes.SUPPORTED else None


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else max(0.0, after - before)


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """One plan from stdin, its progress and its load to stdout."""
    import uvloop

    plan = Plan(**orjson.loads(sys.stdin.buffer.readline()))
    # with PYTHONUNBUFFERED, sys.stdout would write a part of what a pipe has no room for, and leave it at that
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:

        def say(message: dict[str, Any]) -> None:
            out.write(orjson.dumps(message) + b"\n")
            out.flush()

        load = uvloop.run(drive(plan, lambda done: say({"done": done})))
        say({"load": asdict(load)})


if __name__ == "__main__":
    main()
