"""The rounds of each scenario: the mock alone, then every gateway, driven by a generator in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson

from benchmarks.load import processes, report
from benchmarks.load.drive import Load, Plan
from benchmarks.load.report import GATEWAY, VERSUS, Round, Scenario
from benchmarks.load.upstream import chats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.load.gateways import Child, Children
    from benchmarks.load.measure import OnProgress
    from benchmarks.load.settings import Loop, Settings
    from benchmarks.load.starting import Started

SAMPLE_EVERY_S = 0.25


class Rounds:
    """The rounds of all scenarios."""

    def __init__(
        self,
        chosen: Settings,
        children: Children,
        mock: Child,
        upstream: str,
        on_progress: OnProgress,
    ) -> None:
        self._chosen = chosen
        self._children = children
        self._mock = mock
        self._upstream = upstream
        self._on_progress = on_progress
        self._phases = chosen.rounds * len(chosen.loops) * (1 + len(chosen.targets))
        self._phase = 0

    async def scenario(self, loop: Loop, started: Sequence[Started]) -> Scenario:
        """Direct, gateway, versus; and again."""
        names = ("direct", *(each.target.name for each in started))
        loads: dict[str, list[Load]] = {name: [] for name in names}
        rounds: dict[str, list[Round]] = {name: [] for name in names}
        for number in range(self._chosen.rounds):
            for name, each in zip(names, (None, *started), strict=True):
                load, figures = await self._one(loop, number, name, each)
                loads[name].append(load)
                rounds[name].append(figures)
                self._phase += 1
        direct = report.measured(loads["direct"], rounds["direct"])
        found = {name: report.measured(loads[name], rounds[name], direct) for name in names[1:]}
        return Scenario(
            title=title(self._chosen, loop),
            loop="closed" if loop.rate is None else "open",
            concurrency=loop.concurrency,
            rate=loop.rate,
            stream=self._chosen.stream,
            direct=direct,
            gateways=found,
            ratios=report.ratios(found[GATEWAY], found[VERSUS], direct) if VERSUS in found else {},
        )

    async def _one(self, loop: Loop, number: int, name: str, started: Started | None) -> tuple[Load, Round]:
        chosen = self._chosen
        plan = Plan(
            url=f"{self._upstream}/chat/completions" if started is None else started.chat,
            model="mock" if started is None else started.target.model,
            key=None if started is None else started.target.key,
            stream=chosen.stream,
            concurrency=loop.concurrency,
            rate=loop.rate,
            arrivals=chosen.arrivals,
            requests=chosen.requests,
            duration_s=chosen.duration_s,
            warm_up=chosen.warm_up,
            timeout_s=chosen.timeout_s,
            prompt_tokens=chosen.prompt_tokens,
            same_prompt=chosen.same_prompt,
            seed=1 + number + chosen.rounds * chosen.loops.index(loop),
            gateway=None if started is None else started.pid,
            mock=self._mock.pid,
            watcher=os.getpid(),
            unseen=started is not None and started.pid is None,
        )

        def on_progress(done: int) -> None:
            self._on_progress(
                f"round {number + 1}, {title(chosen, loop)}, {name}: {done}", self._phase / self._phases
            )

        on_progress(0)
        before = await chats(self._upstream)
        peak: list[float] = []
        sampling = asyncio.create_task(_sample(plan.gateway, peak))
        try:
            load = await generate(plan, self._children, on_progress)
        finally:
            sampling.cancel()
        if started is not None and started.child is not None and started.child.ended:
            raise started.child.failure(f"{started.child.ended} under load")
        reached = await chats(self._upstream) - before
        return load, report.a_round(load, max(peak, default=None), reached, chosen.warm_up)


async def generate(plan: Plan, children: Children, on_progress: Callable[[int], None]) -> Load:
    """Carry out a plan in a process of its own. Raises `GatewayFailed` where that process fails."""
    child = await children.start(
        "the load generator", [sys.executable, "-m", "benchmarks.load.drive"], {}, piped=True
    )
    try:
        told, said = child.running.stdin, child.running.stdout
        assert told is not None
        assert said is not None
        told.write(orjson.dumps(asdict(plan)) + b"\n")
        while (line := await said.readline()).endswith(b"\n"):
            message = orjson.loads(line)
            if "load" in message:
                return Load(**message["load"])
            on_progress(message["done"])
        await child.running.wait()
        raise child.failure(f"{child.ended} without a result")
    finally:
        await child.stop()


def title(chosen: Settings, loop: Loop) -> str:
    """What a scenario is called."""
    way = (
        f"closed loop, {loop.concurrency} at a time"
        if loop.rate is None
        else f"open loop, {loop.rate:g} requests/s ({chosen.arrivals})"
    )
    return f"{way}, {'streamed' if chosen.stream else 'not streamed'}"


async def _sample(pid: int | None, peak: list[float]) -> None:
    """The tree's resident memory, again and again."""
    while pid is not None and processes.SUPPORTED:
        peak.append(processes.resident_mib(processes.tree(pid)))
        await asyncio.sleep(SAMPLE_EVERY_S)
