"""What endpoints say of their bodies and replies in the OpenAPI document; openapi.py adds what all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}


def fields(**properties: Schema) -> Schema:
    """An object that has at least these fields."""
    return {"type": "object", "required": list(properties), "properties": properties}


def many(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def maybe(schema: Schema) -> Schema:
    """The same or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def always(value: str) -> Schema:
    """This word."""
    return {"type": "string", "const": value}


def _names(description: str) -> Schema:
    return {
        "type": ["array", "null"],
        "minItems": 1,
        "items": {"type": "string"},
        "description": description,
    }


ROUTER_OPTIONS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "beta": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "1 buys success at any price, 0 the cheapest answer",
        },
        "min_success": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "a share of successes, kept over traffic at the least cost; goes before beta",
        },
        "max_cost_usd": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "description": "what this request may cost",
        },
        "models": _names("only these may be chosen"),
        "exclude": _names("these may not be chosen"),
        "regions": _names("a model must be tagged with one of these"),
    },
}
BETA_HEADER: Schema = {
    "name": "x-router-beta",
    "in": "header",
    "required": False,
    "schema": {"type": "number", "minimum": 0, "maximum": 1},
    "description": "as router.beta, which goes before it",
}
QUESTION = "What is 48 + 59?"
CONVERSATION: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object"},
    "examples": [[{"role": "user", "content": QUESTION}]],
}
TEXTS: Schema = {
    "examples": [QUESTION],
    "anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
        {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        },
    ],
}
"""A text, tokens, or a list of either."""


def described(
    required: Sequence[str],
    properties: Mapping[str, Any],
    reply: Schema,
    *,
    streams: bool = True,
    routed: bool = True,
) -> dict[str, Any]:
    """
    A JSON body with `model`, `router` and these properties, every other field too; and its reply, whole or in events.

    `routed`: the reply's headers tell of a decision.
    """
    schema = {
        "type": "object",
        "required": list(required),
        "additionalProperties": True,
        "properties": {
            "model": {
                "type": "string",
                "minLength": 1,
                "examples": ["auto"],
                "description": "`auto`, a preset, or a model of the fleet",
            },
            **properties,
            **({"stream": {"type": ["boolean", "null"]}} if streams else {}),
            "router": ROUTER_OPTIONS,
        },
    }
    answered = replied(reply)["responses"]
    if streams:
        answered["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    if routed:
        answered["200"]["headers"] = {
            name: {"schema": {"type": "string"}, "description": what}
            for name, what in DECISION_HEADERS.items()
        }
    parameters = {"parameters": [BETA_HEADER]} if routed else {}
    return {**asked(schema), **parameters, "responses": answered}


EVENT: Schema = {
    "type": "object",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "description": "each event of the stream; `data` is JSON, or [DONE] after a chat's or completion's last",
}
"""What OpenAPI before 3.2 has the schema of a stream describe."""

DECISION_HEADERS = {
    "x-router-decision": "the decision's id, for feedback",
    "x-router-model": "who answered",
    "x-router-reason": "why that one",
}


def asked(schema: Schema) -> dict[str, Any]:
    """A JSON body of this schema."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def asked_for(shape: type[BaseModel]) -> dict[str, Any]:
    """A JSON body of this shape; openapi.py puts the shapes inside it where references look for them."""
    return asked(shape.model_json_schema(ref_template="#/components/schemas/{model}"))


def replied(schema: Schema, status: str = "200", kind: str = "application/json") -> dict[str, Any]:
    """A reply of this schema."""
    return {"responses": {status: {"description": "As asked", "content": {kind: {"schema": schema}}}}}
