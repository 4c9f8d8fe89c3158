"""A chat reply as Anthropic's Messages API tells it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from fleet.usage import parse_usage
from router.tokens import estimated_tokens
from router.wire.errors import anthropic_error
from router.wire.parts import Stream, Unreadable, ours, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.wire.parts import Part, Step
    from router.wire.stream import Event

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


@dataclass(frozen=True)
class Messages:
    """
    The Messages protocol, for one request.

    `input_tokens` is our estimate, said where no upstream has counted yet. Thoughts are told on request only.
    """

    input_tokens: int
    thinking: bool

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """See Wire."""
        reply = read_whole(completion)
        shown = [part for part in reply.parts if self.shows(part)]
        guess = sum(len(part.text) for part in reply.parts)
        ended = _ending(reply.finish_reason, reply.matched_stop, {part.kind for part in shown})
        return {
            **_opening(completion),
            "content": [_block(part) for part in shown],
            **ended,
            "usage": _usage(completion.get("usage"), self.input_tokens, estimated_tokens(guess)),
        }

    def story(self) -> MessagesStory:
        """See Wire."""
        return MessagesStory(self)

    def shows(self, part: Part) -> bool:
        """Whether the client sees this part."""
        return part.kind != "reasoning" or self.thinking


class MessagesStory:
    """message_start, then every block's start, deltas and stop, then message_delta and message_stop."""

    def __init__(self, wire: Messages) -> None:
        self._wire = wire
        self._stream = Stream()
        self._started = False
        self._blocks = 0
        self._kinds: set[str] = set()
        self._characters = 0

    def read(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """See Story."""
        if not self._started:
            self._started = True
            yield {
                "type": "message_start",
                "message": {
                    **_opening(chunk),
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": self._wire.input_tokens, "output_tokens": 0},
                },
            }
        for step in self._stream.read(chunk):
            yield from self._tell(step)

    def end(self) -> Iterator[Event]:
        """See Story."""
        if not self._started:
            yield from self.read({})
        for step in self._stream.end():
            yield from self._tell(step)
        stream = self._stream
        usage = _usage(stream.usage, self._wire.input_tokens, estimated_tokens(self._characters))
        ended = _ending(stream.finish_reason, stream.matched_stop, self._kinds)
        yield {"type": "message_delta", "delta": ended, "usage": usage}
        yield {"type": "message_stop"}

    def fail(self, error: Mapping[str, Any]) -> Iterator[Event]:
        """See Story."""
        yield anthropic_error(error)

    def _tell(self, step: Step) -> Iterator[Event]:
        part = step.part
        self._characters += len(step.text)
        if not self._wire.shows(part):
            return
        match step.verb:
            case "begin":
                self._kinds.add(part.kind)
                block = _block(part)
                yield {"type": "content_block_start", "index": self._blocks, "content_block": block}
            case "add":
                yield {"type": "content_block_delta", "index": self._blocks, "delta": _delta(part, step.text)}
            case "end":
                yield {"type": "content_block_stop", "index": self._blocks}
                self._blocks += 1


def _opening(completion: Mapping[str, Any]) -> dict[str, Any]:
    """A message's beginning. Its id is the upstream's, so that feedback can name it."""
    return {
        "id": str(completion.get("id") or f"msg_{secrets.token_hex(12)}"),
        "type": "message",
        "role": "assistant",
        "model": str(completion.get("model") or ""),
    }


def _block(part: Part) -> dict[str, Any]:
    if part.kind == "reasoning":
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    if part.kind == "tool":
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part.text)}
    return {"type": "text", "text": part.text}


def _input(arguments: str) -> dict[str, Any]:
    try:
        value = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Unreadable("it calls a tool with arguments that are no JSON object")
    return value


def _delta(part: Part, text: str) -> dict[str, Any]:
    if part.kind == "reasoning":
        return {"type": "thinking_delta", "thinking": text}
    if part.kind == "tool":
        return {"type": "input_json_delta", "partial_json": text}
    return {"type": "text_delta", "text": text}


def _ending(finish_reason: str | None, matched_stop: str | None, kinds: set[Any]) -> dict[str, Any]:
    reason = _STOP_REASONS.get(finish_reason or "stop", "end_turn")
    if reason == "end_turn" and "tool" in kinds:
        reason = "tool_use"
    elif reason == "end_turn" and "refusal" in kinds:
        reason = "refusal"
    elif reason == "end_turn" and matched_stop is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": matched_stop}
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(counted: object, input_guess: int, output_guess: int) -> dict[str, Any]:
    """Anthropic counts prompt tokens read from a cache beside the others, OpenAI among them."""
    usage = parse_usage(counted)
    if usage is None:
        return {"input_tokens": input_guess, "output_tokens": output_guess}
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    return {
        "input_tokens": usage.input_tokens - cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
        **ours(counted),
    }
