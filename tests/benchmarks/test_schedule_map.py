"""The map is the library's own rounds in expectation, and it says where the issue's bars are met and where not."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import schedule_map
from benchmarks.cli import app
from benchmarks.schedule_budget import by_heap
from benchmarks.schedule_map import Line, expected, summarise, variants, write
from router.schedule.budget import greedy
from router.schedule.robust import RobustMixture
from router.schedule.rounds import DEFAULT_LIMITS, DEFAULT_RULE, start


@pytest.fixture(scope="module")
def lines():
    return schedule_map.draw_map(starts=(4,), cells=40)


def of(lines, name):
    [line] = [one for one in lines if one.name == name]
    return {summary.error: summary for summary in summarise(line)}


@pytest.mark.parametrize("name", variants(4))
def test_expectations_are_what_simulated_rounds_come_to(name):
    rule, limits = variants(4)[name]
    rng, prompts, predicted, rate = np.random.default_rng(5), 4_000, 0.8, 0.45
    rounds = start(np.full(prompts, predicted), rule, limits)
    while not rounds.done:
        rounds = rounds.report([2.0 * (rng.random(count) < rate) - 1 for count in rounds.allocation])
    [mse], [rollouts] = expected(rule, limits, predicted, np.array([rate]))
    errors = (rounds.baselines - (2 * rate - 1)) ** 2
    assert errors.mean() == pytest.approx(mse, abs=4 * errors.std() / prompts**0.5)
    assert rounds.counts.mean() == pytest.approx(rollouts, abs=4 * rounds.counts.std() / prompts**0.5 + 1e-9)


def test_known_errors_of_fusion_alone():
    rule, limits = variants(4)["fusion alone"]
    found = [
        float(expected(rule, limits, predicted, np.array([0.6]))[0][0]) for predicted in (0.6, 0.75, 0.95)
    ]
    assert found == pytest.approx([0.075, 0.131, 0.306], abs=0.006)


def test_a_good_prior_halves_the_error_and_more(lines):
    for name in variants(4):
        near = [summary for error, summary in of(lines, name).items() if error <= 0.1]
        assert len(near) == 5
        assert max(summary.ratio for summary in near) <= 0.5


@settings(deadline=None, max_examples=10)
@example(0.42)
@given(st.integers(0, 195).map(lambda of_200: of_200 / 200))
def test_what_rounds_do_unless_told_never_loses_a_tenth_and_halves_the_error_where_the_prior_is_good(error):
    """Pooled over success rates, at any error of the prior; upwards only, as downwards is its mirror image."""
    rates = (np.arange(120) + 0.5) / 120
    rates = rates[rates + error <= 1]
    found = [
        expected(DEFAULT_RULE, DEFAULT_LIMITS, float(rate + error), np.array([rate]))[0][0] for rate in rates
    ]
    ratio = sum(found) / (rates * (1 - rates)).sum()  # 4p(1 − p)/k of k = 4
    assert ratio <= (0.5 if error <= 0.1 else 1.1)


def test_the_map_has_what_rounds_do_unless_told():
    assert variants(4)["V0.5"] == (DEFAULT_RULE, DEFAULT_LIMITS)
    assert variants(4)["mixture"] == (RobustMixture(), DEFAULT_LIMITS)


def test_where_a_tenth_is_lost_and_where_not(lines):
    worst = {name: max(one.ratio for one in of(lines, name).values()) for name in variants(4)}
    assert worst["mixture"] < 1.0
    assert worst["V0.5"] < 1.1
    assert 1.1 < worst["V0.5, fewer"] < 1.3
    assert worst["fusion alone"] > 1.5
    in_the_middle = {name: np.nanmax([one.worst for one in of(lines, name).values()]) for name in worst}
    assert in_the_middle["mixture"] <= 1.1 < 2 < in_the_middle["V0.5"]


def test_summaries_pool_errors_and_count_rollouts():
    line = Line(
        "by hand",
        4,
        np.array([0.0, 0.5, 1.0]),
        np.array([0.5]),
        np.array([[0.5], [0.1], [0.3]]),
        np.full((3, 1), 8.0),
    )
    exact, off = summarise(line)
    assert (exact.error, exact.ratio, exact.worst, exact.ratio_at_equal_rollouts) == pytest.approx(
        (0, 0.4, 0.4, 0.8)
    )
    assert (off.error, off.ratio, off.worst, off.rollouts) == pytest.approx((0.5, 1.6, 2.0, 8))


def test_the_table_and_the_pictures_are_written(lines, tmp_path):
    write(lines, tmp_path / "new")
    with (tmp_path / "new" / "map.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 41 * 39 * len(variants(4))
    assert {row["rule"] for row in rows} == set(variants(4))
    assert float(rows[0]["group_mse"]) == pytest.approx(4 * 0.025 * 0.975 / 4, rel=1e-5)
    made = json.loads((tmp_path / "new" / "map.json").read_text(), parse_constant=pytest.fail)
    assert len(made["summaries"]) == 40 * len(variants(4))
    for name in ("map.png", "safeguard.png"):
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")


def test_the_heap_that_greedy_is_timed_against_is_greedy():
    values = np.random.default_rng(2).random(300)
    np.testing.assert_array_equal(by_heap(values, 300 * 16), greedy(values, 300 * 16))


def test_the_budget_command_compares_every_policy():
    found = CliRunner().invoke(app, ["schedule-budget", "--prompts", "50"])
    assert found.exit_code == 0
    assert all(name in found.output for name in ("greedy", "envelope", "variance", "knapsack", "heap"))
    assert "greedy and the heap differ: 0" in found.output
