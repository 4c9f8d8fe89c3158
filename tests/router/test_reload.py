"""router.yaml changes while the gateway runs."""

from __future__ import annotations

import asyncio
import os

import pytest

from fleet.fleet import Fleet
from fleet.model import Prices
from fleet.replay import Replay
from router.app import create_app
from router.call import understand
from router.config import load
from tests.router.fakes import FakeScorer
from tests.router.running import Running

ONE = """\
fleet:
  - {name: tally, target: replay/tally, prices: {input: 0.05, output: 0.2}}
beta: 0.5
"""
TWO = ONE.replace(
    "beta: 0.5", "  - {name: sage, target: replay/sage, prices: {input: 5, output: 20}}\nbeta: 0.7"
)
BROKEN = ONE.replace("beta: 0.5", "beta: 5\nexploraton: 0.1")


@pytest.fixture
async def running(tmp_path):
    import httpx

    path = tmp_path / "router.yaml"
    path.write_text(ONE)
    settings = load(path)
    app = create_app(settings, scorer=FakeScorer(), fleet=Fleet(settings.fleet, {"replay": Replay(pace=0)}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as http,
    ):
        await asyncio.sleep(0.1)  # the watch begins
        yield Running(app, http, None, None)


async def until(true, patience_s=30.0):
    async with asyncio.timeout(patience_s):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_good_edit_adds_a_model_that_can_be_chosen_at_once(running):
    path = running.gateway.settings.path
    path.write_text(TWO)
    await until(lambda: "sage" in running.gateway.fleet.models)
    reply = await running.chat(router={"models": ["sage"]})
    assert reply.headers["x-router-model"] == "sage"
    assert reply.headers["x-router-beta"] == "0.7"


async def test_a_file_replaced_by_renaming_is_seen(running):
    path = running.gateway.settings.path
    (path.parent / "new").write_text(TWO)
    os.replace(path.parent / "new", path)
    await until(lambda: running.gateway.settings.beta == 0.7)


async def test_a_bad_edit_keeps_the_old_settings_and_logs_every_problem_with_its_line(running, caplog):
    path = running.gateway.settings.path
    path.write_text(BROKEN)
    await until(lambda: "not reloaded" in caplog.text)
    assert running.gateway.settings.beta == 0.5
    assert f"{path}:3: " in caplog.text
    assert f"{path}:4: " in caplog.text
    assert (await running.chat()).status_code == 200
    path.write_text(TWO)
    await until(lambda: running.gateway.settings.beta == 0.7)


async def test_a_change_that_needs_a_restart_says_so(running, caplog):
    path = running.gateway.settings.path
    path.write_text(TWO + "server: {port: 9999}\n")
    await until(lambda: running.gateway.settings.beta == 0.7)
    assert "server.port takes effect after a restart" in caplog.text
    assert "store.url" not in caplog.text


async def test_a_model_taken_out_is_unknown_from_then_on(running):
    path = running.gateway.settings.path
    path.write_text(TWO.replace("tally", "abacus", 1))
    await until(lambda: "tally" not in running.gateway.fleet.models)
    assert (await running.chat("tally")).status_code == 404
    assert set(running.gateway.loading.now().contexts.current.capabilities) == {"abacus", "sage"}


async def test_presets_come_and_go_with_the_file(running, caplog):
    path = running.gateway.settings.path
    assert (await running.chat("cheap")).status_code == 404
    path.write_text(TWO + "presets: {cheap: {beta: 0.1, models: [tally]}}\n")
    await until(lambda: running.gateway.settings.presets)
    reply = await running.chat("cheap")
    assert (reply.headers["x-router-model"], reply.headers["x-router-beta"]) == ("tally", "0.1")
    path.write_text(TWO + "presets: {cheap: {models: [abacus]}}\n")
    await until(lambda: "the fleet has no model 'abacus'" in caplog.text)
    assert (await running.chat("cheap")).headers["x-router-beta"] == "0.1"
    path.write_text(TWO)
    await until(lambda: not running.gateway.settings.presets)
    assert (await running.chat("cheap")).status_code == 404


PRICED = "prices: prices.yaml\n" + ONE.replace(", prices: {input: 0.05, output: 0.2}", "")


async def test_a_file_of_prices_takes_effect_when_it_changes_and_only_if_it_is_sound(running, caplog):
    path = running.gateway.settings.path
    prices = path.parent / "prices.yaml"
    prices.write_text("tally: {input: 1, output: 2}\n")
    path.write_text(PRICED)
    await until(lambda: running.gateway.fleet.models["tally"].prices == Prices(1, 2))
    prices.write_text("tally: {input: 1, outptu: 2}\n")
    await until(lambda: "not reloaded" in caplog.text)
    assert f"{prices}:1: unknown key 'outptu'; did you mean 'output'?" in caplog.text
    assert running.gateway.fleet.models["tally"].prices == Prices(1, 2)
    prices.write_text("replay/tally: {input: 3, output: 4, cached_input: 1}\n")
    await until(lambda: running.gateway.fleet.models["tally"].prices == Prices(3, 4, 1))


async def test_what_became_of_edits_is_in_the_metrics(running):
    path = running.gateway.settings.path
    path.write_text(TWO)
    await until(lambda: running.gateway.settings.beta == 0.7)
    path.write_text(BROKEN)
    metrics = ""
    async with asyncio.timeout(30):
        while "v0_router_settings_problems 2.0" not in metrics:
            await asyncio.sleep(0.1)
            metrics = (await running.http.get("/metrics")).text
    assert 'v0_router_settings_reloads_total{result="taken"} 1.0' in metrics
    assert 'v0_router_settings_reloads_total{result="refused"} 1.0' in metrics


async def test_timeouts_breakers_and_the_size_of_contexts_need_no_restart(running, caplog):
    path = running.gateway.settings.path
    path.write_text(TWO + "timeouts: {first_byte: 7}\nbreaker: {failures: 9}\ncontext_size: 7\n")
    await until(lambda: running.gateway.settings.context_size == 7)
    assert running.gateway.fleet.models["tally"].timeouts.first_byte == 7
    assert running.gateway.fleet.breakers.settings.failures == 9
    assert running.gateway.loading.now().contexts._context_size == 7
    assert "restart" not in caplog.text


async def test_a_request_under_way_ends_by_the_settings_it_began_with(running):
    path = running.gateway.settings.path
    call = understand({"model": "tally", "messages": [{"role": "user", "content": "2 + 2?"}]}, None)
    routed = await running.gateway.route(call)
    path.write_text(TWO.replace("tally", "abacus", 1))
    await until(lambda: "tally" not in running.gateway.fleet.models)
    relay = await running.gateway.call(call, routed, {})
    assert relay.model == "tally"
    await relay.aclose()


async def test_settings_that_cannot_be_applied_leave_the_old_ones_whole(running, caplog, monkeypatch):
    def broken(*_args):
        raise RuntimeError("a bug")

    monkeypatch.setattr(running.gateway.fleet, "replace", broken)
    running.gateway.settings.path.write_text(TWO)
    await until(lambda: "could not be applied" in caplog.text)
    assert running.gateway.settings.beta == 0.5
    monkeypatch.undo()
    running.gateway.settings.path.write_text(TWO + "exploration: 0.5\n")
    await until(lambda: running.gateway.settings.exploration == 0.5)
