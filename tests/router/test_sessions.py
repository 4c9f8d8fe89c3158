"""Conversations stay with their model, unless another is worth more than the provider's cache and a margin."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Model, Prices
from router.call import understand
from router.decide import Incumbent, decide
from router.sessions import Sessions, SessionSettings, incumbent, keys_of, session_name
from tests.router.fakes import Fails, Says, model

FIRST = {"role": "user", "content": "two and two?"}
ANSWER = {"role": "assistant", "content": "four"}
MORE = {"role": "user", "content": "and three?"}
CACHING = Model("weak", "openai/weak", Prices(10, 10, cached_input=1))


def call(*messages, session=None, caller=None, name="auto", **fields):
    body = {"model": name, "messages": list(messages) or [FIRST], **fields}
    return replace(understand(body, None), session=session, caller=caller)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(clock)


def test_the_next_request_is_found_by_the_history_that_it_repeats(sessions):
    sessions.answered(keys_of(call(FIRST)), CACHING, 1000)
    turn = sessions.last(keys_of(call(FIRST, ANSWER, MORE)), 60)
    assert (turn.model, turn.provider, turn.input_tokens) == ("weak", "openai", 1000)
    result = {"role": "tool", "tool_call_id": "1", "content": "4"}
    assert sessions.last(keys_of(call(FIRST, ANSWER, result)), 60) == turn
    assert sessions.last(keys_of(call(FIRST)), 60) is None  # the same question again is another conversation
    assert sessions.last(keys_of(call(MORE, ANSWER, MORE)), 60) is None


@pytest.mark.parametrize(
    "named",
    [
        {"session": "s1"},
        {"metadata": {"user_id": "u1"}},
        {"prompt_cache_key": "k1"},
    ],
)
def test_a_named_conversation_is_found_by_its_name_which_says_nothing_of_the_cache(sessions, named):
    sessions.answered(keys_of(call(FIRST, **named)), CACHING, 1000)
    turn = sessions.last(keys_of(call(MORE, **named)), 60)
    assert (turn.model, turn.input_tokens) == ("weak", 0)
    assert sessions.last(keys_of(call(FIRST, ANSWER, MORE, **named)), 60).input_tokens == 1000
    assert sessions.last(keys_of(call(MORE, caller=2, **named)), 60) is None  # another key's
    assert sessions.last(keys_of(call(MORE, name="auto-best", **named)), 60) is None


def test_a_conversation_is_forgotten_after_a_while(sessions, clock):
    sessions.answered(keys_of(call(FIRST)), CACHING, 1000)
    clock.now += 61
    assert sessions.last(keys_of(call(FIRST, ANSWER, MORE)), 60) is None


def test_our_header_goes_before_those_of_agents():
    assert session_name([(b"session_id", b"b"), (b"x-session-id", b"a")]) == "a"
    assert session_name([(b"x-claude-code-session-id", b"c"), (b"host", b"x")]) == "c"
    assert session_name([(b"x-session-id", b"")]) is None


def test_the_cache_is_worth_the_difference_of_the_prices_on_what_was_read_before(sessions):
    sessions.answered(keys_of(call(FIRST)), CACHING, 1000)
    turn = sessions.last(keys_of(call(FIRST, ANSWER, MORE)), 60)
    found = incumbent(turn, {"weak": CACHING}, 1200, SessionSettings(0.05), firm=False)
    assert found.saved_usd == pytest.approx(1000 * 9 / 1e6)
    plain = replace(CACHING, prices=Prices(10, 10))
    assert incumbent(turn, {"weak": plain}, 1200, SessionSettings(), firm=False).saved_usd == 0
    assert incumbent(turn, {}, 1200, SessionSettings(), firm=False) is None


# ----- the decision


def choose(values, costs, current, beta=0.5, bar=None, exploration=0.0):
    return decide(
        values, costs, {}, beta, exploration, Random(0), cost_scale=0.01, bar=bar, incumbent=current
    )


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.3))
def test_it_stays_exactly_while_the_gain_is_below_the_margin(value, other, beta, margin):
    costs = {"here": 0.004, "there": 0.006}
    decision = choose({"here": value, "there": other}, costs, Incumbent("here", 0.0, margin), beta)
    score = {c.model: c.score for c in decision.candidates}
    gain = score["there"] - score["here"]
    if abs(gain - margin) > 1e-9:
        assert decision.chosen == ("there" if gain > max(margin, 0) else "here")
    assert decision.propensity == 1.0


def test_a_cache_that_is_lost_weighs_against_leaving():
    values, full = {"here": 0.6, "there": 0.75}, {"here": 0.008, "there": 0.008}
    assert choose(values, full, Incumbent("here", 0.0, 0.02)).chosen == "there"
    cached = full | {"here": 0.003}  # the saved 0.005 USD are half the scale
    assert choose(values, cached, Incumbent("here", 0.005, 0.02)).chosen == "here"


def test_costs_beyond_the_scale_still_count_in_a_long_conversation():
    values, costs = {"here": 0.70, "there": 0.80}, {"here": 0.02, "there": 0.20}
    decision = choose(values, costs, Incumbent("here", 0.18, 0.02))
    assert decision.candidates[0].model == "there"  # c̃ is 1 for both
    assert (decision.chosen, decision.reason, decision.fallbacks) == ("here", "session", ("there",))


def test_a_firm_incumbent_stays_whatever_others_are_worth():
    current = Incumbent("here", 0.0, 0.0, firm=True)
    assert choose({"here": 0.1, "there": 0.9}, {"here": 0.01, "there": 0.0}, current).chosen == "here"


def test_with_a_bar_it_stays_while_it_is_good_and_cheap_enough():
    current = Incumbent("here", 0.0, 0.05)
    costs = {"here": 0.010, "there": 0.0098}
    assert choose({"here": 0.82, "there": 0.9}, costs, current, bar=0.85).chosen == "here"
    assert choose({"here": 0.78, "there": 0.9}, costs, current, bar=0.85).chosen == "there"
    assert choose({"here": 0.9, "there": 0.9}, costs | {"there": 0.005}, current, bar=0.85).chosen == "there"


def test_nothing_is_explored_within_a_conversation():
    for _ in range(20):
        decision = choose(
            {"here": 0.5, "there": 0.5}, {"here": 0.0, "there": 0.0}, Incumbent("here", 0, 0.1), exploration=1
        )
        assert (decision.chosen, decision.propensity) == ("here", 1.0)


# ----- through the gateway


async def test_a_conversation_stays_where_it_is_until_another_is_clearly_better(start):
    async with start(beta=1.0) as running:
        await running.teach(strong=0.6, middle=0.58, weak=0.1)
        first = await running.chat(messages=[FIRST])
        answer = first.json()["choices"][0]["message"]
        await running.teach(
            middle=0.7
        )  # (0.58 + 0.7) / 2 = 0.64 against 0.6: better, by less than the margin
        second = await running.chat(messages=[FIRST, answer, MORE])
        other = await running.chat(messages=[MORE])
        await running.teach(middle=1.0, strong=0.0)
        third = await running.chat(messages=[FIRST, answer, MORE, answer, MORE])
    told = [
        (r.headers["x-router-model"], r.headers["x-router-reason"]) for r in (first, second, other, third)
    ]
    assert told == [
        ("strong", "best_score"),
        ("strong", "session"),
        ("middle", "best_score"),
        ("middle", "best_score"),
    ]


async def test_an_sdks_session_header_keeps_a_conversation_together(serve):
    async with (
        serve(beta=0.0) as (url, upstream),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as sdk,
    ):
        session = {"x-session-id": "s1"}
        named = await sdk.chat.completions.create(model="auto", messages=[FIRST], extra_headers=session)
        assert named.model == "weak"
        upstream.script["weak"] = Fails(503)
        raw = sdk.chat.completions.with_raw_response
        moved = await raw.create(model="auto", messages=[FIRST, ANSWER, MORE], extra_headers=session)
        upstream.script["weak"] = Says()
        stays = await raw.create(
            model="auto", messages=[MORE], extra_headers=session | {"x-router-beta": "0.99"}
        )
    assert moved.headers["x-router-model"] == "middle"  # a fallback: the conversation is there now
    assert (stays.headers["x-router-model"], stays.headers["x-router-reason"]) == ("middle", "session")


async def test_sealed_thoughts_of_another_provider_are_left_behind_on_the_way(start):
    thought = {**ANSWER, "reasoning_content": "hm", "thinking_blocks": [{"signature": "s"}]}
    fleet = (model("one", 1.0), replace(model("two", 2.0), target="groq/two"))
    async with start(fleet=fleet, beta=0.0) as running:
        first = await running.chat(messages=[FIRST])
        assert first.headers["x-router-model"] == "one"
        await running.chat(messages=[FIRST, thought, MORE])
        kept = running.upstream.asked[-1]
        running.upstream.script["one"] = Fails(503)
        await running.chat(messages=[FIRST, thought, MORE])
        moved = running.upstream.asked[-1]
    assert kept == ("one", {"model": "auto", "messages": [FIRST, thought, MORE]})
    assert moved[0] == "two"
    assert moved[1]["messages"] == [FIRST, ANSWER, MORE]
