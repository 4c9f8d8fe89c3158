"""The mock upstream as a process: its start, and what it has been asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.load import gateways
from benchmarks.load.drive import Plan, body

if TYPE_CHECKING:
    from benchmarks.load.gateways import Child, Children
    from benchmarks.load.settings import Settings

PATIENCE_S = 30.0


async def start_mock(chosen: Settings, children: Children) -> tuple[Child, str]:
    """The mock, and the address that gateways append "/chat/completions" to."""
    port = chosen.mock_port or gateways.free_port()
    pace = chosen.upstream
    words = [sys.executable, "-m", "benchmarks.load.mock", "--port", str(port)]
    words += ["--tokens", str(pace.tokens), "--first-byte-ms", str(pace.first_byte_ms)]
    words += ["--chunk-ms", str(pace.chunk_ms)]
    mock = await children.start("the mock upstream", words, {})
    address = f"http://127.0.0.1:{port}/v1"
    first = gateways.Ask(body(Plan("", "mock"), 0), None)
    await gateways.first_answer(f"{address}/chat/completions", first, PATIENCE_S, mock)
    return mock, address


async def chats(upstream: str) -> int:
    """How many chats the mock has answered so far."""
    async with aiohttp.ClientSession() as client, client.get(f"{upstream}/stats") as reply:
        return int((await reply.json())["chats"])
