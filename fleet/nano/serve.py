"""`router fleet serve-nano`: the nano fleet as a process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
import uvicorn

from fleet.nano.engine import Engine, load_fleet
from fleet.nano.server import create_app

if TYPE_CHECKING:
    from pathlib import Path

DRAIN_S = 10  # how long replies under way may take when the process is asked to end


def serve(
    folder: Path,
    host: str,
    port: int,
    *,
    threads: int = 1,
    device: str = "auto",
    rows: int = 32,
    temperature: float = 1.0,
) -> None:
    """Serve the models in a folder until told to end. Raises NetworkError where there are none."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = Engine(load_fleet(folder, torch.device(device)), rows, threads)
    uvicorn.run(
        create_app(engine, temperature),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
