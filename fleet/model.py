"""The nouns of a fleet: a model, what it charges, what a reply used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ABILITIES: Final = frozenset(
    {"tools", "vision", "json", "logprobs", "audio", "reasoning", "completions", "embeddings"}
)
"""What a request can need of a model beyond chat. A model with "embeddings" makes nothing else."""


@dataclass(frozen=True)
class Prices:
    """
    USD per million tokens. A kind of token without a price of its own (None) costs as `input` or `output` does.

    `cached_input` is for prompt tokens read from a provider's cache, `cache_write` for those written to it.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    audio_input: float | None = None
    audio_output: float | None = None


@dataclass(frozen=True)
class Usage:
    """
    Tokens of one reply. `estimated`: no upstream counted them, we did.

    `cached_tokens`, `cache_write_tokens` and `audio_input_tokens` are parts of `input_tokens`; `reasoning_tokens` and
    `audio_output_tokens` of `output_tokens`.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0


@dataclass(frozen=True)
class Timeouts:
    """
    Seconds: to open a connection, of silence between two reads of a reply, until its first byte, and in total.

    A reply that is not streamed has its first byte when it has been generated.
    """

    connect: float = 5.0
    read: float = 600.0
    first_byte: float = 600.0
    total: float = 3600.0


@dataclass(frozen=True)
class Model:
    """
    One LLM we can route to.

    `name` is what callers and decisions say; `target` is PROVIDER/NAME in litellm's spelling ("openai/gpt-4o",
    "hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", "replay/sage"). `api_key_env` is the NAME of an environment
    variable and `api_key_file` a file, absolute: the key itself never enters this object. `regions` are tags of where
    it computes, for data residency. `timeouts` None: the fleet's.
    """

    name: str
    target: str
    prices: Prices
    api_base: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    parameter_ratio: float | None = None
    context_window: int | None = None
    abilities: frozenset[str] = frozenset()
    max_output_tokens: int | None = None
    regions: frozenset[str] = frozenset()
    timeouts: Timeouts | None = None

    @property
    def provider(self) -> str:
        """ "openrouter" of "openrouter/openai/gpt-4o"."""
        return self.target.partition("/")[0]

    @property
    def remote_name(self) -> str:
        """What the provider calls it: "openai/gpt-4o" of "openrouter/openai/gpt-4o"."""
        return self.target.partition("/")[2]
