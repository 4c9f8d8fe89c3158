"""Our own gateway as `router-bench load` measures it: `router serve` over a small fleet that the mock plays."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.load.drive import Plan, prompt
from benchmarks.load.gateways import CHAT, GatewayFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRICES = {  # USD per million tokens: input, output
    "tiny": (0.05, 0.20),
    "small": (0.15, 0.60),
    "middle": (0.50, 2.00),
    "large": (1.50, 6.00),
    "huge": (5.00, 20.00),
}
NAMED = "tiny"  # what a start is asked for: `auto` waits for V0, which `ready` tells of
AT_ONCE = 8
SEED = 0  # no round has it
FEEDBACK, EXPLAIN, READY = "/v1/feedback", "/v1/router/explain", "/readyz"
READY_EVERY_S = 0.02


@dataclass(frozen=True)
class _Verdict:
    """One outcome to be: a model, a prompt, and how good the answer is said to be."""

    model: str
    prompt: str
    score: int


def write_settings(folder: Path, upstream: str, context_size: int, *, without: bool = False) -> Path:
    """The router.yaml of a fleet that lives at `upstream`, `without` V0; its database will lie beside it."""
    fleet = [
        {
            "name": name,
            "target": f"custom_openai/{name}",
            "api_base": upstream,
            "prices": {"input": price[0], "output": price[1]},
        }
        for name, price in PRICES.items()
    ]
    settings: dict[str, object] = {"fleet": fleet, "beta": 0.8, "context_size": max(1024, context_size)}
    if without:
        settings["value"] = {"head": "none"}
    path = folder / "router.yaml"
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")  # JSON is YAML
    return path


def words(config: Path) -> list[str]:
    """The command that serves it."""
    return [sys.executable, "-m", "router", "serve", "--config", str(config), "--port", "{port}"]


async def fill_contexts(address: str, rows: int, on_progress: Callable[[int], None]) -> None:
    """
    Give each model a context of `rows` outcomes, as any client would: a chat, then feedback on it.

    The scores are drawn at random, since what a context says does not change the work of reading it. Raises
    `GatewayFailed` where the gateway refuses, or does not know them in the end.
    """
    to_do = _verdicts(rows)
    done = 0

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal done
        for verdict in to_do:
            chat = {"model": verdict.model, "messages": [{"role": "user", "content": verdict.prompt}]}
            async with session.post(CHAT, json=chat) as reply:
                await reply.read()
                _check(reply, "a chat")
                decision = reply.headers["x-router-decision"]
            async with session.post(
                FEEDBACK, json={"decision_id": decision, "score": verdict.score}
            ) as reply:
                _check(reply, "feedback")
            done += 1
            on_progress(done)

    async with aiohttp.ClientSession(address) as session:
        await asyncio.gather(*(client(session) for _ in range(AT_ONCE)))


async def ready(address: str, patience_s: float) -> None:
    """Return once V0 is loaded. Raises `GatewayFailed`."""
    async with aiohttp.ClientSession(address) as session:
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    async with session.get(READY) as reply:
                        if reply.status == 200:
                            return
                    await asyncio.sleep(READY_EVERY_S)
        except TimeoutError:
            raise GatewayFailed(f"V0 was not loaded within {patience_s:g} s") from None


async def context_rows(address: str) -> int:
    """The fewest outcomes that any model's context holds now."""
    question = {"model": "auto", "messages": [{"role": "user", "content": "How much do you know?"}]}
    async with aiohttp.ClientSession(address) as session, session.post(EXPLAIN, json=question) as reply:
        _check(reply, "explain")
        return min(int(each["rows"] or 0) for each in (await reply.json())["candidates"])


def _verdicts(rows: int) -> Iterator[_Verdict]:
    chance, plan = random.Random(SEED), Plan(url="", model="", seed=SEED)
    for number in range(rows):
        text = prompt(plan, number)
        for model in PRICES:
            yield _Verdict(model, text, chance.randrange(2))


def _check(reply: aiohttp.ClientResponse, what: str) -> None:
    if reply.status != 200:
        raise GatewayFailed(
            f"the gateway refused {what} with status {reply.status} while its contexts were filled"
        )
