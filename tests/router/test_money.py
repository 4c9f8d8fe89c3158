from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Prices, Usage
from fleet.prices import cost_usd
from fleet.usage import ReplyReader
from router.features import Features
from router.money import Bill, bill, bill_now, decimal, most
from router.tokens import TokenCounter
from tests.router.fakes import model

FEATURES = Features("hi", frozenset(), 100, None)


@given(st.floats(0, 1e4))
def test_an_amount_is_written_without_exponent(usd):
    written = decimal(usd)
    assert "e" not in written
    assert float(written) == pytest.approx(usd, abs=1e-15)


tokens = st.integers(0, 10_000)
price = st.floats(0, 100)


@given(
    counted=st.tuples(*[tokens] * 7),
    prices=st.builds(Prices, price, price, *[st.none() | price] * 5),
    limit=st.integers(1, 10_000),
)
def test_no_reply_within_its_limits_costs_more_than_was_set_aside(counted, prices, limit):
    read, written, *kinds = counted
    cached, cache_write, reasoning, heard, spoken = kinds
    usage = Usage(read, min(written, limit), cached, False, cache_write, reasoning, heard, spoken)
    asked = model("m", 1.0)
    asked = type(asked)(asked.name, asked.target, prices)
    _, usd = most(asked, Features("", frozenset(), read, limit), read)
    # a provider may charge more for reading from its cache than for reading anew; nobody does
    if prices.cached_input is None or prices.cached_input <= prices.input:
        assert cost_usd(prices, usage) <= usd * (1 + 1e-9)


def test_every_choice_is_set_aside():
    one, three = (Features("", frozenset(), 10, 50, choices) for choices in (1, 3))
    assert most(model("m", 2.0), one, 10) == (60, pytest.approx(120e-6))
    assert most(model("m", 2.0), three, 10) == (160, pytest.approx(320e-6))


def whole(text, usage=None):
    reader = ReplyReader(stream=False, hide_usage=True)
    body = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    reader.feed(orjson.dumps(body | ({"usage": usage} if usage else {})))
    reader.finish()
    return reader


async def test_what_the_upstream_counts_is_charged():
    made = await bill(
        model("m", 2.0),
        whole("four", {"prompt_tokens": 10, "completion_tokens": 5}),
        FEATURES,
        TokenCounter(),
    )
    assert made == Bill(Usage(10, 5), pytest.approx(30e-6))
    assert made.headers == {"x-router-cost-usd": "0.00003"}


async def test_what_it_does_not_count_is_counted_by_a_tokenizer_and_marked():
    counter = TokenCounter()
    counter.load()
    assert counter.exact
    text = "The quick brown fox jumps over the lazy dog."
    made = await bill(model("m", 2.0), whole(text), FEATURES, counter)
    assert made.usage == Usage(100, 10, estimated=True)  # o200k's count, where characters would say 11
    assert made.cost_usd == pytest.approx(220e-6)
    assert made.headers["x-router-cost-estimated"] == "true"
    assert bill_now(model("m", 2.0), whole(text), FEATURES, counter) == made


async def test_a_reply_from_the_cache_costs_nothing():
    made = await bill(model("m", 2.0), whole("four"), FEATURES, TokenCounter(), free=True)
    assert made.cost_usd == 0.0


def test_nobodys_reply_costs_nothing_and_says_nothing():
    assert Bill(None, None).headers == {}


def test_the_usage_chunk_repeats_the_upstreams_words_and_adds_the_cost():
    reader = ReplyReader(stream=True, hide_usage=True)
    reader.feed(
        b'data: {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", '
        b'"choices": [{"delta": {"content": "x"}}]}\n\n'
    )
    usage = b'{"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "vendor": {"a": 1}}'
    reader.feed(b'data: {"id": "c1", "choices": [], "usage": ' + usage + b"}\n\n")
    said = orjson.loads(Bill(reader.usage, 0.25).event(reader).removeprefix(b"data: "))
    assert said == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [],
        "usage": {**orjson.loads(usage), "cost_usd": 0.25},
    }
