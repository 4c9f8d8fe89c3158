"""router.yaml and its prices while the gateway runs: a good edit takes effect, a bad one is reported, nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watchfiles import awatch

from router.config import ConfigError, load
from router.logs import place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.config import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY_MS = 2000  # besides being told: some file systems and mounts tell nothing


@dataclass
class Reloads:
    """How the files were found at the last look: since when these settings are in force, and what is wrong since."""

    loaded_at: float = field(default_factory=time.time)  # Unix seconds
    taken: int = 0
    refused: int = 0
    problems: tuple[str, ...] = ()


async def watch(
    settings: Settings, apply: Callable[[Settings], None], reloads: Reloads | None = None
) -> None:
    """
    Follow the files that `settings` came from until cancelled; `apply` gets each new valid content.

    It is all or nothing: where anything is wrong, or `apply` raises, the settings before stay.
    """
    reloads = Reloads() if reloads is None else reloads
    seen = await asyncio.to_thread(_read_all, settings)
    while True:
        # Directories are watched, not files: editors and mounted volumes replace a file by renaming.
        folders = {file.parent for file in _files(settings)}
        async for _ in awatch(
            *folders,
            recursive=False,
            yield_on_timeout=True,
            rust_timeout=LOOK_EVERY_MS,
            ignore_permission_denied=True,
        ):
            content = await asyncio.to_thread(_read_all, settings)
            if content is None or content == seen:
                continue
            seen = content
            new = await _take(settings, apply, reloads)
            if new is None:
                continue
            # What was seen is what was there before loading, lest an edit meanwhile go unnoticed; of other files
            # nothing was seen.
            seen = seen if _files(new) == _files(settings) else None
            settings = new
            if {file.parent for file in _files(new)} != folders:
                break


async def _take(settings: Settings, apply: Callable[[Settings], None], reloads: Reloads) -> Settings | None:
    """Load and apply what the files say now; None after reporting why not."""
    name = settings.path.name
    try:
        new = await asyncio.to_thread(load, settings.path)
        apply(new)
    except ConfigError as error:
        reloads.problems = tuple(map(str, error.problems))
        for problem in error.problems:
            logger.error("%s", problem)
    except Exception as error:  # a bug of ours must not end the watch, nor half of a file take effect
        reloads.problems = (f"could not be applied: {place(error)}",)
        logger.error("%s could not be applied: %s", name, place(error))
    else:
        for each in _needing_restart(settings, new):
            logger.warning("%s: %s takes effect after a restart", name, each)
        reloads.loaded_at, reloads.problems = time.time(), ()
        reloads.taken += 1
        logger.info("%s reloaded: %d models", name, len(new.fleet))
        return new
    reloads.refused += 1
    logger.error("%s was not reloaded; the settings before it stay", name)
    return None


def _files(settings: Settings) -> tuple[Path, ...]:
    return (settings.path,) if settings.prices is None else (settings.path, settings.prices)


def _read_all(settings: Settings) -> tuple[bytes, ...] | None:
    """The files' content; None while one is being replaced."""
    try:
        return tuple(file.read_bytes() for file in _files(settings))
    except OSError:
        return None


def _needing_restart(old: Settings, new: Settings) -> list[str]:
    """The settings that changed and are read only when the process starts."""
    read_once = {
        "server.host": (old.server.host, new.server.host),
        "server.port": (old.server.port, new.server.port),
        "server.cors_origins": (old.server.cors_origins, new.server.cors_origins),
        "store.url": (old.store.url, new.store.url),
        "value": (old.value, new.value),
    }
    return [name for name, (before, after) in read_once.items() if before != after]
