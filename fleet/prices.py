"""What a reply costs, and what litellm's bundled cost map knows about a target (without importing litellm)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import orjson

from fleet.model import Prices, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

_COST_MAP: Final = "model_prices_and_context_window_backup.json"
_ABILITY_KEYS: Final = (
    ("supports_function_calling", "tools"),
    ("supports_vision", "vision"),
    ("supports_response_schema", "json"),
    ("supports_audio_input", "audio"),
    ("supports_reasoning", "reasoning"),
)
_PRICE_KEYS: Final = (
    ("cached_input", "cache_read_input_token_cost"),
    ("cache_write", "cache_creation_input_token_cost"),
    ("reasoning", "output_cost_per_reasoning_token"),
    ("audio_input", "input_cost_per_audio_token"),
    ("audio_output", "output_cost_per_audio_token"),
)
_WITH_LOGPROBS: Final = frozenset({"openai", "azure"})  # unless they reason; the map has no key for it


def cost_usd(prices: Prices, usage: Usage) -> float:
    """
    The price of one reply in USD, every kind of token at its own rate.

    Providers report kinds that may overlap (cached audio, say): each token is charged once, as cached before written
    before audio, as reasoning before audio.
    """
    rest = usage.input_tokens
    cached = min(usage.cached_tokens, rest)
    written = min(usage.cache_write_tokens, rest - cached)
    heard = min(usage.audio_input_tokens, rest - cached - written)
    thought = min(usage.reasoning_tokens, usage.output_tokens)
    spoken = min(usage.audio_output_tokens, usage.output_tokens - thought)
    return (
        (rest - cached - written - heard) * prices.input
        + cached * _or(prices.cached_input, prices.input)
        + written * _or(prices.cache_write, prices.input)
        + heard * _or(prices.audio_input, prices.input)
        + (usage.output_tokens - thought - spoken) * prices.output
        + thought * _or(prices.reasoning, prices.output)
        + spoken * _or(prices.audio_output, prices.output)
    ) / 1e6


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price


def known_prices(target: str) -> Prices | None:
    """USD per million tokens of "openai/gpt-4o" as litellm knows them; None for a target it does not know."""
    known = _lookup(target)
    return known.prices if known else None


def known_context_window(target: str) -> int | None:
    """The most prompt tokens a target reads, or None when unknown."""
    known = _lookup(target)
    return known.context_window if known else None


def known_max_output_tokens(target: str) -> int | None:
    """The most tokens a target writes in one reply, or None when unknown."""
    known = _lookup(target)
    return known.max_output_tokens if known else None


def known_abilities(target: str) -> frozenset[str]:
    """What a target can do beyond chat; empty when unknown."""
    known = _lookup(target)
    return known.abilities if known else frozenset()


@dataclass(frozen=True, slots=True)
class _Known:
    provider: str
    prices: Prices
    context_window: int | None
    max_output_tokens: int | None
    abilities: frozenset[str]


def _lookup(target: str) -> _Known | None:
    known = _cost_map()
    if target in known:
        return known[target]
    # "anthropic/claude-haiku-4-5" is listed as "claude-haiku-4-5", with its provider beside it.
    provider, _, name = target.partition("/")
    entry = known.get(name)
    return entry if entry is not None and entry.provider.startswith(provider) else None


@lru_cache(maxsize=1)
def _cost_map() -> Mapping[str, _Known]:
    """The few fields we use, of every entry that has token prices: about 30 ms, once."""
    package = find_spec("litellm")
    if package is None or package.origin is None:
        return {}
    entries = orjson.loads((Path(package.origin).parent / _COST_MAP).read_bytes())
    return {name: known for name, entry in entries.items() if (known := _read(entry)) is not None}


def _read(entry: Mapping[str, Any]) -> _Known | None:
    per_input, per_output = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if not _is_number(per_input) or not _is_number(per_output):
        return None
    window = entry.get("max_input_tokens") or entry.get("max_tokens")
    longest = entry.get("max_output_tokens")
    provider = str(entry.get("litellm_provider", ""))
    abilities = {ability for key, ability in _ABILITY_KEYS if entry.get(key) is True}
    if entry.get("mode") == "embedding":
        abilities.add("embeddings")
    if provider in _WITH_LOGPROBS and "reasoning" not in abilities:
        abilities.add("logprobs")
    return _Known(
        provider=provider,
        prices=Prices(
            _per_million(per_input),
            _per_million(per_output),
            **{name: _per_million(price) for name, key in _PRICE_KEYS if _is_number(price := entry.get(key))},
        ),
        context_window=window if isinstance(window, int) else None,
        max_output_tokens=longest if isinstance(longest, int) else None,
        abilities=frozenset(abilities),
    )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _per_million(per_token: float) -> float:
    return round(per_token * 1e6, 9)
