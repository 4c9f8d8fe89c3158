"""`min_success`: the cheapest that reaches it, a flag where nobody does, and over traffic the target itself."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.min_success import Candidates, Traffic, reach, replay
from router.config import Preset
from router.decide import decide
from router.knobs import Bars

COSTS = {"strong": 0.010, "middle": 0.004, "weak": 0.001}


def choose(values, bar):
    return decide(values, COSTS, {}, 0.5, 0.0, Random(0), cost_scale=0.01, bar=bar)


@given(st.fixed_dictionaries(dict.fromkeys(COSTS, st.floats(0, 1))), st.floats(0, 1))
def test_the_cheapest_that_reaches_the_bar_is_chosen_else_the_best(values, bar):
    decision = choose(values, bar)
    reaching = [name for name in COSTS if values[name] >= bar]
    if reaching:
        assert decision.chosen == min(reaching, key=COSTS.__getitem__)
        assert decision.reason == "min_success"
    else:
        assert values[decision.chosen] == max(values.values())
        assert decision.reason == "min_success_unreached"
    assert {decision.chosen, *decision.fallbacks} == set(COSTS)


@given(st.tuples(*[st.sampled_from([0.2, 0.5, 0.8, None])] * 3), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_a_replay_chooses_as_the_gateway_does(given, bar):
    values = {name: value for name, value in zip(COSTS, given, strict=True) if value is not None}
    predicted = np.array([[0.0 if value is None else value for value in given]])
    scores = np.array([[np.nan if value is None else number for number, value in enumerate(given)]])
    expected = np.array(list(COSTS.values()))
    candidates = Candidates(Traffic(list(COSTS), predicted, scores, expected, expected[None], 0.01), 0)
    assert len(candidates) == len(values)
    if values:
        name = choose(values, bar).chosen
        assert candidates.choose(bar) == (values[name], list(COSTS).index(name), COSTS[name])


def test_fallbacks_reach_the_bar_before_those_that_do_not():
    decision = choose({"strong": 0.9, "middle": 0.3, "weak": 0.8}, 0.7)
    assert (decision.chosen, *decision.fallbacks) == ("weak", "strong", "middle")


def traffic(requests=3000, seed=0, optimism=0.0):
    """Three models of rising success and cost; what is predicted is too high by `optimism`."""
    rng = np.random.default_rng(seed)
    true = np.clip(np.array([0.35, 0.6, 0.85]) + rng.normal(0, 0.15, (requests, 3)), 0.02, 0.98)
    scores = (rng.random((requests, 3)) < true).astype(float)
    expected = np.array([1.0, 4.0, 20.0])
    predicted = np.clip(true + rng.normal(0, 0.05, true.shape) + optimism, 0, 1)
    return Traffic(["a", "b", "c"], predicted, scores, expected, np.tile(expected, (requests, 1)), 20.0)


@pytest.mark.parametrize("target", [0.5, 0.7, 0.8])
@pytest.mark.parametrize(("optimism", "feedback"), [(0.0, 0.0), (0.0, 1.0), (0.08, 1.0), (-0.08, 1.0)])
def test_success_lands_within_two_points_of_a_target_within_reach(target, optimism, feedback):
    replayed = traffic(optimism=optimism)
    low, high = reach(replayed)
    assert low < target < high
    landing = replay(replayed, target, feedback, seed=1)
    assert landing.success == pytest.approx(target, abs=0.02)


def test_landing_on_the_target_is_cheaper_than_a_bar_that_overshoots_it():
    landing = replay(traffic(), 0.7, 1.0, seed=1)
    assert landing.literal_success > 0.73
    assert landing.cost < landing.literal_cost


def follow(bars, replayed, target=0.7):
    """Success of each request of a traffic whose outcomes all come back, and the bar before it."""
    rows = []
    for row in range(len(replayed.success)):
        bar = bars.bar(None, target)
        predicted, score, _ = Candidates(replayed, row).choose(bar)
        bars.decided(None, target, predicted, str(row))
        bars.outcome(str(row), score)
        rows.append((score, bar))
    return np.array(rows).T


def test_a_bar_is_there_soon_stays_where_it_belongs_and_follows_a_change():
    bars = Bars()
    scores, levels = follow(bars, traffic(5000, optimism=0.1))
    assert scores[:500].mean() == pytest.approx(0.7, abs=0.04)
    assert levels[2000:].std() < 0.04  # 0.06 with steps of 0.02 throughout
    changed, _ = follow(bars, traffic(5000, seed=1, optimism=-0.1))
    assert changed.mean() == pytest.approx(0.7, abs=0.02)


def test_a_target_out_of_reach_buys_the_best_and_does_not_wind_up():
    bars = Bars()
    for _ in range(1000):
        bars.decided("all", 0.95, 0.6, None)
    assert bars.bar("all", 0.95) == 1.0
    for _ in range(100):
        bars.decided("all", 0.95, 1.0, None)
    assert bars.bar("all", 0.95) < 1.0
    assert bars.bar("other", 0.95) == 0.95


async def test_a_request_a_preset_and_the_file_can_ask_for_success(start):
    presets = {"good": Preset(min_success=0.8), "cheap": Preset(beta=0.0)}
    async with start(beta=0.0, presets=presets, min_success=0.55) as running:
        await running.teach(strong=0.9, middle=0.6, weak=0.1)
        replies = [
            await running.chat(),
            await running.chat("good"),
            await running.chat("cheap"),
            await running.chat(router={"min_success": 0.95}),
            await running.chat("good", router={"beta": 0.0}),
        ]
    told = [(r.headers["x-router-model"], r.headers["x-router-reason"]) for r in replies]
    assert told == [
        ("middle", "min_success"),
        ("strong", "min_success"),
        ("weak", "best_score"),
        ("strong", "min_success_unreached"),
        ("weak", "best_score"),
    ]


async def test_an_outcome_that_comes_in_teaches_the_bar_of_its_request(start):
    async with start() as running:
        await running.teach(strong=0.9)
        reply = await running.chat(router={"min_success": 0.8})
        [bar] = running.gateway.bars._bars.values()
        assert (bar.outcomes, bar.bias) == (0, 0.0)
        await running.feedback(decision_id=reply.headers["x-router-decision"], score=0.0)
        assert bar.outcomes == 1
        assert bar.bias == pytest.approx(-0.9 / 51)
