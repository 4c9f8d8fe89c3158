from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import ABILITIES, Prices, Usage
from fleet.prices import cost_usd, known_abilities, known_context_window, known_prices


def test_a_million_tokens_each_cost_the_listed_prices():
    assert cost_usd(Prices(2.5, 10), Usage(1_000_000, 1_000_000)) == pytest.approx(12.5)


def test_cached_tokens_cost_their_own_price():
    prices = Prices(input=2, output=0, cached_input=0.5)
    assert cost_usd(prices, Usage(1_000_000, 0, cached_tokens=400_000)) == pytest.approx(1.2 + 0.2)


def test_a_free_cache_is_free():
    assert cost_usd(Prices(2, 0, cached_input=0), Usage(100, 0, cached_tokens=100)) == 0


def test_without_a_cached_price_cached_tokens_cost_as_much_as_others():
    assert cost_usd(Prices(2, 0), Usage(100, 0, cached_tokens=60)) == cost_usd(Prices(2, 0), Usage(100, 0))


def test_more_cached_tokens_than_input_do_not_earn_money():
    assert cost_usd(Prices(2, 0, 1), Usage(100, 0, cached_tokens=500)) == pytest.approx(100e-6)


EVERY_KIND = Prices(1, 10, cached_input=0.1, cache_write=1.25, reasoning=5, audio_input=30, audio_output=60)


def test_every_kind_of_token_costs_its_own_price():
    usage = Usage(
        1000,
        500,
        300,
        cache_write_tokens=200,
        reasoning_tokens=100,
        audio_input_tokens=50,
        audio_output_tokens=40,
    )
    by_hand = 450 * 1 + 300 * 0.1 + 200 * 1.25 + 50 * 30 + 360 * 10 + 100 * 5 + 40 * 60
    assert cost_usd(EVERY_KIND, usage) == pytest.approx(by_hand / 1e6)


def test_a_kind_without_a_price_costs_as_the_rest_does():
    usage = Usage(100, 50, 30, False, 20, 10, 5, 4)
    assert cost_usd(Prices(2, 8), usage) == pytest.approx((100 * 2 + 50 * 8) / 1e6)


counts = st.integers(0, 10_000)
prices = st.floats(0, 100)
optional = st.none() | prices


@given(
    usage=st.builds(Usage, counts, counts, counts, st.just(False), counts, counts, counts, counts),
    prices=st.builds(Prices, prices, prices, optional, optional, optional, optional, optional),
)
def test_no_token_is_charged_twice_or_below_the_cheapest_rate(usage, prices):
    sent = [prices.input, prices.cached_input, prices.cache_write, prices.audio_input]
    received = [prices.output, prices.reasoning, prices.audio_output]

    def bound(of):
        return sum(
            tokens * of(each for each in rates if each is not None)
            for tokens, rates in ((usage.input_tokens, sent), (usage.output_tokens, received))
        )

    assert bound(min) / 1e6 <= cost_usd(prices, usage) * (1 + 1e-9) + 1e-12
    assert cost_usd(prices, usage) <= bound(max) / 1e6 * (1 + 1e-9) + 1e-12


def test_the_map_knows_what_writing_to_a_cache_costs():
    prices = known_prices("anthropic/claude-haiku-4-5")
    assert prices is not None
    assert prices.cache_write == pytest.approx(1.25 * prices.input)


@pytest.mark.parametrize(
    "target", ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"]
)
def test_litellms_map_knows_public_models_with_and_without_their_prefix(target):
    prices = known_prices(target)
    assert prices is not None
    assert 0 < prices.input < prices.output < 100
    assert prices.cached_input is not None
    assert prices.cached_input < prices.input
    assert (known_context_window(target) or 0) >= 100_000
    assert {"tools", "vision", "json"} <= known_abilities(target) <= ABILITIES


def test_prices_are_per_million():
    assert known_prices("openai/gpt-4o-mini") == Prices(0.15, 0.6, 0.075)


def test_logprobs_are_known_of_openai_models_that_do_not_reason():
    assert "logprobs" in known_abilities("openai/gpt-4o-mini")
    assert "logprobs" not in known_abilities("openai/gpt-5-mini")


@pytest.mark.parametrize(
    "target", ["openai/no-such-model", "groq/gpt-4o-mini", "replay/sage", "hosted_vllm/x"]
)
def test_what_the_map_does_not_list_under_the_provider_is_unknown(target):
    assert known_prices(target) is None
    assert known_context_window(target) is None
    assert known_abilities(target) == frozenset()


def test_looking_up_prices_and_opening_a_fleet_do_not_import_litellm_or_torch():
    code = (
        "import sys, fleet.fleet, fleet.prices; assert fleet.prices.known_prices('openai/gpt-4o');"
        "fleet.fleet.Fleet.open([]);"
        "print(sorted({'litellm', 'torch', 'numpy', 'openai'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_map_tells_who_makes_embeddings():
    assert "embeddings" in known_abilities("openai/text-embedding-3-small")
    assert "embeddings" not in known_abilities("openai/gpt-4o")
