"""
What a reply costs: what it may cost before it is asked for, what it did cost, and how its client learns that.

Costs come from the tokens that upstreams report, at the prices of router.yaml. Where an upstream reports none, the
tokens of what it wrote are counted here, and the cost is marked as an estimate.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from fleet.model import Usage
from fleet.prices import cost_usd

if TYPE_CHECKING:
    from fleet.model import Model, Prices
    from fleet.usage import ReplyReader
    from router.features import Features
    from router.tokens import TokenCounter

ASSUMED_OUTPUT_TOKENS = 1024  # reserved for a reply whose length nobody limits
AT_ONCE = 16_384  # characters: more is counted in a thread


@dataclass(frozen=True)
class Bill:
    """What a reply used and cost. Without usage nobody has answered, and nothing is owed."""

    usage: Usage | None
    cost_usd: float | None

    @property
    def headers(self) -> dict[str, str]:
        """x-router-cost-usd, and x-router-cost-estimated where it is our estimate."""
        if self.usage is None or self.cost_usd is None:
            return {}
        found = {"x-router-cost-usd": decimal(self.cost_usd)}
        return found | {"x-router-cost-estimated": "true"} if self.usage.estimated else found

    def event(self, reader: ReplyReader) -> bytes:
        """The usage chunk of a stream: what the upstream counted, or we did, with `cost_usd` beside it."""
        assert self.usage is not None
        opening = {"object": "chat.completion.chunk", **reader.opening}
        body = {**opening, "choices": [], "usage": self._told(reader)}
        return b"data: " + orjson.dumps(body) + b"\n\n"

    def _told(self, reader: ReplyReader) -> dict[str, Any]:
        usage = self.usage
        assert usage is not None
        told = dict(reader.counted) or {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }
        told["cost_usd"] = self.cost_usd
        if usage.estimated:
            told["estimated"] = True
        return told


async def bill(
    model: Model, reader: ReplyReader, features: Features, tokens: TokenCounter, *, free: bool = False
) -> Bill:
    """A reply's bill, as far as it has come. `free`: nobody was asked, the reply is from the cache."""
    usage = reader.usage
    if usage is None:
        texts, scale = reader.output_texts()
        if sum(map(len, texts)) > AT_ONCE:
            counted = await asyncio.to_thread(tokens.now, texts)
        else:
            counted = tokens.now(texts)
        usage = _estimate(model, features, tokens, counted * scale)
    return Bill(usage, 0.0 if free else cost_usd(model.prices, usage))


def bill_now(
    model: Model, reader: ReplyReader, features: Features, tokens: TokenCounter, *, free: bool = False
) -> Bill:
    """The same without waiting, for a reply that was left or broke off: a long one is counted roughly."""
    usage = reader.usage
    if usage is None:
        texts, scale = reader.output_texts()
        long = sum(map(len, texts)) > AT_ONCE
        counted = reader.output_tokens_guess if long else tokens.now(texts) * scale
        usage = _estimate(model, features, tokens, counted)
    return Bill(usage, 0.0 if free else cost_usd(model.prices, usage))


def most(model: Model, features: Features, input_tokens: int) -> tuple[int, float]:
    """
    Tokens and USD that a request may use at the most, as far as that can be known: its output limit, or so many
    tokens as are assumed without one; every prompt token at the dearest rate.
    """
    limit = features.output_tokens
    written = ASSUMED_OUTPUT_TOKENS if limit is None else limit
    if model.max_output_tokens is not None:
        written = min(written, model.max_output_tokens)
    written *= features.choices
    prices = model.prices
    usd = (input_tokens * _dearest_input(prices) + written * _dearest_output(prices)) / 1e6
    return input_tokens + written, usd


def decimal(usd: float) -> str:
    """An amount without an exponent and without trailing zeros: 0.000015."""
    return f"{usd:.15f}".rstrip("0").rstrip(".")


def _estimate(model: Model, features: Features, tokens: TokenCounter, output_tokens: float) -> Usage:
    return Usage(
        tokens.of_model(model.name, features.input_tokens),
        tokens.of_model(model.name, round(output_tokens)),
        estimated=True,
    )


def _dearest_input(prices: Prices) -> float:
    return max(prices.input, prices.cache_write or 0.0, prices.audio_input or 0.0)


def _dearest_output(prices: Prices) -> float:
    return max(prices.output, prices.reasoning or 0.0, prices.audio_output or 0.0)
