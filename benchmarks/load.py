"""Load on a gateway: what it adds, what it uses, how fast it starts (`router-bench load`).

The mock upstream, the gateways and the generator of the load are processes of their own. Each round drives the mock
alone, then each gateway before it, so that what else the machine does meets all of them alike.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import typer

from benchmarks import gateways, load_report, own_gateway, processes
from benchmarks.drive import Load, Plan, body
from benchmarks.gateways import CHAT, Ask, Children, Command, GatewayFailed
from benchmarks.load_report import GATEWAY, VERSUS, GatewayEntry, LoadReport, Round, Scenario
from benchmarks.load_settings import settings
from benchmarks.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from benchmarks.gateways import Child
    from benchmarks.load_settings import Loop, Settings, Target

    OnProgress = Callable[[str, float], None]  # what is done now, and the share of the whole that is done

FAILED, INTERRUPTED, TERMINATED = 1, 130, 143
OWN = "router serve"
PACKAGES = ("v0-router", "uvicorn", "httpx", "torch", "aiohttp")
SAMPLE_EVERY_S = 0.25
SETTLES_S = 1.0  # after the first answer, before memory is called idle
FIRST_SEED = 1_000_000  # of the prompts that gateways are started with; rounds count from 1
PATIENCE_WITH_MOCK_S = 30.0


@dataclass(frozen=True)
class Started:
    """A gateway that answers, and what is known of it; no `child` where it was running before."""

    target: Target
    chat: str  # the address of its chats
    pid: int | None
    child: Child | None
    entry: GatewayEntry


def run(options: Mapping[str, Any]) -> None:
    """Measure, print, write; a failure is a message and exit status 1. Nothing that was started stays behind."""
    from rich.console import Console

    from benchmarks.load_tables import show

    out: Path | None = options["out"]
    try:
        chosen = settings(options)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        report = _measure(chosen)
        show(report, Console())
        if out is not None:
            out.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except (SettingsError, GatewayFailed, OSError) as error:
        typer.echo(f"router-bench: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo("router-bench: interrupted; what it started is ended", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
    if any(each.ok == 0 for scenario in report.scenarios for each in scenario.gateways.values()):
        raise typer.Exit(FAILED)


def _measure(chosen: Settings) -> LoadReport:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
        children = Children(Path(folder))
        try:
            with bars as progress:
                bar = progress.add_task("", total=1.0)

                def on_progress(doing: str, share: float) -> None:
                    progress.update(bar, description=doing, completed=share)

                return asyncio.run(_until_told_to_end(measure(chosen, Path(folder), children, on_progress)))
        finally:
            children.kill()


async def _until_told_to_end(work: Coroutine[Any, Any, LoadReport]) -> LoadReport:
    """SIGTERM and SIGHUP do what Ctrl-C does: what was started is ended first."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


async def measure(chosen: Settings, folder: Path, children: Children, on_progress: OnProgress) -> LoadReport:
    """Start everything, drive it round by round, sum up, and end everything. Raises `GatewayFailed`."""
    async with AsyncExitStack() as ending:
        mock, upstream = await _start_mock(chosen, children)
        ending.push_async_callback(mock.stop)
        started = []
        for target in chosen.targets:
            starting = _Starting(chosen, target, folder, children, upstream, on_progress)
            each = await starting.start()
            if each.child is not None:
                ending.push_async_callback(each.child.stop)
            started.append(each)
        driving = _Driving(chosen, children, mock, upstream, on_progress)
        scenarios = [await driving.scenario(loop, started) for loop in chosen.loops]
    return LoadReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        prompt_tokens=chosen.prompt_tokens,
        same_prompt=chosen.same_prompt,
        upstream=chosen.upstream,
        gateways={each.target.name: each.entry for each in started},
        scenarios=scenarios,
    )


