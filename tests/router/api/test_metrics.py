"""GET /metrics: what was counted, under which labels, and who may look."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from router.ended import Ended, Routing
from router.metrics import Metrics
from router.store.keys import add_key
from tests.router.fakes import Fails, Says, model

CHAT = 'endpoint="/v1/chat/completions"'


async def metrics(running):
    """The samples by name and labels, and the text."""
    reply = await running.http.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(reply.text)


def samples(text):
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def requests(found):
    """(endpoint, model, status) → count, without the scrapes' own."""
    pattern = re.compile(r'v0_router_requests_total\{endpoint="(.*)",model="(.*)",status="(.*)"\}')
    read = {match.groups(): n for name, n in found.items() if (match := pattern.fullmatch(name))}
    return {labels: n for labels, n in read.items() if labels[0] != "/metrics"}


async def test_replies_count_with_their_model_tokens_and_cost(start):
    async with start() as running:
        for _ in range(2):
            await running.chat("weak")
        await running.chat("strong", stream=True)
        found = await metrics(running)
    assert requests(found) == {
        ("/v1/chat/completions", "weak", "200"): 2,
        ("/v1/chat/completions", "strong", "200"): 1,
    }
    assert found['v0_router_tokens_total{direction="input",model="weak"}'] == 20
    assert found['v0_router_tokens_total{direction="output",model="strong"}'] == 5
    assert found['v0_router_cost_usd_total{model="weak"}'] == pytest.approx(2 * 15e-6)
    assert not [name for name in found if name.startswith("v0_router_saved_usd_total{")]  # nothing was routed


async def test_a_routed_reply_saves_what_the_dearest_was_expected_to_cost(start):
    async with start(beta=0) as running:
        reply = await running.chat()
        row = await running.decision(reply.headers["x-router-decision"])
        found = await metrics(running)
    dearest = max(each.cost for each in row.candidates)
    assert row.chosen == "weak"
    assert row.cost_usd < dearest
    assert found['v0_router_saved_usd_total{model="weak"}'] == pytest.approx(dearest - row.cost_usd)


async def test_an_answer_longer_than_expected_counts_as_overspent(start):
    long = Says(usage={"prompt_tokens": 10, "completion_tokens": 100_000})
    async with start({"strong": long}, fleet=(model("strong", 10.0),)) as running:
        await running.chat()
        found = await metrics(running)
    assert 'v0_router_saved_usd_total{model="strong"}' not in found
    assert found['v0_router_overspent_usd_total{model="strong"}'] > 0.9


async def test_time_is_split_into_deciding_waiting_and_ours(start):
    async with start({"weak": Says("one two three", headers_after_s=0.5)}) as running:
        await running.chat("weak")
        await running.chat("weak", stream=True)
        found = await metrics(running)
    upstream, decide, ours = (
        found[f"v0_router_{part}_seconds_sum{{{CHAT}}}"] for part in ("upstream", "decide", "overhead")
    )
    assert found[f"v0_router_upstream_seconds_count{{{CHAT}}}"] == 2
    assert upstream >= 1.0
    assert decide < upstream  # the wait is nobody else's
    assert ours < upstream


async def test_errors_count_by_family_and_failures_by_model_and_cause(start):
    failing = {"weak": Fails(503), "middle": Fails(None, cause="timeout")}
    async with start(failing, beta=0) as running:
        await running.chat()
        await running.chat("nobody")
        await running.http.post("/v1/chat/completions", content=b"{")
        await running.http.get("/v1/models/nobody")
        await running.http.get("/etc/passwd")
        found = await metrics(running)
    assert found['v0_router_errors_total{family="UnknownModel"}'] == 2
    assert found['v0_router_errors_total{family="BadRequest"}'] == 2  # no JSON, and no such path
    assert found['v0_router_upstream_failures_total{cause="5xx",model="weak"}'] == 1
    assert found['v0_router_upstream_failures_total{cause="timeout",model="middle"}'] == 1
    assert requests(found) == {
        ("/v1/chat/completions", "strong", "200"): 1,
        ("/v1/chat/completions", "", "404"): 1,
        ("/v1/chat/completions", "", "400"): 1,
        ("/v1/models/{name:path}", "", "404"): 1,
        ("unmatched", "", "404"): 1,
    }


async def test_a_stream_that_breaks_off_is_no_success(start):
    async with start({"weak": Says("one two three", after=2, breaks_off=True)}) as running:
        assert (await running.chat("weak", stream=True)).status_code == 200
        found = await metrics(running)
    assert requests(found) == {("/v1/chat/completions", "weak", "502"): 1}
    assert found['v0_router_errors_total{family="BrokenOff"}'] == 1


async def test_contexts_and_the_writer_are_looked_at_when_asked(start):
    async with start() as running:
        await running.chat()
        before = await metrics(running)
        await running.teach(weak=0.5)
        found = await metrics(running)
    assert before['v0_router_context_rows{model="weak"}'] == 0
    assert 'v0_router_context_age_seconds{model="weak"}' not in before
    assert found['v0_router_context_rows{model="weak"}'] == 1
    assert 0 <= found['v0_router_context_age_seconds{model="weak"}'] < 60
    assert 0 <= found["v0_router_contexts_refresh_age_seconds"] < 60
    assert found["v0_router_writer_running"] == found["v0_router_value_ready"] == 1
    assert found["v0_router_writer_queue"] >= 0


async def test_an_admin_key_is_needed_where_the_others_need_a_key(start, settings):
    async with start(server=replace(settings.server, require_key=True)) as running:
        engine = running.app.state.services.engine
        secrets = [add_key(engine, name, admin=name == "prometheus")[1] for name in ("ci", "prometheus")]
        assert (await running.http.get("/metrics")).status_code == 401
        refused, allowed = [
            await running.http.get("/metrics", headers={"authorization": f"Bearer {secret}"})
            for secret in secrets
        ]
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert allowed.status_code == 200


async def test_two_gateways_in_one_process_count_apart(start):
    async with start() as one, start() as other:
        await one.chat("weak")
        assert requests(await metrics(other)) == {}


async def test_an_observer_that_fails_costs_no_request(start, monkeypatch, caplog):
    monkeypatch.setattr(Metrics, "record", lambda self, ended: 1 / 0)
    async with start() as running:
        assert (await running.chat("weak")).status_code == 200
    assert "could not be told of: ZeroDivisionError" in caplog.text


def test_recording_costs_microseconds():
    counted = Metrics()
    routing = Routing(
        "chat", False, "dec_1", "auto", "weak", beta=0.5, input_tokens=10, output_tokens=5,
        cost_usd=1e-5, saved_usd=1e-4, decide_ms=1.0, upstream_ms=2.0,
    )  # fmt: skip
    ended = Ended("req_1", "/v1/chat/completions", 200, 0.0, 4.0, routing=routing)
    counted.record(ended)
    began = time.process_time()
    for _ in range(2000):
        counted.record(ended)
    assert (time.process_time() - began) / 2000 < 500e-6  # about 15 µs on an idle machine
