from __future__ import annotations

import pytest

from benchmarks.load.bars import DEFAULTS, judged
from benchmarks.load.report import GatewayEntry, LoadReport, Measured, Ratio, Scenario
from benchmarks.load.settings import settings


def scenario(ours, theirs=None):
    """Requests/s, CPU ms, added p50 and added first token p50 of one or two gateways."""

    def measured(figures):
        rate, cpu, added, first = figures
        return Measured.model_construct(
            requests_per_s=rate, cpu_ms=cpu, added_ms={"p50": added}, added_first_token_ms={"p50": first}
        )

    both = {"gateway": measured(ours)} | ({"versus": measured(theirs)} if theirs else {})
    named = {"requests/s": 0, "CPU ms/request": 1}
    ratios = {
        name: Ratio(median=ours[i] / theirs[i], low=0, high=0, rounds=[])
        for name, i in named.items()
        if theirs
    }
    return Scenario.model_construct(gateways=both, ratios=ratios)


def report(*scenarios, **entries):
    return LoadReport.model_construct(scenarios=list(scenarios), gateways=entries)


def entry(starts, ready, idle):
    return GatewayEntry.model_construct(cold_start_s=starts, ready_s=ready, idle_mib=idle)


def test_every_bar_is_judged_by_its_own_figure():
    named = report(
        scenario((900, 0.6, 0.9, 1), (90, 9.0, 10, 1)), scenario((1200, 0.8, 5, 1), (100, 9.0, 90, 1))
    )
    streamed = report(scenario((90, 5, 3, 2.5), (8, 90, 30, 12)), scenario((150, 5, 3, 9), (8, 90, 30, 99)))
    auto = report(
        scenario((70, 9, 16, 1), (90, 9, 10, 1)),
        scenario((120, 9, 90, 1), (100, 9, 90, 1)),
        gateway=entry([2.0, 2.2, 9.0], [4, 5, 5.5], 650),
        versus=entry([5.4], [], 330),
    )
    found = {bar.what.split(",")[0] + str(i): bar for i, bar in enumerate(judged(named, streamed, auto, 116))}
    assert [bar.figure for bar in found.values()] == pytest.approx(
        [12, 0.8 / 9, 0.9, 18.75, 2.5, 16, 1.2, 2.2, 5, 650, 116]
    )
    missed = [name for name, bar in found.items() if not bar.reached]
    assert missed == ["streams of 200 chunks3", "auto5"]
    assert (found["named0"].ours, found["named0"].theirs) == (1200, 100)


def test_without_another_gateway_the_ratios_are_unknown():
    alone = report(
        scenario((900, 0.6, 0.9, 1)), scenario((900, 0.6, 0.9, 1)), gateway=entry([2.0], [4.0], None)
    )
    found = judged(alone, alone, alone, None)
    assert [bar.reached for bar in found] == [
        None,
        None,
        True,
        None,
        True,
        True,
        None,
        True,
        True,
        None,
        None,
    ]


def test_its_measurements_are_valid_settings():
    chosen = settings(
        DEFAULTS | {"duration": 1.0, "rounds": 1, "concurrency": "1,32", "model": "auto", "contexts": 8}
    )
    assert [loop.concurrency for loop in chosen.loops] == [1, 32]
