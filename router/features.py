"""
What a chat request says about itself, before any model is asked: the text V0 reads, and what a model must be
able to do to serve it (eligibility.py says who is).

V0 was trained on plain task prompts and reads the last user turn, and a little of the system prompt. Where the turn is
a few words ("go on"), it reads what tools answered since and the turns before as well. docs/choosing.md has what this
and other choices are worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from router.tokens import estimated_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fleet.upstream import Operation

TOKENS_PER_IMAGE = 765  # what OpenAI counts for a 1024 × 1024 image in full detail
JSON_FORMATS = ("json_object", "json_schema")
TURNS = ("user", "tool", "function")
SYSTEM = ("system", "developer")
ENOUGH_BYTES = 32  # of UTF-8, so that they mean about as much in every script
SYSTEM_CHARACTERS = 128


@dataclass(frozen=True)
class Features:
    """
    One request as routing sees it.

    `needs` are names of `Model.abilities`. `input_tokens` is a count of the text, or a quarter of its characters,
    and an estimate for images; `output_tokens` is the limit that the caller set, None without one, for each of
    `choices` replies.
    """

    text: str
    needs: frozenset[str]
    input_tokens: int
    output_tokens: int | None
    choices: int = 1
    only_text: bool = True


def extract(
    body: Mapping[str, Any], operation: Operation = "chat", text_tokens: int | None = None
) -> Features:
    """
    The features of an OpenAI body that `router.call` has checked; nothing else is assumed.

    `text_tokens` is the number of tokens in `texts(body, operation)`, estimated where it is None.
    """
    if text_tokens is None:
        text_tokens = estimated_tokens(sum(map(len, texts(body, operation))))
    if operation == "completions":
        text, numbers = _read_texts(body["prompt"])
        needs = frozenset({"completions", "logprobs"} if body.get("logprobs") else {"completions"})
        return Features(text, needs, text_tokens + numbers, _output_limit(body), _choices(body))
    if operation == "embeddings":
        text, numbers = _read_texts(body["input"])
        return Features(text, frozenset({"embeddings"}), text_tokens + numbers, 0)
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    images = sum(part.get("type") == "image_url" for message in messages for part in _parts(message))
    needs = frozenset(_needs(body, messages))
    return Features(
        text=_scored_text(messages),
        needs=needs,
        input_tokens=text_tokens + images * TOKENS_PER_IMAGE,
        output_tokens=_output_limit(body),
        choices=_choices(body),
        only_text=needs.isdisjoint(("vision", "audio")),
    )


def texts(body: Mapping[str, Any], operation: Operation = "chat") -> list[str]:
    """Everything that a model reads of a body as text: messages, tool calls and definitions, schemas."""
    if operation != "chat":
        return [_read_texts(body["prompt" if operation == "completions" else "input"])[0]]
    read = [text for message in body["messages"] for text in _texts(message)]
    read += [
        orjson.dumps(message["tool_calls"]).decode()
        for message in body["messages"]
        if message.get("tool_calls")
    ]
    read += [orjson.dumps(body[f]).decode() for f in ("tools", "functions", "response_format") if body.get(f)]
    return read


def _scored_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """
    The last user turn; while that is too little, with the results of tools that came after it, newest first, and then
    the user's turns and tools' results before it, newest first; and how the system prompt begins. Without a user turn
    the last message.
    """
    at = next((i for i in reversed(range(len(messages))) if messages[i].get("role") == "user"), None)
    if at is None:
        return "\n".join(_texts(messages[-1]))
    read = ""
    for message in chain((messages[at],), reversed(messages[at + 1 :]), reversed(messages[:at])):
        if message.get("role") in TURNS:
            read = _joined(read, "\n".join(_texts(message)))
            if len(read) >= ENOUGH_BYTES or len(read.encode(errors="replace")) >= ENOUGH_BYTES:
                break
    system = next((m for m in messages if m.get("role") in SYSTEM), None)
    return read if system is None else _joined(read, "\n".join(_texts(system))[:SYSTEM_CHARACTERS])


def _joined(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if first and second else first or second


def _read_texts(given: object) -> tuple[str, int]:
    """The text of a prompt or input (a text, tokens, or a list of either), and how many tokens it is in numbers."""
    several = (
        [given] if isinstance(given, str) or (isinstance(given, list) and type(given[0]) is int) else given
    )
    assert isinstance(several, list)
    numbers = sum(len(each) for each in several if isinstance(each, list))
    return "\n".join(each for each in several if isinstance(each, str)), numbers


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
    if _reasons(body):
        yield "reasoning"


def _is_text(kind: object) -> bool:
    return isinstance(kind, str)  # a part's type may be anything that JSON can hold, lists included


def _reasons(body: Mapping[str, Any]) -> bool:
    """Whether the request asks for reasoning, in one of the ways there are."""
    effort, thinking = body.get("reasoning_effort"), body.get("thinking")
    asked = isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    return asked or (isinstance(effort, str) and effort != "none")


def _choices(body: Mapping[str, Any]) -> int:
    number = body.get("n")
    return number if type(number) is int and number > 1 else 1


def _output_limit(body: Mapping[str, Any]) -> int | None:
    for field in ("max_completion_tokens", "max_tokens"):
        limit = body.get(field)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return None
