"""What the endpoints that call a model say of their bodies in the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROUTER_OPTIONS: dict[str, Any] = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "beta": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "1 buys success at any price, 0 the cheapest answer",
        },
        "models": {
            "type": ["array", "null"],
            "minItems": 1,
            "items": {"type": "string"},
            "description": "only these may be chosen",
        },
    },
}
TEXTS: dict[str, Any] = {
    "oneOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
        {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        {"type": "array", "minItems": 1, "items": {"type": "array", "items": {"type": "integer"}}},
    ]
}
"""A text, tokens, or a list of either."""


def described(
    required: Sequence[str], properties: Mapping[str, Any], *, streams: bool = True
) -> dict[str, Any]:
    """A JSON body with `model`, `router` and these properties; every other field may come too."""
    schema = {
        "type": "object",
        "required": list(required),
        "additionalProperties": True,
        "properties": {
            "model": {"type": "string", "description": "`auto`, a preset, or a model of the fleet"},
            **properties,
            **({"stream": {"type": ["boolean", "null"]}} if streams else {}),
            "router": ROUTER_OPTIONS,
        },
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
