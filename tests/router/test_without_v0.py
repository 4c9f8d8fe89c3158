"""value.head: none: models by name, and nothing that values prompts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

from router.app import create_app
from router.config import ValueSettings, load
from tests.router.fakes import Says, Scripted, fleet_of
from tests.router.running import ASK, Running


@pytest.fixture
async def running(settings):
    chosen = replace(settings, value=ValueSettings(None, None, "cpu", off=True))
    upstream = Scripted({each.name: Says() for each in chosen.fleet})
    app = create_app(chosen, fleet=fleet_of(upstream, *chosen.fleet))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as http,
    ):
        yield Running(app, http, upstream, None)


def test_the_head_may_be_none(tmp_path):
    path = tmp_path / "router.yaml"
    path.write_text("fleet: [{name: sage, target: replay/sage}]\nvalue: {head: none}\n")
    assert load(path, {}).value.off
    path.write_text("fleet: [{name: sage, target: replay/sage}]\n")
    assert not load(path, {}).value.off


async def test_named_models_are_served_and_scored_at_once(running):
    assert (await running.http.get("/readyz")).status_code == 200
    reply = await running.chat("weak")
    assert reply.status_code == 200
    decision = reply.headers["x-router-decision"]
    sent = await running.feedback(decision_id=decision, score=1)
    assert (sent.status_code, sent.json()["model"]) == (200, "weak")
    assert (await running.http.get("/metrics")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/router/explain"])
async def test_auto_is_refused_with_the_reason_and_not_to_be_tried_again(running, path):
    reply = await running.http.post(path, json={"model": "auto", "messages": ASK})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "value_model_off"
    assert "value.head is none" in reply.json()["error"]["message"]


def test_torch_is_never_imported(tmp_path):
    code = """
import asyncio, sys
from pathlib import Path
from router.app import create_app
from router.config import load
async def main(path):
    app = create_app(load(Path(path), {}))
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0.3)
        print([name for name in ("torch", "tiktoken", "scipy") if name in sys.modules])
asyncio.run(main(sys.argv[1]))
"""
    path = tmp_path / "router.yaml"
    path.write_text("fleet: [{name: sage, target: replay/sage}]\nvalue: {head: none}\n")
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
