"""Who may answer: lists, regions, abilities, windows, cost; and what a caller is told when nobody may."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Model, Prices
from router.config import Preset
from router.eligibility import Rule, affordable_output, cost_limit, too_dear, unfit, unlisted
from router.features import Features
from tests.router.fakes import model

NAMES = ("a", "b", "c")
FLEET = [
    Model("a", "openai/a", Prices(1, 2), context_window=100, regions=frozenset({"eu"})),
    Model("b", "openai/b", Prices(10, 20), regions=frozenset({"us"})),
    Model("c", "openai/c", Prices(0, 0)),
]
HI = Features("hi", frozenset(), 10, None)


@given(
    allow=st.none() | st.lists(st.sampled_from(NAMES)).map(tuple),
    deny=st.lists(st.sampled_from(NAMES)).map(tuple),
)
def test_a_model_is_in_exactly_if_every_rule_lets_it_in(allow, deny):
    rules = [Rule("one", allow=allow), Rule("two", deny=deny)]
    expected = {name for name in NAMES if name not in deny and (allow is None or name in allow)}
    assert set(NAMES) - set(unlisted(FLEET, rules)) == expected


def test_a_reason_names_the_party():
    reasons = unlisted(FLEET, [Rule("the key", deny=("a",)), Rule("auto-eu", regions=("eu",))])
    assert reasons == {
        "a": "is excluded by the key",
        "b": "is tagged with us, and auto-eu asks for eu",
        "c": "is tagged with no region, and auto-eu asks for eu",
    }


def test_the_window_is_held_against_tokens_as_the_model_counts_them():
    features = replace(HI, input_tokens=80, output_tokens=10)
    assert unfit(FLEET, features) == {}
    swollen = unfit(FLEET, features, lambda name, tokens: tokens * 2 if name == "a" else tokens)
    assert swollen == {"a": "context window of 100 tokens is too small for about 170"}


def test_the_strictest_cost_limit_counts_and_a_budget_has_what_it_has_left():
    rules = [Rule("x", max_cost_usd=0.5), Rule("y", max_cost_usd=0.2), Rule("the key", left_usd=0.1)]
    assert cost_limit(rules) == 0.2
    assert cost_limit([]) is None
    reasons = too_dear({"a": 0.05, "b": 0.15, "c": 0.3}, rules)
    assert set(reasons) == {"b", "c"}
    assert "the key has 0.1 left" in reasons["b"]


@given(
    tokens=st.integers(1, 5000),
    choices=st.integers(1, 4),
    limit=st.floats(1e-4, 1),
    price=st.floats(0.1, 100),
)
def test_an_affordable_reply_keeps_the_cost_within_the_limit(tokens, choices, limit, price):
    dear = Model("dear", "openai/dear", Prices(price / 4, price))
    spare = limit - dear.prices.input * tokens / 1e6
    output = affordable_output(dear, replace(HI, choices=choices), tokens, limit)
    if spare > price * choices / 1e6:
        assert output * choices * price / 1e6 <= spare * (1 + 1e-9)
        assert (output + 1) * choices * price / 1e6 > spare * (1 - 1e-9)


def test_no_limit_is_sent_where_another_is_tighter():
    assert affordable_output(FLEET[1], replace(HI, output_tokens=50), 10, 1.0) is None
    assert affordable_output(replace(FLEET[1], max_output_tokens=100), HI, 10, 1.0) is None
    assert affordable_output(FLEET[2], HI, 10, 1.0) is None
    assert affordable_output(FLEET[1], HI, 10, 0.0021) == 100


# ----- through the gateway


TAGGED = (
    model("strong", 10.0, regions=frozenset({"us"}), abilities=frozenset({"tools"})),
    model("weak", 1.0, regions=frozenset({"eu"}), context_window=200),
)


async def test_a_request_excludes_models_and_asks_for_a_region(start):
    async with start(fleet=TAGGED) as running:
        first = await running.chat(router={"exclude": ["weak"]})
        second = await running.chat(router={"regions": ["eu", "ch"]})
        nobody = await running.chat(router={"regions": ["ch"]})
    assert first.headers["x-router-model"] == "strong"
    assert second.headers["x-router-model"] == "weak"
    assert nobody.status_code == 400
    error = nobody.json()["error"]
    assert error["code"] == "no_candidate"
    for name in ("strong", "weak"):
        assert f"{name}: is tagged with" in error["message"]


async def test_nobody_left_is_told_each_models_own_reason(start):
    body = {"tools": [{"type": "function", "function": {"name": "f"}}], "router": {"exclude": ["strong"]}}
    async with start(fleet=TAGGED) as running:
        reply = await running.chat(**body)
        assert not running.upstream.asked
    message = reply.json()["error"]["message"]
    assert reply.status_code == 400
    assert "strong: is excluded by router" in message
    assert "weak: lacks tools" in message


async def test_a_named_model_obeys_rules_too_but_its_abilities_are_the_callers_concern(start):
    presets = {"eu-only": Preset(regions=("eu",))}
    async with start(fleet=TAGGED, presets=presets, regions=("eu",)) as running:
        refused = await running.chat("strong")
        taken = await running.chat("weak", tools=[{"type": "function"}])
        routed = await running.chat("eu-only")
    assert refused.status_code == 400
    assert "strong: is tagged with us, and router.yaml asks for eu" in refused.json()["error"]["message"]
    assert taken.status_code == 200
    assert routed.headers["x-router-model"] == "weak"


async def test_max_cost_leaves_out_the_dear_and_bounds_the_reply_of_the_rest(start):
    limit = 5e-5  # five tokens, as here, cost strong about 9e-5 USD and weak a tenth of that
    async with start(fleet=TAGGED, beta=1.0) as running:
        await running.teach(strong=1.0, weak=0.0)
        reply = await running.chat(router={"max_cost_usd": limit})
        _, sent = running.upstream.asked[-1]
        none = await running.chat(router={"max_cost_usd": 1e-7})
        own = await running.chat(max_completion_tokens=7, router={"max_cost_usd": limit})
        _, own_sent = running.upstream.asked[-1]
    assert reply.headers["x-router-model"] == "weak"
    assert "router" not in sent
    assert 40 < sent["max_tokens"] < 50
    assert sent["max_tokens"] * 1.0 / 1e6 <= limit
    assert none.status_code == 400
    assert "above max_cost_usd 1e-07" in none.json()["error"]["message"]
    assert own.status_code == 200
    assert own_sent["max_completion_tokens"] == 7
    assert "max_tokens" not in own_sent


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"min_success": 1.1}, "router.min_success"),
        ({"min_success": True}, "router.min_success"),
        ({"max_cost_usd": 0}, "router.max_cost_usd"),
        ({"exclude": "weak"}, "router.exclude"),
        ({"exclude": ["nobody"]}, "router.exclude"),
        ({"regions": []}, "router.regions"),
        ({"nonsense": 1}, "router.nonsense"),
    ],
)
async def test_a_wrong_option_is_named(start, options, field):
    async with start() as running:
        reply = await running.chat(router=options)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == field
