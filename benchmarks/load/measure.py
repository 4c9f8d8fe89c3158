"""One whole measurement.

The mock upstream, the gateways and the generator of the load are processes of their own. Each round drives the mock
alone, then each gateway before it, so that what else the machine does meets all of them alike.
"""

from __future__ import annotations

import os
import platform
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.load import processes
from benchmarks.load.report import LoadReport
from benchmarks.load.rounds import Rounds
from benchmarks.load.starting import Starting
from benchmarks.load.upstream import start_mock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.load.gateways import Children
    from benchmarks.load.settings import Settings

    OnProgress = Callable[[str, float], None]  # what is done now, and the share of the whole that is done

PACKAGES = ("v0-router", "uvicorn", "httpx", "torch", "aiohttp")


async def measure(chosen: Settings, folder: Path, children: Children, on_progress: OnProgress) -> LoadReport:
    """Start everything, drive it round by round, sum up, and end everything. Raises `GatewayFailed`."""
    async with AsyncExitStack() as ending:
        cores = ending.enter_context(processes.kept_to_others()) if chosen.pin else None
        mock, upstream = await start_mock(chosen, children)
        ending.push_async_callback(mock.stop)
        started = []
        for target in chosen.targets:
            starting = Starting(chosen, target, folder, children, upstream, on_progress, cores)
            each = await starting.start()
            if each.child is not None:
                ending.push_async_callback(each.child.stop)
            started.append(each)
        driving = Rounds(chosen, children, mock, upstream, on_progress)
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
