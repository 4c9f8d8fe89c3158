"""POST /v1/router/explain."""

from __future__ import annotations

import math

import pytest

from router.value.amounts import Amounts
from tests.router.fakes import FakeScorer, model
from tests.router.running import ASK


async def explain(running, name="auto", **fields):
    return await running.http.post("/v1/router/explain", json={"model": name, "messages": ASK, **fields})


async def test_every_candidate_is_shown_in_rank_with_what_decided(start):
    fleet = (model("strong", 10.0), model("weak", 1.0), model("short", 1.0, context_window=1))
    async with start(fleet=fleet) as running:
        await running.teach(strong=1, weak=0.4)
        asked = len(running.upstream.asked)
        reply = await explain(running, router={"beta": 0.25})
        assert len(running.upstream.asked) == asked
    shown = reply.json()
    assert (shown["beta"], shown["chosen"], shown["reason"]) == (0.25, "weak", "best_score")
    assert [each["model"] for each in shown["candidates"]] == ["weak", "strong", "short"]
    weak, strong, short = shown["candidates"]
    assert (weak["value"], weak["rows"], weak["excluded"]) == (pytest.approx(0.4), 1, None)
    assert strong["expected_cost_usd"] == pytest.approx(10 * weak["expected_cost_usd"])
    # two and two? is 3 tokens by estimate where the upstream counted 10; its replies were 5 tokens long
    assert strong["expected_cost_usd"] == pytest.approx((3 + 5) * 10 / 1e6)
    assert shown["cost_scale"] == pytest.approx((10 + 5) * 10 / 1e6)
    assert weak["cost_norm"] == pytest.approx(weak["expected_cost_usd"] / shown["cost_scale"])
    assert weak["score"] == pytest.approx(0.25 * 0.4 + 0.75 * (1 - weak["cost_norm"]))
    assert short["excluded"].startswith("context window")
    assert short["value"] is short["score"] is short["rows"] is None
    assert set(shown["timings_ms"]) == {"backbone", "adapter", "head", "decide", "total"}


async def test_a_dry_run_never_explores_and_records_nothing(start):
    async with start(exploration=1.0, beta=0.0) as running:
        chosen = {(await explain(running)).json()["chosen"] for _ in range(20)}
        assert not running.gateway.ledger._open
    assert chosen == {"weak"}


async def test_a_named_model_is_chosen_as_named_with_the_others_beside_it(start):
    async with start() as running:
        shown = (await explain(running, "strong")).json()
    assert (shown["chosen"], shown["reason"], len(shown["candidates"])) == ("strong", "pinned", 3)


async def test_a_fleet_without_outcomes_is_told_apart_by_expected_cost(start):
    async with start(beta=0.0) as running:
        shown = (await explain(running)).json()
    assert [each["model"] for each in shown["candidates"]] == ["weak", "middle", "strong"]
    assert [each["cost_norm"] for each in shown["candidates"]] == pytest.approx([0.1, 0.4, 1.0])


async def test_newcomers_keep_their_prices_beside_a_model_with_outcomes(start):
    async with start(beta=0.0) as running:
        await running.teach(weak=1)
        shown = (await explain(running)).json()
    assert [each["model"] for each in shown["candidates"]] == ["weak", "middle", "strong"]
    assert [each["cost_norm"] for each in shown["candidates"]] == pytest.approx([0.1, 0.4, 1.0])


async def test_a_long_answer_is_not_expected_beyond_the_callers_limit(start):
    async with start() as running:
        shown = (await explain(running, max_tokens=7)).json()
    weak = next(each for each in shown["candidates"] if each["model"] == "weak")
    assert weak["expected_cost_usd"] == pytest.approx((3 + 7) * 1.0 / 1e6)


async def test_errors_are_those_of_chat(start):
    async with start() as running:
        assert (await explain(running, router={"beta": 3})).json()["error"]["param"] == "router.beta"
        assert (await explain(running, "none")).status_code == 404


class Foretells(FakeScorer):
    """Foretells that answers are a hundred tokens long, of every model with outcomes."""

    async def fit_amounts(self, histories):
        amounts = Amounts(context=0.5, low=math.log(10), span=math.log(100), factor=1.0)
        return [amounts if len(known) else None for _, known in histories]


async def test_an_answer_costs_what_is_foretold_of_this_prompt_not_the_mean(start):
    async with start(scorer=Foretells()) as running:
        await running.teach(strong=1)
        shown = (await explain(running)).json()
        short = (await explain(running, max_tokens=20)).json()
    cost = {each["model"]: each["expected_cost_usd"] for each in shown["candidates"]}
    assert cost["strong"] == pytest.approx((3 + 100) * 10 / 1e6)
    assert cost["weak"] == pytest.approx((3 + 5) * 1 / 1e6)  # without outcomes: the fleet's mean length
    limited = {each["model"]: each["expected_cost_usd"] for each in short["candidates"]}
    assert limited["strong"] == pytest.approx((3 + 20) * 10 / 1e6)
    values = {each["model"]: each["value"] for each in shown["candidates"]}
    assert values == {"strong": 1.0, "middle": 0.5, "weak": 0.5}
