from __future__ import annotations

import pytest

from fleet.providers.catalog import base_url, default_key_env, kind


@pytest.mark.parametrize(
    ("target", "api_base", "expected"),
    [
        ("replay/sage", None, "replay"),
        ("openai/gpt-4o", None, "openai_compatible"),
        ("hosted_vllm/a/b", "http://h/v1", "openai_compatible"),
        ("some_new_thing/x", "http://h/v1", "openai_compatible"),
        ("some_new_thing/x", None, "litellm"),
        ("anthropic/claude-haiku-4-5", None, "litellm"),
        ("anthropic/claude-haiku-4-5", "http://proxy", "litellm"),
        ("azure/deployment", "https://mine.openai.azure.com", "litellm"),
    ],
)
def test_the_provider_and_its_address_decide_who_calls(target, api_base, expected):
    assert kind(target, api_base) == expected


@pytest.mark.parametrize(
    ("target", "api_base", "expected"),
    [
        ("openai/gpt-4o", None, "https://api.openai.com/v1"),
        ("openai/gpt-4o", "http://h:1/v1/", "http://h:1/v1"),
        ("ollama/x", None, "http://localhost:11434/v1"),
        ("ollama/x", "http://h:11434", "http://h:11434/v1"),
        ("ollama/x", "http://h:11434/v1/", "http://h:11434/v1"),
        ("hosted_vllm/x", "http://h/custom", "http://h/custom"),
        ("hosted_vllm/x", None, None),
    ],
)
def test_the_address_is_the_entrys_own_or_the_public_one(target, api_base, expected):
    assert base_url(target, api_base) == expected


@pytest.mark.parametrize(
    ("target", "api_base", "expected"),
    [
        ("openai/gpt-4o", None, "OPENAI_API_KEY"),
        ("anthropic/claude-haiku-4-5", None, "ANTHROPIC_API_KEY"),
        ("azure/x", "https://mine.openai.azure.com", "AZURE_API_KEY"),
        ("bedrock/x", None, None),
        ("ollama/x", None, None),
        ("replay/x", None, None),
        ("unheard_of/x", None, None),
    ],
)
def test_each_provider_has_its_usual_variable(target, api_base, expected):
    assert default_key_env(target, api_base) == expected


def test_openais_key_is_not_sent_to_another_address_by_default():
    assert default_key_env("openai/x", "http://somebody.else/v1") is None
