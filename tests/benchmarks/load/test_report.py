from __future__ import annotations

import os

import pytest

from benchmarks.load import report
from benchmarks.load.drive import Load
from benchmarks.load.report import LoadReport, Round, a_round, measured, ratios, spread
from benchmarks.load.tables import notes


def round_of(latencies, **fields):
    load = Load(elapsed_s=2.0, latency_ms=list(latencies), cpu_load_s=0.0)
    for name, value in fields.items():
        setattr(load, name, value)
    return load, a_round(load, None, None, 0)


def test_percentiles_and_what_a_gateway_adds():
    assert spread([]) is None
    found = spread(list(range(101)))
    assert (found.count, found.mean, found.p50, found.p95, found.p99) == (101, 50, 50, 95, 99)
    assert report.added(found, spread([1.0])) == {"p50": 49, "p95": 94, "p99": 98}
    assert report.added(None, found) is None


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
    assert not report.contended(None)
    assert not report.contended(0.01 * cores)
    assert report.contended(0.5 * cores)
    load, quiet = round_of([1.0], other_cores=0.0)
    busy = Round(**{**quiet.model_dump(), "other_cores": 0.5 * cores, "reached_mock": 3, "sent": 1})
    scenario = report.Scenario(
        title="closed", loop="closed", concurrency=1, rate=None, stream=False, ratios={},
        direct=measured([load], [quiet]), gateways={"gateway": measured([load], [busy])},
    )  # fmt: skip
    found = LoadReport(
        created="", versions={}, system="", cores=cores, prompt_tokens=1, same_prompt=False, gateways={},
        upstream=report.Upstream(tokens=1, first_byte_ms=0, chunk_ms=0), scenarios=[scenario],
    )  # fmt: skip
    said = "\n".join(notes(found))
    assert f"kept up to {0.5 * cores:.2f} of {cores} cores busy" in said
    assert "1 chats asked for, 3 reached the mock" in said
    assert not found.scenarios[0].direct.contended
