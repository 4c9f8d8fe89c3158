"""Gateways as processes: started by a command, timed until they answer, and ended with all that came of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson

from benchmarks.load.leash import Leash, end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACEHOLDERS = ("port", "upstream", "model", "key")
VARIABLE = "ROUTER_BENCH_{}"  # the same as environment variables, in capitals
CHAT = "/v1/chat/completions"
ASK_EVERY_S = 0.02
ENDS_WITHIN_S = 15.0
REFUSED_FOR_S = 5.0  # how long a gateway may refuse what it should take before it is believed
REFUSALS = (400, 401, 403, 404, 405, 415, 422)
LAST_LINES = 20
LONGEST_LINE = 2**27  # a load's figures come as one


class GatewayFailed(Exception):  # noqa: N818
    """A gateway that does not start, or does not answer. The message says why, with what it printed last."""


@dataclass(frozen=True)
class Command:
    """How a gateway is started: words with {placeholders}, of which `values` knows all but the port."""

    name: str
    words: Sequence[str]
    values: Mapping[str, str]
    cores: frozenset[int] | None = None  # which it is kept to

    def at(self, port: int) -> tuple[list[str], dict[str, str]]:
        """The words and the environment variables for a port. Raises `ValueError` for an unknown placeholder."""
        values = {**self.values, "port": str(port)}
        return expand(self.words, values), {
            VARIABLE.format(name.upper()): value for name, value in values.items()
        }


@dataclass(frozen=True)
class Ask:
    """What a gateway must answer with 200 to count as started."""

    body: bytes
    key: str | None


class Child:
    """A process that we started, in a session of its own; what it prints goes to a file."""

    def __init__(self, name: str, running: asyncio.subprocess.Process, printed: Path, leash: Leash) -> None:
        self.name = name
        self.pid = running.pid
        self.running = running
        self._printed = printed
        self._leash = leash
        self._gone = False
        leash.hold(self.pid)

    @property
    def ended(self) -> str | None:
        """How it ended; None while it runs."""
        status = self.running.returncode
        if status is None:
            return None
        return f"ended with exit status {status}" if status >= 0 else f"was ended by signal {-status}"

    def failure(self, what: str) -> GatewayFailed:
        """What it did, and the last lines that it printed."""
        lines = self._printed.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        said = "\n".join(f"  {line}" for line in lines) if lines else "  (it printed nothing)"
        return GatewayFailed(f"{self.name} {what}; its last lines:\n{said}")

    async def stop(self) -> None:
        """Ask it to end, and after some seconds no longer ask; gone with everything that came of it."""
        try:
            if self.running.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ENDS_WITHIN_S):
                        await self.running.wait()
        finally:
            self.kill()
        await self.running.wait()

    def kill(self) -> None:
        """End whatever is left of it, at once. Once only: its number may then be another's."""
        if not self._gone:
            end(self.pid)
            self._leash.release(self.pid)
            self._gone = True


class Children:
    """Everything that was started, so that nothing stays behind whatever happens, to us too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leash = Leash()
        self._started: list[Child] = []

    async def start(
        self, name: str, words: Sequence[str], variables: Mapping[str, str], *, piped: bool = False
    ) -> Child:
        """Start a process; `piped` to talk with it. Raises `GatewayFailed` where there is no such program."""
        printed = self._folder / f"printed-{len(self._started)}.txt"
        try:
            with printed.open("wb") as file:
                running = await asyncio.create_subprocess_exec(
                    *words,
                    stdin=asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE if piped else file,
                    stderr=file,
                    limit=LONGEST_LINE,
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
        except OSError as error:
            raise GatewayFailed(f"{name} cannot be started: {words[0]}: {error.strerror}") from None
        child = Child(name, running, printed, self._leash)
        self._started.append(child)
        return child

    def kill(self) -> None:
        """End what still runs, at once."""
        for child in self._started:
            child.kill()
        self._leash.let_go()


def expand(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words with their {placeholders} filled in. Raises `ValueError` for one that is unknown."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise ValueError(f"unknown placeholder {{{name}}}; known are {known}")
        return values[name]

    return [re.sub(r"\{([a-z_]+)\}", value, word) for word in words]


def split(command: str) -> list[str]:
    """A command line's words. Raises `ValueError` for one that a shell would not take either."""
    words = shlex.split(command)
    if not words:
        raise ValueError("an empty command")
    expand(words, dict.fromkeys(PLACEHOLDERS, ""))
    return words


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


async def start(
    children: Children, command: Command, ask: Ask, patience_s: float
) -> tuple[Child, str, float]:
    """Start a gateway: it, its address, and the seconds from its start to its first 200. Raises `GatewayFailed`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    words, variables = command.at(port)
    started = time.perf_counter()
    child = await children.start(command.name, words, variables)
    if command.cores is not None:
        os.sched_setaffinity(child.pid, command.cores)
    try:
        await first_answer(address + CHAT, ask, patience_s, child)
    except BaseException:
        await child.stop()
        raise
    return child, address, time.perf_counter() - started


async def first_answer(url: str, ask: Ask, patience_s: float, child: Child | None = None) -> None:
    """Ask until the answer is a 200. Raises `GatewayFailed` when the process ends, refuses or takes too long."""
    started = time.perf_counter()
    refused_since: float | None = None
    last = "nothing listened"

    def failed(what: str) -> GatewayFailed:
        return child.failure(what) if child is not None else GatewayFailed(f"{url} {what}")

    headers = {"content-type": "application/json"} | (
        {"authorization": f"Bearer {ask.key}"} if ask.key else {}
    )
    async with aiohttp.ClientSession(headers=headers) as client:
        while (passed := time.perf_counter() - started) < patience_s:
            if child is not None and child.ended:
                raise child.failure(f"{child.ended} before it answered")
            try:
                left = aiohttp.ClientTimeout(total=patience_s - passed)
                async with client.post(url, data=ask.body, timeout=left) as reply:
                    said = await reply.read()
            except aiohttp.ClientConnectorError:
                refused_since = None
            except (aiohttp.ClientError, OSError) as error:
                last, refused_since = type(error).__name__, None
            else:
                if reply.status == 200:
                    return
                last = f"status {reply.status}{_message(said)}"
                if reply.status in REFUSALS:
                    refused_since = time.perf_counter() if refused_since is None else refused_since
                    if time.perf_counter() - refused_since > REFUSED_FOR_S:
                        raise failed(f"refuses a chat: {last}")
            await asyncio.sleep(ASK_EVERY_S)
    raise failed(f"did not answer a chat within {patience_s:g} s: {last}")


def _message(said: bytes) -> str:
    """An OpenAI error's message, if that is what it is."""
    try:
        return f", {str(orjson.loads(said)['error']['message'])[:200]}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
