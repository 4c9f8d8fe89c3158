from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import orjson
import pytest
from openai import AsyncOpenAI
from typer.testing import CliRunner

from benchmarks import gateways, load_report, own_gateway, processes
from benchmarks.cli import app
from benchmarks.drive import Load, Plan, body, drive, prompt, schedule
from benchmarks.load_report import LoadReport, Round, a_round, measured, ratios, spread
from benchmarks.load_settings import Loop, settings
from benchmarks.load_tables import notes
from benchmarks.mock_upstream import MockUpstream, Pace
from benchmarks.settings import SettingsError
from tests.fleet.serving import answer, read_body, serve

PASS_THROUGH = f"{sys.executable} {Path(__file__).with_name('pass_through.py')} {{port}}"
MOCK = f"{sys.executable} -m benchmarks.mock_upstream --port {{port}}"
OPTIONS = {
    **dict.fromkeys(("gateway", "url", "pid", "versus", "versus_model", "key", "versus_key", "concurrency")),
    **dict.fromkeys(("rate", "requests", "duration", "mock_port", "out")),
    "model": "auto",
    "arrivals": "poisson",
    "stream": False,
    "prompt_tokens": 50,
    "same_prompt": False,
    "rounds": 3,
    "starts": 1,
    "contexts": 0,
    "warm_up": 20,
    "timeout": 60.0,
    "start_timeout": 120.0,
    "tokens": 200,
    "first_byte_ms": 0.0,
    "chunk_ms": 0.0,
}


def round_of(latencies, **fields):
    load = Load(elapsed_s=2.0, latency_ms=list(latencies), cpu_load_s=0.0)
    for name, value in fields.items():
        setattr(load, name, value)
    return load, a_round(load, None, None, 0)


def test_placeholders_are_filled_word_by_word():
    words = gateways.split("serve 'a b.yaml' --port={port} --up {upstream} --json '{\"a\": 1}'")
    values = {"port": "81", "upstream": "http://x y/v1", "model": "m", "key": "k"}
    assert gateways.expand(words, values) == [
        "serve", "a b.yaml", "--port=81", "--up", "http://x y/v1", "--json", '{"a": 1}',
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"unknown placeholder \{prot\}; known are \{port\}"):
        gateways.split("serve {prot}")
    with pytest.raises(ValueError, match="empty"):
        gateways.split("  ")


def test_a_command_knows_its_port_and_upstream_as_variables_too():
    command = gateways.Command("x", ["serve"], {"upstream": "http://u/v1", "model": "m", "key": "k"})
    words, variables = command.at(81)
    assert words == ["serve"]
    assert variables == {
        "ROUTER_BENCH_PORT": "81",
        "ROUTER_BENCH_UPSTREAM": "http://u/v1",
        "ROUTER_BENCH_MODEL": "m",
        "ROUTER_BENCH_KEY": "k",
    }


