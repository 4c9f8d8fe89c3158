"""Valid requests for every endpoint that takes a body: what the fuzz begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SCHEMA = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
FUNCTION = {"name": "look", "description": "looks", "parameters": SCHEMA}
IMAGE = "data:image/png;base64,iVBORw0KGgo="
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"value": 1}'}}


@dataclass(frozen=True)
class Valid:
    """A request that is answered well; `admin` where it takes an admin key."""

    path: str
    body: dict[str, Any]
    method: str = "POST"
    admin: bool = False


CHAT = {
    "model": "auto",
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "two and two?"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "four"},
        {"role": "user", "content": "so?"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": SCHEMA, "strict": True},
    },
    "stream": True,
    "stream_options": {"include_usage": True},
    "n": 1,
    "max_tokens": 20,
    "max_completion_tokens": 20,
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning_effort": "low",
    "modalities": ["text"],
    "seed": 1,
    "stop": ["end"],
    "user": "me",
    "metadata": {"user_id": "me"},
    "prompt_cache_key": "mine",
    "router": {
        "beta": 0.5,
        "min_success": 0.5,
        "max_cost_usd": 1,
        "models": ["strong", "weak"],
        "exclude": ["weak"],
        "regions": ["eu"],
    },
}
MESSAGES = {
    "model": "auto",
    "max_tokens": 20,
    "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "look"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"value": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "a cat", "is_error": False},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                },
                {
                    "type": "document",
                    "title": "d",
                    "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                },
            ],
        },
    ],
    "stop_sequences": ["end"],
    "tools": [{"name": "look", "description": "looks", "input_schema": SCHEMA}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "metadata": {"user_id": "me"},
    "service_tier": "auto",
    "temperature": 1,
    "stream": True,
    "router": {"beta": 1},
}
RESPONSES = {
    "model": "auto",
    "instructions": "be brief",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": IMAGE, "detail": "low"},
                {"type": "input_file", "filename": "d", "file_data": "data:application/pdf;base64,AAAA"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "cat"}]},
    ],
    "tools": [{"type": "function", "name": "look", "parameters": SCHEMA, "strict": False}],
    "tool_choice": {"type": "function", "name": "look"},
    "parallel_tool_calls": False,
    "text": {
        "format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True},
        "verbosity": "low",
    },
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
    "top_logprobs": 2,
    "max_output_tokens": 20,
    "metadata": {"a": "b"},
    "store": False,
    "truncation": "disabled",
    "stream": True,
    "router": {"beta": 0.5},
}
EARNED = [{"prompt": f"p{i}", "reward": i % 2, "step": i} for i in range(3)]
PREDICT = {"prompts": ["a", "b"], "context": [{"prompt": "c", "reward": 1}], "reward_range": [0, 1]}

REQUESTS = (
    Valid("/v1/chat/completions", CHAT),
    Valid(
        "/v1/chat/completions",
        {"model": "weak", "messages": [{"role": "user", "content": "hi"}], "stream": True},
    ),
    Valid("/v1/completions", {"model": "weak", "prompt": ["Once", "upon"], "stream": False, "max_tokens": 5}),
    Valid(
        "/v1/embeddings",
        {"model": "small", "input": ["a", "b"], "dimensions": 2, "encoding_format": "float"},
    ),
    Valid("/v1/messages", MESSAGES),
    Valid(
        "/v1/messages",
        {"model": "weak", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "stream": True},
    ),
    Valid("/v1/messages/count_tokens", {"model": "auto", "messages": MESSAGES["messages"], "system": "brief"}),
    Valid("/v1/responses", RESPONSES),
    Valid("/v1/responses", {"model": "weak", "input": "hi", "stream": True}),
    Valid("/v1/router/explain", CHAT),
    Valid(
        "/v1/feedback",
        {"decision_id": "dec_1", "score": 0.5, "comment": "fine", "source": "feedback"},
    ),
    Valid("/v1/value/policies/run-1/outcomes", {"outcomes": EARNED, "reward_range": [0, 1]}),
    Valid("/v1/value/predict", {**PREDICT, "stream": True}),
    Valid(
        "/v1/value/predict",
        {
            "prompts": ["a"],
            "policy": "run-1",
            "sample": {"size": 2, "how": "weighted", "half_life": 9.0, "seed": 1},
            "until_step": 2,
        },
    ),
    Valid("/v1/schedule/budget", {"values": [0.2, 0.5, 0.9], "total": 12, "low": 1, "high": 8, "method": "greedy"}),
    Valid("/v1/schedule/budget", {"predict": PREDICT, "total": 8}),
    Valid(
        "/v1/schedule/rounds",
        {
            "priors": [0.5, 0.5],
            "reports": [[[1, 0, 1, 0], [0, 0, 0, 0]]],
            "rule": {"name": "mixture", "cost": 0.01, "reward_range": [-1, 1]},
            "limits": {"start": 4, "multiple": 4, "cap": 8, "halt_share": 0.1, "rounds": 2},
        },
    ),
    Valid(
        "/v1/router/keys",
        {
            "name": "made",
            "admin": False,
            "limits": {
                "day_usd": 1,
                "month_usd": 5,
                "requests_per_minute": 5,
                "models": ["weak"],
                "deny": ["strong"],
                "beta_min": 0.1,
                "beta_max": 0.9,
                "min_success": 0.5,
                "max_cost_usd": 1,
                "expires_at": 4e9,
                "cache_ttl_s": 5,
            },
        },
        admin=True,
    ),
    Valid(
        "/v1/router/keys/spare",
        {"limits": {"day_usd": 2, "models": None, "pace": False}},
        method="PATCH",
        admin=True,
    ),
)  # fmt: skip
