"""What processes use: CPU seconds and resident memory of a whole tree, and how busy the machine is.

Read from Linux's /proc, in ticks of 10 ms. Elsewhere `SUPPORTED` is False and nothing here may be called.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROC = Path("/proc")
SUPPORTED = (PROC / "self" / "stat").exists() and (PROC / "stat").exists()
MIB = 2**20


@dataclass(frozen=True)
class _Stat:
    """One process of /proc; CPU seconds of itself and of its children that have ended."""

    pid: int
    parent: int
    session: int
    cpu_s: float


class Neighbours:
    """How much processes outside of some trees use, from now on."""

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = tuple(roots)
        self._started = time.perf_counter()
        self._before = self._outside()

    def cores(self) -> float:
        """The cores that they have kept busy since then, on average."""
        return max(0.0, self._outside() - self._before) / (time.perf_counter() - self._started)

    def _outside(self) -> float:
        ours = set[int]().union(*(tree(root) for root in self._roots))
        return busy_seconds() - cpu_seconds(ours)


def can_pin() -> bool:
    """Whether processes can be kept to cores, and there is one for gateways and another for the rest."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


@contextlib.contextmanager
def kept_to_others() -> Iterator[frozenset[int]]:
    """Keep this process, and what it starts, off the last core, which is yielded; as before in the end."""
    before = os.sched_getaffinity(0)
    last = max(before)
    os.sched_setaffinity(0, before - {last})
    try:
        yield frozenset({last})
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> set[int]:
    """The living processes that came of `pid`, itself among them: its descendants and the session it leads."""
    every = list(_processes())
    found = {each.pid for each in every if pid in (each.pid, each.session)}
    while True:
        more = {each.pid for each in every if each.parent in found} - found
        if not more:
            return found
        found |= more


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes have used so far, and their children that have ended."""
    return sum(stat.cpu_s for pid in pids if (stat := _stat(pid)) is not None)


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory, MiB; a page that several of them share counts for each."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def busy_seconds() -> float:
    """CPU seconds that the machine has spent on anything at all, what a hypervisor withheld included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[_Stat]:
    for name in os.listdir(PROC):
        if name.isdigit() and (stat := _stat(int(name))) is not None:
            yield stat


def _stat(pid: int) -> _Stat | None:
    """None where the process has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything; fields[0] is the third
    ticks = sum(map(int, fields[11:15]))  # user and system, its own and its ended children's
    return _Stat(pid, int(fields[1]), int(fields[3]), ticks / os.sysconf("SC_CLK_TCK"))