def test_options_become_loops_and_targets():
    made = settings(OPTIONS)
    assert made.loops == (Loop(concurrency=1), Loop(concurrency=8))
    assert (made.requests, made.duration_s) == (None, 5.0)
    assert [each.name for each in made.targets] == ["gateway"]
    made = settings(
        OPTIONS | {"rate": "5,0.5", "requests": 9, "key": "k", "versus": "x {port}", "versus_model": "m"}
    )
    assert made.loops == (Loop(rate=5.0), Loop(rate=0.5))
    assert (made.requests, made.duration_s) == (9, None)
    assert [(each.command, each.model, each.key) for each in made.targets] == [
        (None, "auto", "k"),
        ("x {port}", "m", "k"),
    ]
    made = settings(OPTIONS | {"url": "http://h:1/v1/chat/completions", "mock_port": 2})
    assert made.targets[0].url == "http://h:1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gateway": "x", "url": "http://h", "mock_port": 2}, "--gateway and --url"),
        ({"requests": 1, "duration": 1.0}, "--requests and --duration"),
        ({"rate": "1", "concurrency": "1"}, "--rate and --concurrency"),
        ({"pid": 1}, "--pid"),
        ({"contexts": 8, "gateway": "x"}, "--contexts"),
        ({"url": "http://h"}, "--mock-port is needed"),
        ({"url": "h:80", "mock_port": 2}, "no http address"),
        ({"versus_key": "k"}, "--versus-key: there is no --versus"),
        ({"arrivals": "odd"}, "none of poisson, even"),
        ({"versus": "x {nothing}"}, "--versus: unknown placeholder"),
        ({"gateway": "x 'y"}, "--gateway: No closing quotation"),
        ({"rate": "fast"}, "--rate: 'fast' is no list"),
        ({"rate": "inf"}, "numbers above 0"),
        ({"concurrency": "0"}, "numbers above 0"),
        ({"concurrency": ","}, "numbers above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(given, said):
    with pytest.raises(SettingsError, match=said):
        settings(OPTIONS | given)


def test_percentiles_and_what_a_gateway_adds():
    assert spread([]) is None
    found = spread(list(range(101)))
    assert (found.count, found.mean, found.p50, found.p95, found.p99) == (101, 50, 50, 95, 99)
    assert load_report.added(found, spread([1.0])) == {"p50": 49, "p95": 94, "p99": 98}
    assert load_report.added(None, found) is None


def test_a_round_divides_by_the_answered_requests():
    load = Load(
        elapsed_s=2.0,
        latency_ms=[1.0] * 8,
        errors={"timeout": 2},
        cpu_gateway_s=0.4,
        cpu_load_s=0.08,
        cpu_mock_s=None,
    )
    found = a_round(load, 100.0, 15, 5)
    assert (found.ok, found.sent, found.requests_per_s) == (8, 15, 4)
    assert found.cpu_ms == pytest.approx(50)
    assert found.requests_per_core_s == pytest.approx(20)
    assert found.cpu_load_ms == pytest.approx(10)
    assert found.cpu_mock_ms is None
    nothing = a_round(Load(elapsed_s=1.0, errors={"timeout": 2}, cpu_gateway_s=0.4), None, None, 0)
    assert nothing.cpu_ms is None
    assert nothing.latency_ms is None
    assert nothing.requests_per_core_s == 0


def test_a_summary_pools_latencies_and_takes_the_median_of_rounds():
    direct = measured(*zip(round_of([1.0]), round_of([3.0]), strict=True))
    assert direct.added_ms is None
    rounds = [round_of([10.0] * 2), round_of([20.0] * 6), round_of([20.0] * 1, errors={"timeout": 1})]
    found = measured([load for load, _ in rounds], [each for _, each in rounds], direct)
    assert found.ok == 9
    assert found.errors == {"timeout": 1}
    assert found.latency_ms.p50 == 20
    assert found.added_ms["p50"] == 18
    assert found.requests_per_s == 1  # of 1, 3 and 0.5


def test_ratios_are_taken_round_by_round():
    def rounds(latencies, cpu):
        pairs = [round_of([ms], cpu_gateway_s=s) for ms, s in zip(latencies, cpu, strict=True)]
        return measured([load for load, _ in pairs], [each for _, each in pairs])

    ours, theirs = rounds([10, 20, 40], [1, 1, 1]), rounds([20, 20, 20], [2, 2, None])
    found = ratios(ours, theirs, rounds([15, 15, 15], [None] * 3))
    assert found["latency p50"].rounds == [0.5, 1, 2]
    assert (found["latency p50"].median, found["latency p50"].low, found["latency p50"].high) == (1, 0.5, 2)
    assert "CPU ms/request" not in found  # unknown in one round
    assert "added latency p50" not in found  # below 0 in one round


def test_contention_and_strays_are_said():
    cores = os.cpu_count() or 1
    assert not load_report.contended(None)
    assert not load_report.contended(0.01 * cores)
    assert load_report.contended(0.5 * cores)
    load, quiet = round_of([1.0], other_cores=0.0)
    busy = Round(**{**quiet.model_dump(), "other_cores": 0.5 * cores, "reached_mock": 3, "sent": 1})
    scenario = load_report.Scenario(
        title="closed", loop="closed", concurrency=1, rate=None, stream=False, ratios={},
        direct=measured([load], [quiet]), gateways={"gateway": measured([load], [busy])},
    )  # fmt: skip
    report = LoadReport(
        created="", versions={}, system="", cores=cores, prompt_tokens=1, same_prompt=False, gateways={},
        upstream=load_report.Upstream(tokens=1, first_byte_ms=0, chunk_ms=0), scenarios=[scenario],
    )  # fmt: skip
    said = "\n".join(notes(report))
    assert f"kept up to {0.5 * cores:.2f} of {cores} cores busy" in said
    assert "1 chats asked for, 3 reached the mock" in said
    assert not report.scenarios[0].direct.contended


def test_an_open_loop_has_its_schedule_from_the_start():
    even = list(schedule(Plan("", "", rate=10.0, arrivals="even", requests=4)))
    assert even == pytest.approx([0, 0.1, 0.2, 0.3])
    assert len(list(schedule(Plan("", "", rate=10.0, arrivals="even", duration_s=1.0)))) == 10
    poisson = list(schedule(Plan("", "", rate=50.0, requests=5000, seed=1)))
    assert poisson == list(schedule(Plan("", "", rate=50.0, requests=5000, seed=1)))
    assert poisson != list(schedule(Plan("", "", rate=50.0, requests=5000, seed=2)))
    gaps = [after - before for before, after in itertools.pairwise(poisson)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 50, rel=0.1)
    assert sum(gap < 1 / 100 for gap in gaps) / len(gaps) == pytest.approx(1 - 2.718281828**-0.5, abs=0.03)


def test_prompts_are_distinct_unless_told_otherwise():
    plan = Plan("", "m", prompt_tokens=30, seed=3)
    prompts = [prompt(plan, number) for number in range(-20, 200)]
    assert len(set(prompts)) == len(prompts)
    assert prompts == [prompt(plan, number) for number in range(-20, 200)]
    assert prompt(plan, 0) != prompt(Plan("", "m", prompt_tokens=30, seed=4), 0)
    same = Plan("", "m", same_prompt=True)
    assert prompt(same, 0) == prompt(same, 1)
    asked = orjson.loads(body(Plan("", "m", stream=True), 0))
    assert asked["stream_options"] == {"include_usage": True}


async def test_the_mock_speaks_openai():
    mock = MockUpstream(Pace(tokens=7))
    async with serve(mock) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        messages = [{"role": "user", "content": "one two three four"}]
        whole = await client.chat.completions.create(model="some", messages=messages)
        assert whole.model == "some"
        assert len(whole.choices[0].message.content.split()) == 7
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage.completion_tokens == 7
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + 7
        for options in ({}, {"stream_options": {"include_usage": True}}):
            stream = await client.chat.completions.create(
                model="some", messages=messages, stream=True, **options
            )
            chunks = [chunk async for chunk in stream]
            usages = [chunk.usage for chunk in chunks if not chunk.choices]
            said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(said) == whole.choices[0].message.content
            assert len([piece for piece in said if piece]) == 7
            assert chunks[0].id != whole.id
            assert [usage.completion_tokens for usage in usages] == ([7] if options else [])
        assert [model.id async for model in client.models.list()] == ["mock"]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/v1/stats") as reply:
                assert await reply.json() == {"chats": 3, "streams": 2}
            for sent, path, status in (
                (b"{}", "/v1/chat/completions", 400),
                (b"[", "/v1/chat/completions", 400),
                (b"", "/no", 404),
            ):
                async with session.post(url + path, data=sent) as reply:
                    assert reply.status == status
                    assert (await reply.json())["error"]["message"]


async def test_the_mock_takes_the_time_it_is_told():
    async with serve(MockUpstream(Pace(tokens=5, first_byte_ms=60, chunk_ms=10))) as url:
        for stream in (False, True):
            plan = Plan(
                f"{url}/v1/chat/completions", "m", stream=stream, concurrency=1, requests=1, warm_up=0
            )
            load = await drive(plan)
            assert load.latency_ms[0] >= 110
            assert all(first >= 60 for first in load.first_token_ms)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_closed_loop_asks_as_often_as_told(stream):
    mock = MockUpstream(Pace(tokens=5))
    async with serve(mock) as url:
        plan = Plan(f"{url}/v1/chat/completions", "m", concurrency=3, requests=20, warm_up=6, stream=stream)
        load = await drive(plan)
    assert mock.chats == 26
    assert mock.streams == (26 if stream else 0)
    assert load.errors == {}
    assert len(load.latency_ms) == 20
    assert len(load.first_token_ms) == (20 if stream else 0)
    assert load.sent == 20
    assert load.cpu_load_s > 0


async def test_an_open_loop_counts_from_when_a_request_was_due():
    """One reply every 50 ms for requests that are due every 10 ms: the last waits for all before it."""
    turn = asyncio.Lock()

    async def one_at_a_time(scope, receive, send):
        await read_body(receive)
        async with turn:
            await asyncio.sleep(0.05)
        await answer(send, 200, b'{"choices": []}')

    async with serve(one_at_a_time) as url:
        load = await drive(Plan(url, "m", rate=100.0, arrivals="even", requests=10, warm_up=0))
    assert len(load.late_ms) == 10
    assert sum(load.latency_ms) >= sum(50 * (number + 1) - 10 * number for number in range(10)) - 10


async def test_failures_are_counted_by_kind_and_have_no_latency():
    async def failing(scope, receive, send):
        asked = orjson.loads(await read_body(receive))
        sse = [(b"content-type", b"text/event-stream")]
        event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
        if asked["model"] == "busy":
            await answer(send, 429, b"{}")
        elif asked["model"] == "empty":
            await answer(send, 200, b"{}")
        elif asked["model"] == "slow":
            await asyncio.sleep(0.6)
            await answer(send, 200, b"{}")
        else:
            await send({"type": "http.response.start", "status": 200, "headers": sse})
            await send({"type": "http.response.body", "body": event, "more_body": True})
            if asked["model"] == "breaks":
                raise ConnectionError
            last = b'data: {"error": {"message": "x"}}\n\n' if asked["model"] == "event" else b""
            await send({"type": "http.response.body", "body": last})

    async with serve(failing) as url:
        for model, stream, kind in (
            ("busy", False, "status 429"),
            ("empty", False, "no choices"),
            ("slow", False, "timeout"),
            ("cut", True, "cut stream"),
            ("event", True, "error event"),
            ("breaks", True, "broken off: ClientPayloadError"),
        ):
            patience = 0.2 if model == "slow" else 30.0
            plan = Plan(url, model, stream=stream, concurrency=1, requests=2, warm_up=0, timeout_s=patience)
            load = await drive(plan)
            assert load.errors == {kind: 2}
            assert load.latency_ms == []
    load = await drive(
        Plan(f"http://127.0.0.1:{gateways.free_port()}", "m", concurrency=1, requests=1, warm_up=2)
    )
    assert load.errors == {"no connection": 1}


def test_our_own_settings_are_valid(tmp_path):
    from router.config import read

    reading = read(own_gateway.write_settings(tmp_path, "http://127.0.0.1:9/v1", 2048))
    assert not reading.problems
    assert {model.api_base for model in reading.models} == {"http://127.0.0.1:9/v1"}
    assert reading.settings.context_size == 2048


@pytest.mark.skipif(not processes.SUPPORTED, reason="needs /proc")
def test_a_tree_holds_the_children_and_what_they_use():
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {spin!r}]).wait()\ninput()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        seen, most = set(), 0.0
        latest = time.monotonic() + 60
        while time.monotonic() < latest:
            seen |= processes.tree(parent.pid)
            most = max(most, processes.cpu_seconds(processes.tree(parent.pid)))
            if most >= 0.2 and len(seen) > 1 and len(processes.tree(parent.pid)) == 1:
                break
            time.sleep(0.01)
        assert parent.pid in seen
        assert len(seen) == 2
        assert processes.cpu_seconds([parent.pid]) >= 0.2  # the child's, which has ended
        assert processes.resident_mib([parent.pid]) > 1
    finally:
        parent.communicate(b"\n")
    assert processes.tree(parent.pid) == set()


