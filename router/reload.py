"""router.yaml while the gateway runs: a good edit takes effect, a bad one is reported and changes nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from watchfiles import awatch

from router.config import ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.config import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY_MS = 2000  # besides being told: some file systems and mounts tell nothing


async def watch(settings: Settings, apply: Callable[[Settings], None]) -> None:
    """Follow the file that `settings` came from until cancelled; `apply` gets each new valid content."""
    path = settings.path
    seen = await asyncio.to_thread(_read, path)
    # The directory is watched, not the file: editors and mounted volumes replace a file by renaming.
    async for _ in awatch(
        path.parent,
        recursive=False,
        yield_on_timeout=True,
        rust_timeout=LOOK_EVERY_MS,
        ignore_permission_denied=True,
    ):
        content = await asyncio.to_thread(_read, path)
        if content is None or content == seen:
            continue
        seen = content
        new = await asyncio.to_thread(_load, path)
        if new is not None:
            for name in _needing_restart(settings, new):
                logger.warning("%s: %s takes effect after a restart", path.name, name)
            apply(new)
            settings = new
            logger.info("%s reloaded: %d models", path.name, len(new.fleet))


def _read(path: Path) -> bytes | None:
    """The file's content; None while it is being replaced."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _load(path: Path) -> Settings | None:
    """The settings in the file, or None after logging everything that is wrong with them."""
    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            logger.error("%s", problem)
        logger.error("%s was not reloaded; the settings before it stay", path.name)
        return None


def _needing_restart(old: Settings, new: Settings) -> list[str]:
    """The settings that changed and are read only when the process starts."""
    read_once = {
        "server.host": (old.server.host, new.server.host),
        "server.port": (old.server.port, new.server.port),
        "server.log": (old.server.log, new.server.log),
        "server.cors_origins": (old.server.cors_origins, new.server.cors_origins),
        "store.url": (old.store.url, new.store.url),
        "value": (old.value, new.value),
        "timeouts": (old.timeouts, new.timeouts),
        "context_size": (old.context_size, new.context_size),
    }
    return [name for name, (before, after) in read_once.items() if before != after]
