"""`router serve`: the gateway as a process."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from router.app import create_app
from router.logs import configure

if TYPE_CHECKING:
    from router.config import Settings

logger = logging.getLogger(__name__)

DRAIN_S = 30  # how long replies under way may take when the process is asked to end


def serve(settings: Settings, host: str | None = None, port: int | None = None) -> None:
    """Serve until told to end; replies under way are finished. `host` and `port` go before the settings'."""
    configure(settings.server.log)
    host = settings.server.host if host is None else host
    if not settings.server.require_key and not _loopback(host):
        logger.warning("anyone who reaches %s can spend your money: see server.require_key", host)
    uvicorn.run(
        create_app(settings),
        host=host,
        port=settings.server.port if port is None else port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