def test_two_gateways_in_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTER_BENCH_KEY", "secret-key")
    out = tmp_path / "new" / "load.json"
    options = ["--gateway", PASS_THROUGH, "--versus", PASS_THROUGH, "--concurrency", "2", "--rounds", "2"]
    options += ["--requests", "20", "--warm-up", "3", "--tokens", "5", "--stream", "--out", str(out)]
    done = CliRunner().invoke(app, ["load", *options])
    assert done.exit_code == 0, done.output
    assert "gateway / versus" in done.stdout
    assert "first token p50" in done.stdout
    text = out.read_text()
    assert "secret-key" not in text
    report = LoadReport.model_validate_json(text)
    assert list(report.gateways) == ["gateway", "versus"]
    [scenario] = report.scenarios
    for each in (scenario.direct, *scenario.gateways.values()):
        assert each.ok == 40
        assert each.errors == {}
        assert [(found.reached_mock, found.sent) for found in each.rounds] == [(23, 23)] * 2
    assert len(scenario.ratios["requests/s"].rounds) == 2
    if processes.SUPPORTED:
        assert report.gateways["versus"].idle_mib > 1
        assert scenario.gateways["gateway"].rounds[0].peak_mib > 1


def test_a_gateway_that_does_not_start_says_why():
    code = f"import sys; print('no such {'x' * 3}', file=sys.stderr); sys.exit(3)"
    done = CliRunner().invoke(app, ["load", "--gateway", f'{sys.executable} -c "{code}" {{port}}'])
    assert done.exit_code == 1
    assert "ended with exit status 3 before it answered" in done.stderr
    assert "  no such xxx" in done.stderr
    missing = CliRunner().invoke(app, ["load", "--gateway", "no-such-program {port}"])
    assert missing.exit_code == 1
    assert "no-such-program: No such file" in missing.stderr


