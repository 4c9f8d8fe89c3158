"""The demo's own machines: the nano fleet in a process, a gateway in a thread, both on free ports."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from fleet.nano.prices import fleet_entry, models_in
from router.app import create_app
from router.config import load

if TYPE_CHECKING:
    from fleet.model import Model
    from router.value.batcher import Scorer

START_S = 60.0


class CannotServe(RuntimeError):  # noqa: N818
    """The gateway or the fleet did not start."""


@contextmanager
def nano_fleet(models: Path, folder: Path) -> Iterator[Mapping[str, Model]]:
    """
    Serve the models in a folder from a process of its own; they go by their names without `nano-`.

    Replies are greedy where a request says nothing else. The server's log goes to `folder`. Raises CannotServe.
    """
    told = folder / "nano.log"
    serve = [sys.executable, "-m", "router", "fleet", "serve-nano", "--models", str(models)]
    with (
        told.open("w") as log,
        subprocess.Popen(  # noqa: S603 (our own module)
            [*serve, "--port", "0", "--temperature", "0"], stdout=log, stderr=log
        ) as process,
    ):
        try:
            url = _address(process, told)
            yield {
                name: replace(model, name=name)
                for model in models_in(models, f"{url}/v1")
                for name in (model.name.removeprefix("nano-"),)
            }
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], told: Path) -> str:
    deadline = time.monotonic() + START_S
    while True:
        if found := re.search(r"http://[\d.]+:\d+", told.read_text()):
            return found[0]
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotServe(f"the nano fleet did not start:\n{told.read_text()[-1000:]}")
        time.sleep(0.1)


def write_settings(folder: Path, models: Sequence[Model], beta: float) -> Path:
    """A router.yaml with these models, the fleet last so that a model is one more line at its end."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    path = folder / "router.yaml"
    path.write_text(
        "# Written by `router demo`.\n"
        f"beta: {beta:g}\n"
        "store:\n  url: sqlite:///store/router.db\n"
        "fleet:\n" + "".join(map(fleet_entry, models))
    )
    return path


def add_model(path: Path, model: Model) -> str:
    """Append a model to a router.yaml that may be in use; returns the line."""
    line = fleet_entry(model)
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
