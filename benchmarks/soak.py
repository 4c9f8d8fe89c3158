"""A gateway under load for long, with faults of every kind (`router-bench soak`): leaks, lost outcomes, wrong costs.

A real gateway with a key, before a provider whose faults and usage are known (`load/faulty.py`). Clients ask for `auto`
and for named models, streamed or not, leave in the middle, send nonsense, and give feedback. In the end the store is
opened: every decision that a client was told of and every acknowledged outcome must be in it, once; every cost, there,
in the client's reply and in the key's spending, must be what the upstream's own count makes of it.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from benchmarks.load import processes
from benchmarks.load.drive import WORDS
from benchmarks.load.faulty import counted, read_identity
from benchmarks.load.gateways import CHAT, Children, free_port
from router.heap import EVERY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

PRICES = {  # USD per million tokens: input, cached input, output
    "a": (0.1, 0.025, 0.4),
    "b": (1.0, 0.1, 3.0),
    "c": (5.0, 2.5, 15.0),
}
PROMPTS = 400  # distinct ones
MIX = {"auto": 45, "a": 20, "b": 15, "c": 15, "nonsense": 5}
STREAMED, LEFT, SCORED = 0.4, 0.03, 0.05  # shares: of all, of streams, of replies
CLIENTS = 16
SAMPLE_S = 2.0
LOOKS = round(EVERY_S / SAMPLE_S) + 1  # in which the heap gives back once
LEAST_FLOORS = 3
READY_WITHIN_S = 120.0
EXACT = 1e-9  # relative: what floating point may do to a sum of three products
ENDS_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LEAK_MIB = 3.0  # for 100,000 requests, in the second half
JUDGED_FROM = 100_000  # requests: before that, caches still fill


@dataclass
class Soak:
    """What came of it. `problems` is empty where all is well; `told` and `acknowledged` are decision ids."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    left: int = 0
    cut: int = 0
    costs_checked: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    told: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    memory: list[tuple[int, float]] = field(default_factory=list)  # requests so far, MiB
    elapsed_s: float = 0.0
    stored: dict[str, Any] = field(default_factory=dict)

    def slope(self) -> float | None:
        """
        MiB for 100,000 requests in the second half, by least squares; None of too little.

        Every minute the gateway's heap gives its free pages back: of every minute's looks the least counts.
        """
        looks = range(0, len(self.memory), LOOKS)
        floors = [min(self.memory[at : at + LOOKS], key=itemgetter(1)) for at in looks]
        half = [(n, mib) for n, mib in floors if n >= self.requests / 2]
        if len(half) < LEAST_FLOORS:
            return None
        mean_n, mean_mib = (sum(each) / len(half) for each in zip(*half, strict=True))
        spread = sum((n - mean_n) ** 2 for n, _ in half)
        return 1e5 * sum((n - mean_n) * (mib - mean_mib) for n, mib in half) / spread if spread else None

    def summary(self) -> dict[str, Any]:
        """Everything but the ids, as JSON."""
        return {
            "requests": self.requests,
            "elapsed_s": round(self.elapsed_s, 1),
            "statuses": dict(sorted(self.statuses.items())),
            "left": self.left,
            "cut": self.cut,
            "told": len(self.told),
            "acknowledged": len(self.acknowledged),
            "costs_checked": self.costs_checked,
            "stored": self.stored,
            "slope_mib_per_100k": self.slope(),
            "first_mib": self.memory[0][1] if self.memory else None,
            "last_mib": self.memory[-1][1] if self.memory else None,
            "problems": dict(self.problems),
            "memory": self.memory[:: max(1, len(self.memory) // 200)],
        }


def expected_usd(completion_id: str) -> float:
    """What an answer costs, by the upstream's own count."""
    model, number = read_identity(completion_id)
    full, cached, written = PRICES[model]
    tokens = counted(number)
    return (
        (tokens.prompt - tokens.cached) * full + tokens.cached * cached + tokens.completion * written
    ) / 1e6


class Clients:
    """Those who ask, and what they have seen."""

    def __init__(
        self, address: str, key: str, requests: int, seed: int, report: Callable[[int], None]
    ) -> None:
        self.found = Soak()
        self._address = address
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._requests = requests
        self._seed = seed
        self._report = report

    async def run(self, pid: int) -> None:
        """Ask until all requests are made; sample the memory of the gateway's processes meanwhile."""
        numbers, started = iter(range(self._requests)), time.monotonic()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            self._address,
            headers=self._headers,
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=120),
        ) as http:
            sampling = asyncio.create_task(self._sample(pid))
            try:
                await asyncio.gather(*(self._client(http, numbers) for _ in range(CLIENTS)))
            finally:
                sampling.cancel()
                self.found.elapsed_s = time.monotonic() - started

    async def _sample(self, pid: int) -> None:
        while processes.SUPPORTED:
            self.found.memory.append((self.found.requests, processes.resident_mib(processes.tree(pid))))
            self._report(self.found.requests)
            await asyncio.sleep(SAMPLE_S)

    async def _client(self, http: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:
            chance = random.Random(f"{self._seed} {number}")
            try:
                decision = await self._ask(http, chance)
                if decision is not None and chance.random() < SCORED:
                    await self._score(http, decision, chance)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.found.problems[f"the gateway broke off: {type(error).__name__}"] += 1
            self.found.requests += 1

    async def _ask(self, http: aiohttp.ClientSession, chance: random.Random) -> str | None:
        """One chat: the decision of a reply that came whole."""
        model = chance.choices(list(MIX), list(MIX.values()))[0]
        if model == "nonsense":
            await self._nonsense(http, chance)
            return None
        stream = chance.random() < STREAMED
        text = " ".join(random.Random(chance.randrange(PROMPTS)).choices(WORDS, k=30))
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        leaves = stream and chance.random() < LEFT
        async with http.post(CHAT, data=orjson.dumps(body)) as reply:
            self.found.statuses[str(reply.status)] += 1
            decision = reply.headers.get("x-router-decision")
            if decision is not None:
                if decision in self.found.told:
                    self.found.problems["a decision was told of twice"] += 1
                self.found.told.add(decision)
            if leaves:
                await reply.content.readany()
                reply.close()
                self.found.left += 1
                return None
            said = await reply.read()
            if reply.status != 200:
                self._check_error(said)
                return None
            return decision if self._check(said, stream, reply.headers) else None

    async def _nonsense(self, http: aiohttp.ClientSession, chance: random.Random) -> None:
        wrong = chance.choice([b"{", b"[]", b'{"model": "auto"}', b'{"model": "nobody", "messages": [{}]}'])
        async with http.post(CHAT, data=wrong) as reply:
            self.found.statuses[str(reply.status)] += 1
            if not 400 <= reply.status < 500:
                self.found.problems[f"nonsense was answered with {reply.status}"] += 1
            self._check_error(await reply.read())

    def _check_error(self, said: bytes) -> None:
        try:
            if orjson.loads(said)["error"]["message"]:
                return
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
        self.found.problems["an error without its envelope"] += 1

    def _check(self, said: bytes, stream: bool, headers: Any) -> bool:
        """Whether a reply is whole; its cost is compared with the upstream's count."""
        if stream:
            events = [
                part.removeprefix(b"data: ") for part in said.split(b"\n\n") if part.startswith(b"data: ")
            ]
            if not events or events[-1] != b"[DONE]":
                self.found.cut += 1
                if b'"error"' not in (events[-1] if events else b""):
                    self.found.problems["a cut stream without an error event"] += 1
                return False
            last = orjson.loads(events[-2])
            cost, estimated = last["usage"].get("cost_usd"), last["usage"].get("estimated", False)
        else:
            last = orjson.loads(said)
            cost = float(headers["x-router-cost-usd"])
            estimated = headers.get("x-router-cost-estimated") == "true"
        if not estimated:
            self.found.costs_checked += 1
            if not math.isclose(cost, expected_usd(last["id"]), rel_tol=EXACT):
                self.found.problems["a client was told a wrong cost"] += 1
        return True

    async def _score(self, http: aiohttp.ClientSession, decision: str, chance: random.Random) -> None:
        told = orjson.dumps({"decision_id": decision, "score": chance.randrange(2)})
        async with http.post("/v1/feedback", data=told) as reply:
            await reply.read()
            self.found.statuses[f"feedback {reply.status}"] += 1
            if reply.status == 200:
                self.found.acknowledged.add(decision)


def look(database: Path, found: Soak) -> None:
    """Open the store and enter what is missing or wrong, and what there is."""
    from sqlalchemy import text

    from router.store.engine import open_store

    engine = open_store(f"sqlite:///{database}")
    try:
        with engine.connect() as connection:
            found.stored = _stored(connection, found)
            if connection.scalar(text("PRAGMA integrity_check")) != "ok":
                found.problems["the database is damaged"] += 1
    finally:
        engine.dispose()


def _stored(connection: Connection, found: Soak) -> dict[str, Any]:
    from sqlalchemy import func, select

    from router.store.tables import decisions, outcomes, spending

    columns = (decisions.c.id, decisions.c.completion_id, decisions.c.cost_usd, decisions.c.usage_estimated)
    missing, rows, checked, total = set(found.told), 0, 0, 0.0
    for row in connection.execute(select(*columns, decisions.c.status)).yield_per(10_000):
        rows += 1
        missing.discard(row.id)
        total += row.cost_usd or 0.0
        if row.status == 200 and not row.usage_estimated:
            checked += 1
            if not math.isclose(row.cost_usd, expected_usd(row.completion_id), rel_tol=EXACT):
                found.problems["a wrong cost in the log of decisions"] += 1
    if missing:
        found.problems["decisions that clients were told of are not in the store"] += len(missing)
    scored = set(connection.scalars(select(outcomes.c.decision_id)))
    lost = found.acknowledged - scored
    if lost:
        found.problems["acknowledged outcomes are not in the store"] += len(lost)
    spent = connection.scalar(select(func.sum(spending.c.cost_usd))) or 0.0
    if not math.isclose(spent, total, rel_tol=1e-6):
        found.problems["the key's spending is not the sum of its decisions"] += 1
    return {
        "decisions": rows,
        "costs_checked": checked,
        "outcomes": len(scored),
        "cost_usd": total,
        "spending_usd": spent,
    }


def write_settings(folder: Path, upstream: str) -> Path:
    """The router.yaml of the soak; its database will lie beside it."""
    fleet = [
        {
            "name": name,
            "target": f"custom_openai/{name}",
            "api_base": upstream,
            "prices": {"input": full, "cached_input": cached, "output": written},
        }
        for name, (full, cached, written) in PRICES.items()
    ]
    settings = {
        "fleet": fleet,
        "beta": 0.5,
        "exploration": 0.2,
        "context_size": 256,
        "retries": {"rounds": 1, "pause_s": 0.02, "longest_pause_s": 0.2},
        "breaker": {"failures": 5, "rest_s": 0.5, "longest_rest_s": 2},
    }
    path = folder / "router.yaml"
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")  # JSON is YAML
    return path


async def soak(requests: int, seed: int, folder: Path, report: Callable[[int], None]) -> Soak:
    """The whole of it: start, ask, stop, look. An interruption ends the asking, and the rest is done."""
    children = Children(folder)
    try:
        port = free_port()
        words = [sys.executable, "-m", "benchmarks.load.faulty", "--port", str(port)]
        upstream = await children.start("the upstream", words, {})
        address = f"http://127.0.0.1:{port}/v1"
        config = write_settings(folder, address)
        key = await _key(config)
        port = free_port()
        serve = [sys.executable, "-m", "router", "serve", "--config", str(config), "--port", str(port)]
        gateway = await children.start("the gateway", serve, {})
        clients = Clients(f"http://127.0.0.1:{port}", key, requests, seed, report)
        await _ready(f"http://127.0.0.1:{port}")
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        for number in ENDS_ASKING:
            loop.add_signal_handler(number, task.cancel)
        try:
            await clients.run(gateway.pid)
        except asyncio.CancelledError:
            task.uncancel()
        for number in ENDS_ASKING:
            loop.remove_signal_handler(number)
        if gateway.ended:
            clients.found.problems[f"the gateway {gateway.ended}"] += 1
        await gateway.stop()
        clients.found.stored["upstream"] = await _stats(address)
        await upstream.stop()
    finally:
        children.kill()
    told = clients.found.stored
    await asyncio.to_thread(look, folder / "router.db", clients.found)
    clients.found.stored |= told
    return clients.found


async def _key(config: Path) -> str:
    words = [sys.executable, "-m", "router", "keys", "create", "soak", "--config", str(config)]
    made = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said = (await made.communicate())[0].decode()
    return next(word for word in said.split() if word.startswith("sk-"))


async def _ready(address: str) -> None:
    async with aiohttp.ClientSession(address) as http, asyncio.timeout(READY_WITHIN_S):
        while True:
            try:
                async with http.get("/readyz") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def _stats(address: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{address}/stats") as reply:
        found: dict[str, Any] = await reply.json()
        return found


def run(requests: int, seed: int, out: Path | None) -> bool:
    """Soak, print, write; whether all is well."""
    from rich.console import Console

    console = Console(stderr=True)
    seen = 0

    def report(done: int) -> None:
        nonlocal seen
        if done - seen >= max(1000, requests // 100):
            seen = done
            console.print(f"{done:,} of {requests:,}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="router-soak-") as folder:
        found = asyncio.run(soak(requests, seed, Path(folder), report))
    slope = found.slope()
    if slope is not None and slope > LEAK_MIB and found.requests >= JUDGED_FROM:
        found.problems[f"memory grows by {slope:.1f} MiB for 100,000 requests"] += 1
    summary = found.summary()
    if out is not None:
        out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    del summary["memory"]
    Console().print_json(json.dumps(summary))
    return not found.problems
