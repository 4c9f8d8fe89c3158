"""The scripted provider, and `router serve` before it: two processes, and where to reach them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from router.keys.limits import Limits
from router.store.engine import open_store
from router.store.keys import add_key
from tests.sdks.harness import Place

ROOT = Path(__file__).parents[2]
ABILITIES = "[tools, vision, json, logprobs, audio, reasoning, completions]"
PATIENCE_S = 600.0  # a machine may be busy
SETTINGS = """
fleet:
  - {{name: able, target: custom_openai/able, api_base: "{url}/v1", prices: {{input: 1, output: 1}},
     abilities: {abilities}}}
  - {{name: refuses, target: custom_openai/refuses, api_base: "{url}/v1", prices: {{input: 9, output: 9}}}}
  - {{name: limited, target: custom_openai/limited, api_base: "{url}/v1", prices: {{input: 9, output: 9}}}}
  - {{name: cut, target: custom_openai/cut, api_base: "{url}/v1", prices: {{input: 9, output: 9}}}}
  - {{name: slow, target: custom_openai/slow, api_base: "{url}/v1", prices: {{input: 9, output: 9}}}}
  - {{name: vectors, target: custom_openai/vectors, api_base: "{url}/v1", prices: {{input: 1, output: 0}},
     abilities: [embeddings]}}
beta: 0
presets:
  auto-best: {{beta: 1, models: [able]}}
retries: {{rounds: 0}}  # the SDKs repeat
breaker: {{failures: 0}}
store: {{url: "sqlite:///router.db"}}
server: {{port: {port}}}
"""


@contextmanager
def serving(folder: Path, parties: list[str]):
    """Both processes over `folder`; gives each party's `Place`, with keys of its own."""
    with _process([sys.executable, "-m", "tests.sdks.upstream"], stdout=subprocess.PIPE) as provider:
        upstream = f"http://127.0.0.1:{int(provider.stdout.readline())}"
        port = _free_port()
        settings = folder / "router.yaml"
        settings.write_text(SETTINGS.format(url=upstream, port=port, abilities=ABILITIES))
        engine = open_store(f"sqlite:///{folder}/router.db")
        keys = {each: add_key(engine, each)[1] for each in parties}
        narrow = {
            each: add_key(engine, f"{each}-narrow", Limits(requests_per_minute=1))[1] for each in parties
        }
        engine.dispose()
        command = [str(Path(sys.executable).with_name("router")), "serve", "--config", str(settings)]
        with open(folder / "gateway.log", "wb") as log, _process(command, stderr=log) as gateway:
            url = f"http://127.0.0.1:{port}"
            try:
                _wait(url, gateway)
            except Exception:
                sys.stderr.write((folder / "gateway.log").read_text())
                raise
            yield {each: Place(url, keys[each], narrow[each], upstream) for each in parties}


@contextmanager
def _process(command, **streams):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **streams)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(url, process):
    """Until the gateway can route, V0 loaded."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, "the gateway did not start"
        assert time.monotonic() < deadline, "the gateway did not become ready"
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
