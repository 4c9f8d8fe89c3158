"""
What a chat request says about itself, before any model is asked: the text V0 reads, and what a model must be
able to do to serve it.

V0 was trained on plain task prompts, so it reads the last user message's text and nothing else: no system
prompt, no history. That is a first choice, to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fleet.model import Model
    from fleet.upstream import Operation

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_IMAGE = 765  # what OpenAI counts for a 1024 × 1024 image in full detail
JSON_FORMATS = ("json_object", "json_schema")


@dataclass(frozen=True)
class Features:
    """
    One request as routing sees it.

    `needs` are names of `Model.abilities`. Token counts are estimates: four characters a token; `output_tokens`
    is the limit that the caller set, None without one.
    """

    text: str
    needs: frozenset[str]
    input_tokens: int
    output_tokens: int | None


def extract(body: Mapping[str, Any], operation: Operation = "chat") -> Features:
    """The features of an OpenAI body that `router.call` has checked; nothing else is assumed."""
    if operation == "completions":
        text, tokens = _read_texts(body["prompt"])
        needs = {"completions", "logprobs"} if body.get("logprobs") else {"completions"}
        return Features(text, frozenset(needs), tokens, _output_limit(body))
    if operation == "embeddings":
        text, tokens = _read_texts(body["input"])
        return Features(text, frozenset({"embeddings"}), tokens, 0)
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    return Features(
        text=_scored_text(messages),
        needs=frozenset(_needs(body, messages)),
        input_tokens=_input_tokens(body, messages),
        output_tokens=_output_limit(body),
    )


def unfit(models: Iterable[Model], features: Features) -> dict[str, str]:
    """Who cannot serve the request, and why: a model's name → reason."""
    reasons = ((model.name, _why_unfit(model, features)) for model in models)
    return {name: reason for name, reason in reasons if reason is not None}


def estimated_tokens(characters: int) -> int:
    """Tokens of so many characters, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def _why_unfit(model: Model, features: Features) -> str | None:
    if "embeddings" in model.abilities - features.needs:
        return "makes embeddings only"
    missing = features.needs - model.abilities
    if missing:
        return f"lacks {', '.join(sorted(missing))}"
    needed = features.input_tokens + (features.output_tokens or 0)
    if model.context_window is not None and needed > model.context_window:
        return f"context window of {model.context_window} tokens is too small for about {needed}"
    return None


def _scored_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The last user message's text; without a user message, the last message's."""
    asked = next((m for m in reversed(messages) if m.get("role") == "user"), messages[-1])
    return "\n".join(_texts(asked))


def _read_texts(given: object) -> tuple[str, int]:
    """The text and the number of tokens of a prompt or input: a text, tokens, or a list of either."""
    several = (
        [given] if isinstance(given, str) or (isinstance(given, list) and type(given[0]) is int) else given
    )
    assert isinstance(several, list)
    texts = [each for each in several if isinstance(each, str)]
    numbers = sum(len(each) for each in several if isinstance(each, list))
    return "\n".join(texts), sum(estimated_tokens(len(text)) for text in texts) + numbers


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in _parts(message):
        text = part.get("text")
        if isinstance(text, str):
            yield text


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))


def _needs(body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    kinds = {
        part.get("type") for message in messages for part in _parts(message) if _is_text(part.get("type"))
    }
    modalities = body.get("modalities")
    shape = body.get("response_format")
    if (
        body.get("tools")
        or body.get("functions")
        or any(message.get("tool_calls") or message.get("role") == "tool" for message in messages)
    ):
        yield "tools"
    if "image_url" in kinds:
        yield "vision"
    if "input_audio" in kinds or (isinstance(modalities, list) and "audio" in modalities):
        yield "audio"
    if isinstance(shape, dict) and shape.get("type") in JSON_FORMATS:
        yield "json"
    if body.get("logprobs") or body.get("top_logprobs"):
        yield "logprobs"


def _is_text(kind: object) -> bool:
    return isinstance(kind, str)  # a part's type may be anything that JSON can hold, lists included


def _input_tokens(body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> int:
    characters = sum(len(text) for message in messages for text in _texts(message))
    for field in ("tools", "functions", "response_format"):
        if body.get(field):
            characters += len(orjson.dumps(body[field]))
    images = sum(part.get("type") == "image_url" for message in messages for part in _parts(message))
    return estimated_tokens(characters) + images * TOKENS_PER_IMAGE


def _output_limit(body: Mapping[str, Any]) -> int | None:
    for field in ("max_completion_tokens", "max_tokens"):
        limit = body.get(field)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return None
