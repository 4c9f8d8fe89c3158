"""`router profile`: what it asks, shows and answers; the work is done by `router.profile`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from router.config import ConfigError, load
from router.probes import BadProbes, Journal, Probe, load_probes
from router.profile import Estimate, ProfileReport, ProfileStopped, estimate, profile

if TYPE_CHECKING:
    from fleet.model import Prices
    from router.config import Settings
    from router.probes import Graded

READ_TIMEOUT_S = 600.0
SHOWN_FAILURES = 5


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    model: str
    probes: Path | None  # None: built-in tasks, `tasks` of them
    tasks: int
    config: Path
    gateway: str | None
    concurrency: int
    max_usd: float | None
    key_env: str
    yes: bool
    fresh: bool


def run(options: Options) -> int:
    """Profile a model and say how it went. The exit code: 0, 1 when probes failed, 2 when nothing could begin."""
    try:
        probes = _built_in(options.tasks) if options.probes is None else load_probes(options.probes)
        settings = None if options.gateway and not options.config.exists() else load(options.config)
    except (BadProbes, ConfigError) as error:
        typer.echo(str(error), err=True)
        return 2
    prices = _prices(settings, options.model)
    if settings is not None and prices is None and options.gateway is None:
        names = ", ".join(model.name for model in settings.fleet)
        typer.echo(f"{options.config} has no model {options.model!r}; it has {names}", err=True)
        return 2
    if options.max_usd is not None and prices is None:
        typer.echo(f"--max-usd needs the prices of {options.model!r} in {options.config}", err=True)
        return 2
    return asyncio.run(_run(options, settings, probes, prices))


async def _run(
    options: Options, settings: Settings | None, probes: list[Probe], prices: Prices | None
) -> int:
    gateway = options.gateway or str(options.config.absolute())
    journal = Journal((options.probes or options.config).parent, gateway, options.model)
    async with _client(options, settings) as client:
        if options.fresh or (journal.path.exists() and await _rows(client, options.model) == 0):
            journal.forget()
        known = journal.read()
        waiting = [probe for probe in probes if probe.digest not in known]
        _announce(options, len(probes) - len(waiting), estimate(waiting, prices, list(known.values())))
        if waiting and not options.yes:
            if not sys.stdin.isatty():
                typer.echo("--yes goes ahead without asking", err=True)
                return 2
            if not await asyncio.to_thread(typer.confirm, "Go ahead?", default=True):
                return 2
        try:
            report = await _watched(client, options, probes, prices, journal)
        except ProfileStopped as stopped:
            typer.echo(f"stopped: {stopped}", err=True)
            typer.echo(
                f"what was graded is kept; the same command goes on from there ({journal.path})", err=True
            )
            return 1
    _tell(report, options)
    return 1 if report.failures else 0


async def _watched(
    client: httpx.AsyncClient, options: Options, probes: list[Probe], prices: Prices | None, journal: Journal
) -> ProfileReport:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[score]}"), console=console) as progress:
        known = journal.read()
        done = sum(probe.digest in known for probe in probes)
        task = progress.add_task(options.model, total=len(probes), completed=done, score="")
        scores: list[float] = []

        def graded(each: Graded) -> None:
            scores.append(each.score)
            progress.update(task, advance=1, score=f"mean {sum(scores) / len(scores):.3f}")

        return await profile(
            client,
            options.model,
            probes,
            prices=prices,
            max_usd=options.max_usd,
            concurrency=options.concurrency,
            journal=journal,
            on_graded=graded,
        )


@asynccontextmanager
async def _client(options: Options, settings: Settings | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway that was named, of the one that runs on these settings, or of one in this process."""
    key = os.environ.get(options.key_env)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=10)
    async with AsyncExitStack() as closing:
        transport: httpx.AsyncBaseTransport | None = None
        address = options.gateway.rstrip("/").removesuffix("/v1") if options.gateway else None
        if settings is not None and address is None:
            host = "127.0.0.1" if settings.server.host in ("0.0.0.0", "::") else settings.server.host  # noqa: S104
            address = f"http://{host}:{settings.server.port}"
            if not await _answers(address):
                from router.app import create_app

                typer.echo(f"no gateway answers at {address}: one starts in this process", err=True)
                app = create_app(settings)
                await closing.enter_async_context(app.router.lifespan_context(app))
                transport, address = httpx.ASGITransport(app), "http://router"
        yield await closing.enter_async_context(
            httpx.AsyncClient(base_url=address or "", headers=headers, timeout=timeout, transport=transport)
        )


async def _answers(address: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=1.0) as client:
            response = await client.get(f"{address}/healthz")
            return response.is_success
    except httpx.TransportError:
        return False


async def _rows(client: httpx.AsyncClient, model: str) -> int | None:
    """Outcomes in the model's context; None where the gateway does not say."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "How are you?"}]}
    try:
        response = await client.post("/v1/router/explain", json=body)
        candidates = response.raise_for_status().json()["candidates"]
        return next((row["rows"] for row in candidates if row["model"] == model), None)
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def _built_in(count: int) -> list[Probe]:
    """Tasks of our own, for a model whose own prompts are not at hand; growing `count` adds to the same ones."""
    from fleet.tasks import generate

    return [Probe(task.prompt, task.answer, task.verifier) for task in generate(count, 0, "profile")]


def _prices(settings: Settings | None, model: str) -> Prices | None:
    fleet = () if settings is None else settings.fleet
    return next((each.prices for each in fleet if each.name == model), None)


def _announce(options: Options, before: int, expected: Estimate) -> None:
    cost = "at unknown prices" if expected.cost_usd is None else f"about {_usd(expected.cost_usd)}"
    cap = "" if options.max_usd is None else f", at most ${options.max_usd:g}"
    if before:
        typer.echo(f"{before} probes were graded before; --fresh sends them again")
    typer.echo(
        f"{expected.probes} probes for {options.model}: about {expected.input_tokens:,} tokens in, "
        f"{expected.output_tokens:,} out, {cost}{cap}"
    )


def _tell(report: ProfileReport, options: Options) -> None:
    mean = "none graded" if report.mean_score is None else f"mean score {report.mean_score:.3f}"
    cost = "unknown cost" if report.cost_usd is None else _usd(report.cost_usd)
    typer.echo(
        f"{report.model}: {len(report.graded)} graded in {report.seconds:.1f} s "
        f"({len(report.resumed)} before), {mean}, {cost}"
    )
    if report.capped:
        typer.echo(f"the cap of ${options.max_usd:g} was reached with {report.left} probes left")
    for failure in report.failures[:SHOWN_FAILURES]:
        typer.echo(f"no grade for {failure.probe.digest}: {failure.reason}", err=True)
    if len(report.failures) > SHOWN_FAILURES:
        typer.echo(f"and {len(report.failures) - SHOWN_FAILURES} more without a grade", err=True)


def _usd(amount: float) -> str:
    return f"${amount:.4f}" if amount >= 0.01 else f"${amount:.6f}"
