"""Which providers speak OpenAI's chat API, where they live, and which variable holds their key."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["replay", "openai_compatible", "litellm"]


@dataclass(frozen=True)
class Provider:
    """
    An endpoint that speaks OpenAI's chat API.

    `api_base` None: no public address, router.yaml must give one. `key_env` None: no key by default.
    `takes_stream_options` False: it sends usage unasked and refuses the field. `renamed_max_tokens`: its newer
    models refuse `max_tokens` and all of them take `max_completion_tokens`.
    """

    api_base: str | None
    key_env: str | None = None
    takes_stream_options: bool = True
    renamed_max_tokens: bool = False


OPENAI_COMPATIBLE: Final[Mapping[str, Provider]] = MappingProxyType(
    {
        "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY", renamed_max_tokens=True),
        "groq": Provider("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        "mistral": Provider("https://api.mistral.ai/v1", "MISTRAL_API_KEY", takes_stream_options=False),
        "deepseek": Provider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        "together_ai": Provider("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
        "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        "fireworks_ai": Provider("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        "cerebras": Provider("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        "xai": Provider("https://api.x.ai/v1", "XAI_API_KEY"),
        "deepinfra": Provider("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
        "nvidia_nim": Provider("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
        "sambanova": Provider("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
        "ollama": Provider("http://localhost:11434/v1"),
        "ollama_chat": Provider("http://localhost:11434/v1"),
        "hosted_vllm": Provider(None),
        "lm_studio": Provider(None),
        "custom_openai": Provider(None),
    }
)

# Providers with an API of their own: litellm speaks it, at `api_base` too.
_NATIVE: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "anthropic": "ANTHROPIC_API_KEY",
        "gemini": "GEMINI_API_KEY",
        "cohere": "COHERE_API_KEY",
        "cohere_chat": "COHERE_API_KEY",
        "azure": "AZURE_API_KEY",
        "azure_ai": "AZURE_AI_API_KEY",
        "replicate": "REPLICATE_API_KEY",
        "huggingface": "HUGGINGFACE_API_KEY",
        "databricks": "DATABRICKS_API_KEY",
        # These take several variables or a machine's own identity; litellm finds them.
        "bedrock": None,
        "sagemaker": None,
        "vertex_ai": None,
        "watsonx": None,
        "oci": None,
        "snowflake": None,
    }
)

KNOWN_PROVIDERS: Final = frozenset({"replay", *OPENAI_COMPATIBLE, *_NATIVE})
"""Those with an entry here; litellm knows more."""


def kind(target: str, api_base: str | None) -> Kind:
    """Which upstream calls a target. An unknown provider with an `api_base` is taken to speak OpenAI's API."""
    provider = target.partition("/")[0]
    if provider == "replay":
        return "replay"
    if provider in OPENAI_COMPATIBLE or (api_base is not None and provider not in _NATIVE):
        return "openai_compatible"
    return "litellm"


def base_url(target: str, api_base: str | None) -> str | None:
    """The address that "/chat/completions" is appended to, or None when there is none."""
    name = target.partition("/")[0]
    provider = OPENAI_COMPATIBLE.get(name)
    address = api_base or (provider.api_base if provider else None)
    if address is None:
        return None
    address = address.rstrip("/")
    # Ollama's own address is the bare host, as its users write it; its OpenAI API is below /v1.
    return f"{address}/v1" if name.startswith("ollama") and not address.endswith("/v1") else address


def default_key_env(target: str, api_base: str | None) -> str | None:
    """
    The variable that holds a provider's key when router.yaml names none.

    None at an OpenAI-compatible address of your own: a provider's key is not sent to strangers.
    """
    provider = target.partition("/")[0]
    if provider in _NATIVE:
        return _NATIVE[provider]
    if provider in OPENAI_COMPATIBLE and api_base is None:
        return OPENAI_COMPATIBLE[provider].key_env
    return None
