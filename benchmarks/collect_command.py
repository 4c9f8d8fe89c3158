"""`router-bench collect`: what it reads, says and answers; the calls are made by `benchmarks.collect`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.collect import Plan, collect, lanes_of
from benchmarks.collect_folder import facts, write
from benchmarks.collect_journal import Failed, Journal
from benchmarks.collect_questions import Source, digest, questions
from benchmarks.settings import SettingsError
from benchmarks.settings import pick as pick_names
from fleet.fleet import Fleet
from router.config import ConfigError, load

if TYPE_CHECKING:
    from benchmarks.collect_folder import ModelSummary
    from benchmarks.collect_journal import Call
    from fleet.model import Timeouts

INCOMPLETE, UNUSABLE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    config: Path
    source: Source
    out: Path
    models: str = ""  # names or patterns, with commas; empty: all
    samples: int = 1
    temperature: float | None = None
    max_tokens: int | None = None
    sampling_seed: int | None = None
    concurrency: int = 8
    cap_usd: float | None = None
    yes: bool = False
    per_call: int = 1


def run(options: Options) -> int:
    """Collect, then write the folder, whatever ended the calls. The exit code: 0 when every pair is there."""
    try:
        settings = load(options.config)
        asked = questions(options.source)
        names = [name for name in map(str.strip, options.models.split(",")) if name]
        wanted = pick_names(names, [m.name for m in settings.fleet], "model") if names else None
        models = [model for model in settings.fleet if wanted is None or model.name in wanted]
        plan = Plan(
            asked,
            models,
            options.samples,
            options.temperature,
            options.max_tokens,
            options.sampling_seed,
            options.concurrency,
            options.cap_usd,
            options.per_call,
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        journal = Journal.open(
            options.out, fixed(options.source, plan), {model.name: facts(model) for model in models}, now
        )
    except (ConfigError, SettingsError, OSError) as error:
        for line in str(error).splitlines():
            typer.echo(f"router-bench: {line}", err=True)
        return UNUSABLE
    try:
        return _run(options, plan, settings.timeouts, journal)
    finally:
        journal.close()


def _run(options: Options, plan: Plan, timeouts: Timeouts, journal: Journal) -> int:
    if not _announce(options, plan, journal):
        return UNUSABLE
    ended = _Ended()
    asyncio.run(_collect(plan, timeouts, journal, ended))
    summaries = write(
        options.out,
        plan.questions,
        plan.models,
        plan.samples,
        journal,
        ended.stopped,
        _about(options.source, plan, journal),
    )
    _tell(options, summaries, ended, journal)
    if ended.signal:
        return TERMINATED if ended.signal == signal.SIGTERM else INTERRUPTED
    return INCOMPLETE if any(one.left_out for one in summaries.values()) else 0


def fixed(source: Source, plan: Plan) -> dict[str, object]:
    """The settings that a folder keeps to."""
    return {
        "tasks": f"{source.shown}, {len(plan.questions)} prompts, {digest(plan.questions)}",
        "samples": plan.samples,
        "temperature": plan.temperature,
        "max_tokens": plan.max_tokens,
        "sampling_seed": plan.sampling_seed,
    }


class _Ended:
    """How the calls ended: why models stopped, and the signal that ended all of them."""

    def __init__(self) -> None:
        self.stopped: Mapping[str, str] = {}
        self.signal: int | None = None


async def _collect(plan: Plan, timeouts: Timeouts, journal: Journal, ended: _Ended) -> None:
    fleet, halt = Fleet.open(plan.models, timeouts), asyncio.Event()
    with _bars() as bars:
        watch = _Watch(bars, plan, journal)
        work = asyncio.create_task(collect(plan, fleet, journal, watch, halt))

        def on_signal(number: int) -> None:
            if halt.is_set():
                work.cancel()
            ended.signal = number
            halt.set()
            bars.console.print("no new calls; those in flight are waited for. Once more drops them.")

        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # where there are no signals, Ctrl-C ends it at once
                asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        try:
            ended.stopped = await work
        except asyncio.CancelledError:
            if ended.signal is None:
                raise
        finally:
            await fleet.aclose()


class _Watch:
    """A bar for each model, with its mean score and what it has cost."""

    def __init__(self, bars: Progress, plan: Plan, journal: Journal) -> None:
        self._bars = bars
        self._sums: dict[str, tuple[int, float, float, int]] = {}  # calls, score, USD, failures
        self._rows = {
            model.name: bars.add_task(
                model.name, total=len(plan.questions) * plan.samples, note="", completed=0
            )
            for model in plan.models
        }
        for call in journal.calls.values():
            if call.model in self._rows:
                self(call)

    def __call__(self, entry: Call | Failed) -> None:
        calls, score, usd, failures = self._sums.get(entry.model, (0, 0.0, 0.0, 0))
        if isinstance(entry, Failed):
            failures += 1
        else:
            calls, score, usd = calls + 1, score + entry.score, usd + (entry.cost_usd or 0.0)
        self._sums[entry.model] = calls, score, usd, failures
        failed = f", {failures} failed" if failures else ""
        note = f"mean {score / max(calls, 1):.3f}, {_usd(usd)}{failed}"
        self._bars.update(self._rows[entry.model], completed=calls, note=note)


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))


def _announce(options: Options, plan: Plan, journal: Journal) -> bool:
    """Say what is to come; False when nobody agreed to pay for it."""
    expected = [lane.expected() for lane in lanes_of(plan, Fleet(plan.models, {}), journal)]
    calls, cost = sum(each.calls for each in expected), sum(each.cost_usd for each in expected)
    before = sum(key[1] in {model.name for model in plan.models} for key in journal.calls)
    if before:
        typer.echo(f"{before} replies came before ({_usd(journal.spent)} in all); this goes on from there")
    cap = "" if plan.cap_usd is None else f", at most {_usd(plan.cap_usd)} for the folder"
    tokens = (
        f"{sum(e.input_tokens for e in expected):,} tokens in, {sum(e.output_tokens for e in expected):,} out"
    )
    typer.echo(
        f"{len(plan.questions)} prompts x {len(plan.models)} models x {plan.samples}: "
        f"{calls:,} calls, about {tokens}, {_usd(cost)}{cap}"
    )
    free = all(model.provider == "replay" for model in plan.models) or cost == 0
    if not calls or free or options.yes or plan.cap_usd is not None:
        return True
    if not sys.stdin.isatty():
        typer.echo("router-bench: --yes, or --cap-usd, goes ahead without asking", err=True)
        return False
    return typer.confirm("Go ahead?", default=True)


def _about(source: Source, plan: Plan, journal: Journal) -> dict[str, str]:
    def said(value: object) -> str:
        return "not sent: each model's own default" if value is None else str(value)

    return {
        "tasks": source.shown,
        "prompts": str(len(plan.questions)),
        "digest of the prompts": digest(plan.questions),
        "samples of each prompt": str(plan.samples),
        "temperature": said(plan.temperature),
        "most tokens of a reply": said(plan.max_tokens),
        "seed of the first sample": said(plan.sampling_seed),
        "begun": journal.started or "",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "cost of all calls": _usd(journal.spent),
        "by": f"v0-router {version('v0-router')}",
    }


def _tell(options: Options, summaries: Mapping[str, ModelSummary], ended: _Ended, journal: Journal) -> None:
    for model, reason in ended.stopped.items():
        typer.echo(f"{model} stopped: {reason}", err=True)
    for model, one in summaries.items():
        for reason, count in one.left_out.items():
            typer.echo(f"left out of {model}: {count} prompts ({reason})", err=True)
    pairs = sum(one.pairs for one in summaries.values())
    typer.echo(f"{pairs:,} pairs of prompt and model in {options.out}; {_usd(journal.spent)} in all")
    if any(one.left_out for one in summaries.values()):
        typer.echo("the same command goes on from there")
    elif pairs:
        typer.echo(f"router-bench sweep --data {options.out}")


def _usd(amount: float) -> str:
    return f"${amount:,.4f}" if amount >= 0.01 or not amount else f"${amount:.6f}"
