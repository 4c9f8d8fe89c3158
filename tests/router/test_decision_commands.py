"""`router decisions` and `router tail`, as typed."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.datasets import decisions as harness
from router import decision_commands
from router.cli import app
from router.store.batch import write_batch
from router.store.engine import open_store
from router.store.rows import CandidateRow
from tests.router.store.rows import decision, feedback

ROUTED = {
    "candidates": (CandidateRow("small", 0.8, 0.001, 0.85), CandidateRow("large", 0.9, 0.01, 0.7)),
    "reason": "best_score",
    "propensity": 0.95,
}


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    rows = [decision(f"dec_{i}", text=f"text {i}", created_at=1000.0 + i, **ROUTED) for i in range(4)]
    rows[3] = replace(rows[3], status=503, cost_usd=None, reason="pinned")
    write_batch(engine, rows, [feedback("dec_0", 1.0), feedback("dec_1", 0.25)])
    yield engine
    engine.dispose()


@pytest.fixture
def router(tmp_path, engine):
    """Runs `router` with a router.yaml whose store is `engine`."""
    settings = tmp_path / "router.yaml"
    settings.write_text("fleet: [{name: tally, target: replay/tally}]\nstore: {url: sqlite:///router.db}\n")

    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "--config", str(settings)], env={"COLUMNS": "200"})

    return run


def test_the_harness_reads_the_same_log_from_the_export_as_from_the_store(router, tmp_path):
    out = tmp_path / "log.parquet"
    done = router("decisions", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "wrote 4 decisions" in done.output
    rows = pq.read_table(out).to_pylist()
    assert [row["id"] for row in rows] == ["dec_3", "dec_2", "dec_1", "dec_0"]
    reading = harness._Reading()
    for row in reversed(rows):
        reading.add(type("Row", (), row))
    found, stored = reading.traffic(), harness.read_traffic(str(tmp_path / "router.db"))
    assert (found.decisions, found.models) == (stored.decisions, stored.models)
    assert found.log.scores.tolist() == stored.log.scores.tolist() == [1.0, 0.25]
    assert found.log.propensities.tolist() == stored.log.propensities.tolist()
    assert found.log.costs.tolist() == stored.log.costs.tolist()


def test_an_export_takes_filters_and_says_what_it_cannot_read(router, tmp_path):
    out = tmp_path / "log.parquet"
    assert router("decisions", "--out", str(out), "--status", "2xx", "--since", "1001").exit_code == 0
    assert pq.read_table(out, columns=["id"]).to_pylist() == [{"id": "dec_2"}, {"id": "dec_1"}]
    refused = router("decisions", "--out", str(out), "--since", "yesterday")
    assert refused.exit_code == 2
    assert "--since" in refused.output
    missing = router("decisions", "--out", str(tmp_path / "no" / "log.parquet"))
    assert missing.exit_code == 1
    assert "cannot be written" in missing.output


def test_an_export_of_nothing_is_a_file_without_rows(router, tmp_path):
    out = tmp_path / "log.parquet"
    assert router("decisions", "--out", str(out), "--key", "nobody").exit_code == 0
    assert pq.read_table(out).num_rows == 0


def test_tail_shows_the_last_lines_and_then_what_comes(router, engine, monkeypatch):
    looks = iter([None, decision("dec_new", created_at=999.0)])  # began before all others, ended after them

    def sleep(seconds):
        row = next(looks, "over")
        if row == "over":
            raise KeyboardInterrupt
        if row is not None:
            write_batch(engine, [row], [])

    monkeypatch.setattr(decision_commands.time, "sleep", sleep)
    done = router("tail", "--lines", "2")
    assert done.exit_code == 0, done.output
    assert [line.split()[-1] for line in done.output.splitlines()] == ["dec_2", "dec_3", "dec_new"]
    assert "200 small" in done.output
    assert "12→34" in done.output


def test_tail_asks_a_running_gateway_with_its_key(router, monkeypatch):
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(401, json={"error": {"message": "a valid key is needed"}})

    client = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **options: client(**options, transport=httpx.MockTransport(answer))
    )
    monkeypatch.setenv("ROUTER_API_KEY", "sk-v0-test")
    done = router("tail", "--url", "http://gateway")
    assert done.exit_code == 1
    assert "a valid key is needed" in done.output
    assert asked[0].url.path == "/v1/router/decisions"
    assert asked[0].headers["authorization"] == "Bearer sk-v0-test"
