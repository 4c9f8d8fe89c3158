"""`router serve`: the gateway as a process."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from router import heap
from router.app import create_app
from router.logs import configure, write_before_sigterm
from router.store.engine import open_store
from router.store.keys import list_keys

if TYPE_CHECKING:
    from router.config import Settings

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


def serve(settings: Settings, host: str | None = None, port: int | None = None) -> None:
    """Serve until told to end; replies under way then have `server.drain_s`. `host` and `port` go before the file's."""
    heap.one_heap()
    heap.keep_giving_back()
    configure(settings.server.log)
    write_before_sigterm()
    host = where(settings, settings.server.host if host is None else host)
    uvicorn.run(
        create_app(settings),
        host=host,
        port=settings.server.port if port is None else port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.server.drain_s,
    )


def where(settings: Settings, host: str) -> str:
    """
    The address to listen at: `host` or, as long as no key was ever made, loopback only, since whoever reaches an
    open gateway can spend its owner's money. Says so. Reads the store, which blocks.
    """
    if _loopback(host):
        return host
    engine = open_store(settings.store.url)
    try:
        configured = bool(list_keys(engine))
    finally:
        engine.dispose()
    if not configured:
        logger.warning(
            "listening at %s only, not at %s: there is no key; make one with `router keys create NAME`",
            LOOPBACK,
            host,
        )
        return LOOPBACK
    if settings.server.require_key is False:
        logger.warning("server.require_key is false: anyone who reaches %s can spend your money", host)
    return host


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
