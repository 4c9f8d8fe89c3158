"""A gateway behind a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import uvicorn


@asynccontextmanager
async def serving(app):
    """Serve an app on a free port of 127.0.0.1; gives its base URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
