"""kill -9 under load: is every acknowledged outcome found again? (`router-bench crash`)

A real gateway in a process of its own, clients that ask and send feedback as fast as they can, and SIGKILL in the
middle of it. What the clients had a 200 for must be in the store when it is opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.load.gateways import free_port

FLEET = """\
fleet:
  - {name: tally, target: replay/tally, prices: {input: 0.05, output: 0.20}}
  - {name: sage, target: replay/sage, prices: {input: 5.00, output: 20.00}}
"""
START_WITHIN_S = 60.0


@dataclass(frozen=True)
class Crash:
    """Feedbacks that clients had an acknowledgement for when the gateway died, and how many of them were found."""

    acknowledged: int
    found: int
    stored: int  # outcomes in the store: those and any that were committed but not yet acknowledged
    integrity: str  # SQLite's own verdict on the file


async def crash(after_s: float, clients: int = 16, folder: Path | None = None) -> Crash:
    """Run a gateway under load, kill it after `after_s` seconds of load, and look for the outcomes."""
    with tempfile.TemporaryDirectory() as temporary:
        home = folder or Path(temporary)
        (home / "router.yaml").write_text(FLEET, encoding="utf-8")
        port = free_port()
        serve = ["-m", "router", "serve", "--config", str(home / "router.yaml"), "--port", str(port)]
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, *serve, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        acknowledged: list[str] = []
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                await _ready(client)
                load = [asyncio.create_task(_load(client, i, acknowledged)) for i in range(clients)]
                await asyncio.sleep(after_s)
                gateway.send_signal(signal.SIGKILL)
                await gateway.wait()
                await asyncio.wait(load, timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                gateway.kill()
            await gateway.wait()
        return _look(home / "router.db", acknowledged)


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_WITHIN_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.2)


async def _load(client: httpx.AsyncClient, number: int, acknowledged: list[str]) -> None:
    """Ask and send feedback until the gateway is gone."""
    model = ("tally", "sage", "auto")[number % 3]
    turn = 0
    with contextlib.suppress(httpx.TransportError):
        while True:
            turn += 1
            ask = {
                "model": model,
                "messages": [{"role": "user", "content": f"What is {number} + {turn % 50}?"}],
            }
            reply = await client.post("/v1/chat/completions", json=ask)
            decision = reply.headers["x-router-decision"]
            sent = await client.post("/v1/feedback", json={"decision_id": decision, "score": turn % 2})
            if sent.status_code == 200:
                acknowledged.append(decision)


def _look(database: Path, acknowledged: list[str]) -> Crash:
    from sqlalchemy import select, text

    from router.store.engine import open_store
    from router.store.tables import outcomes

    engine = open_store(f"sqlite:///{database}")
    try:
        with engine.connect() as connection:
            stored = set(connection.scalars(select(outcomes.c.decision_id)))
            integrity = str(connection.scalar(text("PRAGMA integrity_check")))
    finally:
        engine.dispose()
    return Crash(len(acknowledged), len(set(acknowledged) & stored), len(stored), integrity)


def run(kills: int, after_s: float) -> None:
    """Crash `kills` gateways one after another and print what was found."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="kill -9 under load")
    for column in ("kill", "acknowledged", "found", "stored", "integrity"):
        table.add_column(column, justify="right")
    for number in range(1, kills + 1):
        found = asyncio.run(crash(after_s + 0.37 * number))
        table.add_row(
            str(number), str(found.acknowledged), str(found.found), str(found.stored), found.integrity
        )
    Console().print(table)
