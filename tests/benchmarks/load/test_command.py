from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.load import gateways, processes
from benchmarks.load.report import LoadReport

PASS_THROUGH = f"{sys.executable} {Path(__file__).with_name('pass_through.py')} {{port}}"
MOCK = f"{sys.executable} -m benchmarks.load.mock --port {{port}}"


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
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_stays_behind(number, status):
    environment = {**os.environ, "ROUTER_BENCH_KEY": "one"}
    # who runs the tests in a shell's background ignores SIGINT, and so would the child
    words = ["env", "--default-signal=INT", sys.executable, "-c", "from benchmarks.cli import app; app()"]
    words += ["load", "--gateway", PASS_THROUGH]
    bench = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        latest = time.monotonic() + 60
        while len(started := processes.tree(bench.pid)) < 5 and time.monotonic() < latest:
            time.sleep(0.02)  # until there are the leash, the mock, the gateway and the generator
        assert len(started) == 5
        bench.send_signal(number)
        said = bench.communicate(timeout=30)[1].decode()
    finally:
        bench.kill()
    assert bench.returncode == status, said
    assert "Traceback" not in said
    latest = time.monotonic() + 30
    while number == signal.SIGKILL and living(started) and time.monotonic() < latest:
        time.sleep(0.02)
    assert living(started) == []


def living(pids):
    """Those that have not ended; after SIGKILL, nobody may be there who would bury them."""
    found = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            found += [pid] if state not in "ZX" else []
    return found