async def _start_mock(chosen: Settings, children: Children) -> tuple[Child, str]:
    """The mock, and the address that gateways append "/chat/completions" to."""
    port = chosen.mock_port or gateways.free_port()
    pace = chosen.upstream
    words = [sys.executable, "-m", "benchmarks.mock_upstream", "--port", str(port)]
    words += ["--tokens", str(pace.tokens), "--first-byte-ms", str(pace.first_byte_ms)]
    words += ["--chunk-ms", str(pace.chunk_ms)]
    mock = await children.start("the mock upstream", words, {})
    upstream = f"http://127.0.0.1:{port}/v1"
    first = Ask(body(Plan("", "mock"), 0), None)
    await gateways.first_answer(f"{upstream}/chat/completions", first, PATIENCE_WITH_MOCK_S, mock)
    return mock, upstream


class _Starting:
    """The start, or several, of one gateway."""

    def __init__(
        self,
        chosen: Settings,
        target: Target,
        folder: Path,
        children: Children,
        upstream: str,
        on_progress: OnProgress,
    ) -> None:
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
        others: list[float | None] = []
        while True:
            self._on_progress(f"starting {target.name}", 0.0)
            child, address = await self._timed(command, len(seconds), seconds, others)
            if len(seconds) == self._chosen.starts:
                break
            await child.stop()
        try:
            await asyncio.sleep(SETTLES_S)
            rows = await own_gateway.context_rows(address) if target.command is None else None
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
        every = rows * len(own_gateway.PRICES)
        child, address, _ = await gateways.start(
            self._children, command, self._ask(0), self._chosen.start_timeout_s
        )
        try:
            await own_gateway.fill_contexts(
                address, rows, lambda done: self._on_progress(f"filling contexts, {done} of {every}", 0.0)
            )
        finally:
            await child.stop()

    def _command(self) -> Command:
        target = self._target
        values = {"upstream": self._upstream, "model": target.model, "key": target.key or ""}
        if target.command is not None:
            return Command(f"{target.name} ({target.command})", gateways.split(target.command), values)
        config = own_gateway.write_settings(self._folder, self._upstream, self._chosen.contexts)
        return Command(f"{target.name} ({OWN})", own_gateway.words(config), values)

    def _ask(self, number: int) -> Ask:
        plan = Plan("", self._target.model, seed=FIRST_SEED)
        return Ask(body(plan, number), self._target.key)

    async def _check_upstream(self, before: int) -> None:
        """Load must not go anywhere else: that could cost money."""
        if await chats(self._upstream) == before:
            raise GatewayFailed(
                f"{self._target.name} answered without asking the mock: its upstream must be {self._upstream}"
            )


class _Driving:
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
        direct = load_report.measured(loads["direct"], rounds["direct"])
        found = {name: load_report.measured(loads[name], rounds[name], direct) for name in names[1:]}
        return Scenario(
            title=title(self._chosen, loop),
            loop="closed" if loop.rate is None else "open",
            concurrency=loop.concurrency,
            rate=loop.rate,
            stream=self._chosen.stream,
            direct=direct,
            gateways=found,
            ratios=load_report.ratios(found[GATEWAY], found[VERSUS], direct) if VERSUS in found else {},
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
        return load, load_report.a_round(load, max(peak, default=None), reached, chosen.warm_up)


async def generate(plan: Plan, children: Children, on_progress: Callable[[int], None]) -> Load:
    """Carry out a plan in a process of its own. Raises `GatewayFailed` where that process fails."""
    child = await children.start(
        "the load generator", [sys.executable, "-m", "benchmarks.drive"], {}, piped=True
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


async def chats(upstream: str) -> int:
    """How many chats the mock has answered so far."""
    async with aiohttp.ClientSession() as client, client.get(f"{upstream}/stats") as reply:
        return int((await reply.json())["chats"])


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


def _resident(pid: int) -> float | None:
    return processes.resident_mib(processes.tree(pid)) if processes.SUPPORTED else None
