"""
Malformed requests against a gateway in this process: `python -m tests.fuzz.running`, or `make fuzz`.

The value model and the upstreams are the tests' own and never fail, so that every 5xx is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import httpx

from fleet.model import Timeouts
from router.app import create_app
from router.config import Preset, ServerSettings, Settings, StoreSettings, ValueSettings
from router.failover import Retries
from router.store.keys import add_key
from tests.fuzz.bodies import REQUESTS
from tests.fuzz.mutation import mutated
from tests.fuzz.verdict import Complaints, wrong_with
from tests.router.fakes import FakeScorer, Says, Scripted, fleet_of, model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

EVERYTHING = frozenset({"tools", "vision", "audio", "json", "logprobs", "reasoning", "completions"})
PATIENCE_S = 30.0
SHOWN = 10


@dataclass
class Report:
    """What came of a run: how many were sent, their statuses, and what was wrong with the answers."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def build(folder: Path) -> FastAPI:
    """An app over a store in `folder`."""
    fleet = (
        model("strong", 10.0, abilities=EVERYTHING, regions=frozenset({"eu"})),
        model("weak", 1.0),
        model("small", 0.1, abilities=frozenset({"embeddings"})),
    )
    settings = Settings(
        fleet=fleet,
        beta=0.5,
        exploration=0.0,
        combine="separate",
        context_size=64,
        server=ServerSettings("127.0.0.1", 0, 1.0, None),
        store=StoreSettings(f"sqlite:///{folder}/router.db", False),
        value=ValueSettings(None, None, "cpu"),
        timeouts=Timeouts(),
        path=folder / "router.yaml",
        retries=Retries(rounds=0),
        presets={"auto-best": Preset(beta=1.0)},
    )
    upstream = Scripted({each.name: Says("it is four") for each in fleet})
    return create_app(settings, scorer=FakeScorer(), fleet=fleet_of(upstream, *fleet))


def keys_of(app: FastAPI) -> tuple[str, str]:
    """A caller's key and an admin's of a running app."""
    engine = app.state.services.engine
    _, caller = add_key(engine, "caller")
    _, boss = add_key(engine, "boss", admin=True)
    add_key(engine, "spare")
    return caller, boss


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str, str]]:
    """The app for HTTP without sockets: the client, a caller's key and an admin's."""
    app = build(folder)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=PATIENCE_S) as http,
    ):
        yield http, *keys_of(app)


async def fuzz(count: int, seed: int, folder: Path) -> Report:
    """Send `count` malformed requests, of every endpoint in turn."""
    report, complaints = Report(), Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        async with gateway(folder) as (http, caller, boss):
            for number, valid in zip(range(count), itertools.cycle(REQUESTS), strict=False):
                sent = mutated(valid, Random(f"{seed}/{number}"))
                key = boss if sent.admin else caller
                headers = {
                    "authorization": f"Bearer {key}",
                    "content-type": "application/json",
                    **sent.headers,
                }
                before = len(complaints.heard)
                try:
                    raw = [(name, value.encode("latin-1")) for name, value in headers.items()]
                    request = http.build_request(sent.method, sent.path, content=sent.body, headers=raw)
                    reply = await asyncio.wait_for(http.send(request), PATIENCE_S)
                    wrong = wrong_with(sent.path, reply.status_code, reply.headers, reply.text)
                    report.statuses[reply.status_code] += 1
                except Exception as error:
                    wrong = f"no answer: {error!r}"
                if wrong is None and len(complaints.heard) > before:
                    wrong = f"the log says {complaints.heard[-1]}"
                if wrong is not None:
                    report.faults.append(f"number {number} of seed {seed}: {wrong}\n  {sent}")
                report.sent += 1
    finally:
        logging.getLogger().removeHandler(complaints)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(fuzz(given.count, given.seed, Path(folder)))
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(report.statuses.items()))
    print(f"{report.sent} malformed requests in {time.monotonic() - began:.0f} s; statuses {statuses}")
    print(f"{len(report.faults)} faults")
    for fault in report.faults[:SHOWN]:
        print(fault)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
