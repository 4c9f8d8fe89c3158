"""A gateway's start: cold, several times where that is wished, its contexts filled; or finding the one that runs."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.load import gateways, own, processes
from benchmarks.load.drive import Plan, body
from benchmarks.load.gateways import CHAT, Ask, Command, GatewayFailed
from benchmarks.load.report import GatewayEntry
from benchmarks.load.upstream import chats

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.gateways import Child, Children
    from benchmarks.load.measure import OnProgress
    from benchmarks.load.settings import Settings, Target

OWN = "router serve"
SETTLES_S = 1.0  # after the first answer, before memory is called idle
FIRST_SEED = 1_000_000  # of the prompts that gateways are started with; rounds count from 1


@dataclass(frozen=True)
class Started:
    """A gateway that answers, and what is known of it; no `child` where it was running before."""

    target: Target
    chat: str  # the address of its chats
    pid: int | None
    child: Child | None
    entry: GatewayEntry


class Starting:
    """The start, or several, of one gateway."""

    def __init__(
        self,
        chosen: Settings,
        target: Target,
        folder: Path,
        children: Children,
        upstream: str,
        on_progress: OnProgress,
        cores: frozenset[int] | None = None,
    ) -> None:
        self._cores = cores
        self._chosen = chosen
        self._target = target
        self._folder = folder
        self._children = children
        self._upstream = upstream
        self._on_progress = on_progress

    async def start(self) -> Started:
        """Cold starts as often as wished; the last one stays. Raises `GatewayFailed`."""
        target = self._target
        if target.url is not None:
            return await self._running(target.url)
        command = self._command()
        if target.command is None and self._chosen.contexts:
            await self._fill(command)
        seconds: list[float] = []
        ready: list[float] = []
        others: list[float | None] = []
        while True:
            self._on_progress(f"starting {target.name}", 0.0)
            child, address = await self._timed(command, len(seconds), seconds, others)
            if target.command is None:
                began = time.perf_counter() - seconds[-1]
                await own.ready(address, self._chosen.start_timeout_s)
                ready.append(time.perf_counter() - began)
            if len(seconds) == self._chosen.starts:
                break
            await child.stop()
        try:
            await asyncio.sleep(SETTLES_S)
            rows = await own.context_rows(address) if target.command is None else None
        except BaseException:
            await child.stop()
            raise
        if rows is not None and rows < self._chosen.contexts:
            await child.stop()
            raise GatewayFailed(f"a context holds {rows} outcomes where {self._chosen.contexts} were given")
        entry = GatewayEntry(
            command=target.command or OWN,
            url=None,
            model=target.model,
            cold_start_s=seconds,
            ready_s=ready,
            cold_start_other_cores=others,
            idle_mib=_resident(child.pid),
            context_rows=rows,
        )
        return Started(target, address + CHAT, child.pid, child, entry)

    async def _running(self, url: str) -> Started:
        target = self._target
        if target.pid is not None and processes.SUPPORTED and not processes.tree(target.pid):
            raise GatewayFailed(f"there is no process {target.pid}")
        before = await chats(self._upstream)
        await gateways.first_answer(url + CHAT, self._ask(0), self._chosen.start_timeout_s)
        await self._check_upstream(before)
        entry = GatewayEntry(
            command=None,
            url=url,
            model=target.model,
            cold_start_s=[],
            cold_start_other_cores=[],
            idle_mib=None if target.pid is None else _resident(target.pid),
            context_rows=None,
        )
        return Started(target, url + CHAT, target.pid, None, entry)

    async def _timed(
        self, command: Command, number: int, seconds: list[float], others: list[float | None]
    ) -> tuple[Child, str]:
        before = await chats(self._upstream)
        watch = processes.Neighbours([os.getpid()]) if processes.SUPPORTED else None
        child, address, took = await gateways.start(
            self._children, command, self._ask(number), self._chosen.start_timeout_s
        )
        try:
            others.append(watch.cores() if watch is not None else None)
            seconds.append(took)
            await self._check_upstream(before)
        except BaseException:
            await child.stop()
            raise
        return child, address

    async def _fill(self, command: Command) -> None:
        """Contexts are filled by one run of the gateway and read by the next."""
        rows = self._chosen.contexts
        every = rows * len(own.PRICES)
        child, address, _ = await gateways.start(
            self._children, command, self._ask(0), self._chosen.start_timeout_s
        )
        try:
            await own.ready(address, self._chosen.start_timeout_s)
            await own.fill_contexts(
                address, rows, lambda done: self._on_progress(f"filling contexts, {done} of {every}", 0.0)
            )
        finally:
            await child.stop()

    def _command(self) -> Command:
        target = self._target
        values = {"upstream": self._upstream, "model": target.model, "key": target.key or ""}
        if target.command is not None:
            return Command(
                f"{target.name} ({target.command})", gateways.split(target.command), values, self._cores
            )
        config = own.write_settings(self._folder, self._upstream, self._chosen.contexts)
        return Command(f"{target.name} ({OWN})", own.words(config), values, self._cores)

    def _ask(self, number: int) -> Ask:
        ours = self._target.command is None and self._target.url is None
        plan = Plan("", own.NAMED if ours else self._target.model, seed=FIRST_SEED)
        return Ask(body(plan, number), self._target.key)

    async def _check_upstream(self, before: int) -> None:
        """Load must not go anywhere else: that could cost money."""
        if await chats(self._upstream) == before:
            raise GatewayFailed(
                f"{self._target.name} answered without asking the mock: its upstream must be {self._upstream}"
            )


def _resident(pid: int) -> float | None:
    return processes.resident_mib(processes.tree(pid)) if processes.SUPPORTED else None
