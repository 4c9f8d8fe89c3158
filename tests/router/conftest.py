"""Fixtures of the gateway's tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from fleet.model import Timeouts
from router.app import create_app
from router.config import ServerSettings, Settings, StoreSettings, ValueSettings
from router.failover import Retries
from tests.router.fakes import FakeScorer, Says, Scripted, fleet_of, model
from tests.router.running import Running
from tests.router.serving import serving


@pytest.fixture
def settings(tmp_path):
    return Settings(
        fleet=(model("strong", 10.0), model("middle", 4.0), model("weak", 1.0)),
        beta=0.5,
        exploration=0.0,
        combine="separate",
        context_size=64,
        server=ServerSettings("127.0.0.1", 0, 1.0, False),
        store=StoreSettings(f"sqlite:///{tmp_path}/router.db", False),
        value=ValueSettings(None, None, "cpu"),
        timeouts=Timeouts(),
        path=tmp_path / "router.yaml",
        retries=Retries(rounds=0),
    )


@pytest.fixture
def start(settings):
    """Start a gateway: `async with start(script, beta=1) as running`. Unscripted models say "four"."""

    @asynccontextmanager
    async def starting(script=None, scorer=None, **changes):
        chosen = replace(settings, **changes)
        upstream = Scripted({each.name: Says() for each in chosen.fleet} | (script or {}))
        scorer = scorer or FakeScorer()
        app = create_app(chosen, scorer=scorer, fleet=fleet_of(upstream, *chosen.fleet))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as http,
        ):
            yield Running(app, http, upstream, scorer)

    return starting


@pytest.fixture
def serve(settings):
    """Serve a gateway on a real socket, for an SDK: `async with serve(script, beta=1) as (url, upstream)`."""

    @asynccontextmanager
    async def serving_it(script=None, scorer=None, **changes):
        chosen = replace(settings, **changes)
        upstream = Scripted({each.name: Says() for each in chosen.fleet} | (script or {}))
        app = create_app(chosen, scorer=scorer or FakeScorer(), fleet=fleet_of(upstream, *chosen.fleet))
        async with serving(app) as url:
            yield url, upstream

    return serving_it
