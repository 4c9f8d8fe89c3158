"""A gateway for the demo: its own folder, its own router.yaml, a free port, a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from fleet.replay import REPLAY_MODELS
from router.app import create_app
from router.config import load

if TYPE_CHECKING:
    from router.value.batcher import Scorer

START_S = 60.0


class CannotServe(RuntimeError):  # noqa: N818
    """The gateway did not start."""


def write_settings(folder: Path, models: Sequence[str], beta: float) -> Path:
    """A router.yaml with these simulated models, the fleet last so that a model is one more line at its end."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    path = folder / "router.yaml"
    path.write_text(
        "# Written by `router demo`. The models are SIMULATED.\n"
        f"beta: {beta:g}\n"
        "store:\n  url: sqlite:///store/router.db\n"
        "fleet:\n" + "".join(map(entry, models))
    )
    return path


def entry(model: str) -> str:
    """A simulated model as a line of router.yaml."""
    prices = REPLAY_MODELS[model].prices
    priced = f"{{input: {prices.input:g}, output: {prices.output:g}}}"
    return f"  - {{name: {model}, target: replay/{model}, prices: {priced}}}\n"


def add_model(path: Path, model: str) -> str:
    """Append a model to a router.yaml that may be in use; returns the line."""
    line = entry(model)
    with path.open("a") as file:
        file.write(line)
    return line


@contextmanager
def serving(path: Path, port: int = 0, scorer: Scorer | None = None) -> Iterator[str]:
    """
    The gateway of a router.yaml on 127.0.0.1, and its address. Port 0 takes a free one.

    `scorer` replaces V0. Raises CannotServe.
    """
    app = create_app(load(path), scorer=scorer)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotServe(f"port {port} cannot be used: {error.strerror}") from None
        thread = threading.Thread(target=server.run, args=([listening],), name="gateway", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_S
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise CannotServe("the gateway did not start; the log above says why")
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=START_S)