def test_a_gateway_that_never_asks_the_mock_is_not_measured():
    done = CliRunner().invoke(app, ["load", "--gateway", MOCK])
    assert done.exit_code == 1
    assert "answered without asking the mock: its upstream must be http://127.0.0.1" in done.stderr


def test_a_gateway_that_refuses_is_told(monkeypatch):
    monkeypatch.setattr(gateways, "REFUSED_FOR_S", 0.1)
    done = CliRunner().invoke(app, ["load", "--gateway", f"env ROUTER_BENCH_KEY=another {PASS_THROUGH}"])
    assert done.exit_code == 1
    assert "refuses a chat: status 401, who are you?" in done.stderr


@pytest.mark.skipif(not processes.SUPPORTED, reason="needs /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_nothing_stays_behind(number, status):
    environment = {**os.environ, "ROUTER_BENCH_KEY": "one"}
    words = [sys.executable, "-c", "from benchmarks.cli import app; app()", "load", "--gateway", PASS_THROUGH]
    bench = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        latest = time.monotonic() + 60
        while len(started := processes.tree(bench.pid)) < 4 and time.monotonic() < latest:
            time.sleep(0.02)  # until there are the mock, the gateway and the generator
        assert len(started) == 4
        bench.send_signal(number)
        said = bench.communicate(timeout=30)[1].decode()
    finally:
        bench.kill()
    assert bench.returncode == status, said
    assert "Traceback" not in said
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
