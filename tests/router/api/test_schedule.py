from __future__ import annotations

import asyncio
import threading

import pytest

from router.schedule import budget, rounds
from router.schedule.fusion import Shrinkage
from router.schedule.robust import RobustMixture


async def ask(running, what, **body):
    return await running.http.post(f"/v1/schedule/{what}", json=body)


async def test_prompts_of_a_policy_are_predicted_and_budgeted_in_one_call(start):
    async with start() as running:
        context = [{"prompt": "a", "reward": 1}, {"prompt": "b", "reward": 0}]
        asked = {"prompts": ["c", "d", "e"], "context": context}
        reply = (await ask(running, "budget", predict=asked, total=10)).json()
    assert reply["budgets"] == [4, 4, 2]
    assert (reply["total"], reply["method"]) == (10, "greedy")
    assert reply["utility"] == pytest.approx(2 * 4 * 0.5 * (1 - 0.5**3) + 2 * 0.5 * 0.5)
    assert reply["prediction"]["values"] == [0.5, 0.5, 0.5]


async def test_values_of_an_epoch_are_one_call(start):
    async with start() as running:
        reply = await ask(running, "budget", values=[0.5] * 20_000, total=320_000, method="variance")
    assert reply.json()["budgets"] == [16] * 20_000


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"values": [0.5, 1.5], "total": 8}, "values.1"),
        ({"values": [0.5], "total": 500}, "total"),
        ({"values": [0.5], "total": 8, "low": 9, "high": 3}, "low"),
        ({"values": [0.5], "total": 8, "method": "best"}, "method"),
        ({"values": [0.5], "total": 8.5}, "total"),
        ({"total": 8}, None),
        ({"values": [0.5], "rates": [0.5], "total": 8}, None),
        ({"rates": [None, -0.5], "total": 8}, "rates.1"),
        ({"rates": [0.5, "unseen"], "total": 8}, "rates.1"),
        ({"predict": {"prompts": [], "policy": "x"}, "total": 8}, "predict.prompts"),
    ],
)
async def test_a_wrong_budget_is_named(start, body, param):
    async with start() as running:
        reply = await ask(running, "budget", **body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"priors": []}, "priors"),
        ({"priors": [0.5], "limits": {"start": 9, "cap": 4}}, "limits"),
        ({"priors": [0.5], "rule": {"cost": 0}}, "rule.cost"),
        ({"priors": [0.5], "rule": {"reward_range": [1, 0]}}, "rule.reward_range"),
        ({"priors": [0.5], "rule": {"reward_range": [0, 1e-300]}}, "rule.reward_range"),
        ({"priors": [0.5], "limits": {"cap": 129}}, "limits.cap"),
        ({"priors": [0.5], "reports": [[[1, 1, 1]]]}, "reports.0"),
        ({"priors": [0.5], "reports": [[[1, 1, 1, 3]]]}, "reports.0"),
        ({"priors": [0.5], "reports": [[[1, 1, -1, -1]], [[1]]]}, "reports.1"),
    ],
)
async def test_a_wrong_round_is_named(start, body, param):
    async with start() as running:
        reply = await ask(running, "rounds", **body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("rule", "library"),
    [
        ({}, Shrinkage()),
        ({"name": "mixture"}, RobustMixture()),
        ({"name": "mixture", "cost": 0.01}, RobustMixture(cost=0.01)),
        ({"cost": 0.01}, Shrinkage(cost=0.01)),
    ],
)
async def test_a_rule_costs_what_the_library_says_unless_told(start, rule, library):
    priors, rewards = [0.95, 0.5, 0.1], [[-1, -1, -1, 1], [1, 1, 1, 1], [1, 1, 1, -1]]
    expected = rounds.start(priors, library).report(rewards)
    async with start() as running:
        reply = (await ask(running, "rounds", priors=priors, reports=[rewards], rule=rule)).json()
    assert reply["allocation"] == expected.allocation.tolist()
    assert reply["baselines"] == pytest.approx(expected.baselines.tolist())


async def test_an_epochs_budget_leaves_the_gateway_answering(start, monkeypatch):
    entered, leave = threading.Event(), threading.Event()

    def slow(values, total, *, low, high):
        entered.set()
        assert leave.wait(10)
        return budget.uniform(values, total, low=low, high=high)

    monkeypatch.setitem(budget.POLICIES, "greedy", slow)
    async with start() as running:
        asked = [asyncio.create_task(ask(running, "budget", values=[0.5] * 2, total=8)) for _ in range(9)]
        async with asyncio.timeout(10):
            while not entered.is_set() or running.app.state.schedule_gate._here < 9:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        healthy = await running.http.get("/healthz")
        refused = await ask(running, "rounds", priors=[0.5])
        leave.set()
        served = await asyncio.gather(*asked)
    assert healthy.status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_busy")
    assert [each.json()["budgets"] for each in served] == [[4, 4]] * 9
