"""What a reply used, read off its bytes while they pass."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from fleet.model import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
# A chunk of content has none of these: it is forwarded without being parsed.
_TELLING: Final = re.compile(rb'"usage"\s*:\s*\{|"finish_reason"\s*:\s*"|"error"\s*:\s*["{]|data:\s*\[DONE\]')
_LARGEST_EVENT: Final = 1 << 20
_LARGEST_BODY: Final = 32 << 20
_CHARACTERS_PER_TOKEN: Final = 4
_KEPT: Final = 1 << 20  # bytes of events, to count the tokens of a reply whose upstream does not
_OPENING: Final = ("id", "object", "created", "model", "system_fingerprint")


class ReplyReader:
    """
    Watches one reply pass: feed it every chunk and forward what it returns, then what `finish` returns.

    The bytes are not changed, save this: with `hide_usage`, a streamed event that carries nothing but usage is left
    out, and with `hide_done` the [DONE] at the end, for whoever tells both in their own words. A streamed event is
    forwarded once it is complete, so that a reply that is cut never ends within an event: forget what `finish`
    returns then, and send an error event.

    `stream` says whether the reply is server-sent events (its content-type is text/event-stream) or one JSON
    object. Events end with a blank line, LF or CRLF. Bytes that are not JSON are forwarded and not understood.

    Known as soon as they have passed (or, in one JSON object, after `finish`): `usage`, None until the upstream
    tells, and `counted`, what it told word by word; `opening`, what every event says; `completion_id`;
    `finish_reason`; `saw_content` (text, a tool call, a refusal…); `saw_done`; and `error`, an error object inside the
    reply.
    """

    def __init__(self, stream: bool, hide_usage: bool, hide_done: bool = False) -> None:
        self.usage: Usage | None = None
        self.counted: Mapping[str, Any] = {}
        self.opening: Mapping[str, Any] = {}
        self.completion_id: str | None = None
        self.finish_reason: str | None = None
        self.saw_content = False
        self.saw_done = False
        self.error: Mapping[str, Any] | None = None
        self._stream = stream
        self._hide_usage = hide_usage
        self._pending = bytearray()
        self._searched = 0  # no blank line starts before this place in _pending
        self._too_large = False  # the start of the pending event, or body, is gone
        self._events = 0
        self._characters = 0
        self._hide_done = hide_done
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._texts: list[str] = []

    @property
    def output_tokens_guess(self) -> int:
        """Output tokens where no usage was told: one a streamed event, or a quarter of a body's characters."""
        return self._events if self._stream else -(-self._characters // _CHARACTERS_PER_TOKEN)

    def output_texts(self) -> tuple[list[str], float]:
        """
        What the model wrote, where its upstream has counted nothing, and by what to multiply its tokens: above 1 where
        a stream was too long to be kept whole. Costs a parse of the kept events.
        """
        if not self._stream:
            return self._texts, 1.0
        texts: list[str] = []
        for event in self._kept:
            message = _parse(_payload(event))
            if message is not None:
                texts += _written(message, "delta")
        return texts, self._events / len(self._kept) if self._kept else 1.0

    def feed(self, chunk: bytes) -> bytes:
        """Take what came; return what to forward now."""
        if self._stream:
            return b"".join(self._complete(chunk))
        self._too_large = self._too_large or len(self._pending) + len(chunk) > _LARGEST_BODY
        if not self._too_large:
            self._pending += chunk
        return chunk

    def finish(self) -> bytes:
        """The reply has ended, or was cut: read the rest, and return what is still to be forwarded."""
        rest = bytes(self._pending)
        self._pending.clear()
        self._searched = 0
        if not self._stream:
            if not self._too_large:
                self._read_body(rest)
            return b""
        hidden = not self._too_large and self._read_event(rest)
        return b"" if hidden else rest

    def _complete(self, chunk: bytes) -> Iterator[bytes]:
        """The events that this chunk completes, without those to be hidden."""
        self._pending += chunk
        start = 0
        while (blank := _BLANK_LINE.search(self._pending, max(start, self._searched))) is not None:
            event = bytes(self._pending[start : blank.end()])
            if self._too_large or len(event) > _LARGEST_EVENT:
                self._pass_large()
                yield event
            elif not self._read_event(event):
                yield event
            self._too_large = False
            start = blank.end()
        del self._pending[:start]
        if len(self._pending) > _LARGEST_EVENT:
            # Nothing this large is mere usage: let it through, but for what may be half of a blank line.
            self._pass_large()
            self._too_large = True
            yield bytes(self._pending[:-3])
            del self._pending[:-3]
        self._searched = max(0, len(self._pending) - 3)

    def _pass_large(self) -> None:
        self._events += not self._too_large
        self.saw_content = True

    def _read_event(self, event: bytes) -> bool:
        """Learn from one event; True when it is to be hidden."""
        if self.saw_content and _TELLING.search(event) is None:
            if b"data:" in event:
                self._keep(event)
            return False
        payload = _payload(event)
        if payload == b"[DONE]":
            self.saw_done = True
            return self._hide_done
        message = _parse(payload)
        if message is None:
            return False
        self._learn(message, "delta")
        choices = message.get("choices")
        if choices:
            self._keep(event)
        return self._hide_usage and choices == [] and isinstance(message.get("usage"), dict)

    def _keep(self, event: bytes) -> None:
        """Count an event of content, and keep it as long as nobody has told the usage."""
        self._events += 1
        if self.usage is not None:
            self._kept.clear()
        elif self._kept_bytes < _KEPT:
            self._kept.append(event)
            self._kept_bytes += len(event)

    def _read_body(self, body: bytes) -> None:
        message = _parse(body)
        if message is not None:
            self._learn(message, "message")
            if self.usage is None:
                self._texts = list(_written(message, "message"))

    def _learn(self, message: Mapping[str, Any], part: str) -> None:
        identity = message.get("id")
        if self.completion_id is None and isinstance(identity, str):
            self.completion_id = identity
        if not self.opening:
            self.opening = {name: message[name] for name in _OPENING if name in message}
        counted = parse_usage(message.get("usage"))
        if counted is not None:
            self.usage, self.counted = counted, message["usage"]
        error = message.get("error")
        if error:
            self.error = error if isinstance(error, dict) else {"message": str(error)}
        choices = message.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            reason = choice.get("finish_reason")
            if isinstance(reason, str):
                self.finish_reason = reason
            text = choice.get("text")  # of a text completion
            if isinstance(text, str):
                self.saw_content = self.saw_content or bool(text)
                self._characters += len(text)
            said = choice.get(part)
            if isinstance(said, dict):
                parts = [value for name, value in said.items() if name != "role"]
                self.saw_content = self.saw_content or any(parts)
                self._characters += sum(len(value) for value in parts if isinstance(value, str))


def _written(message: Mapping[str, Any], part: str) -> Iterator[str]:
    """Every text that a model wrote into a reply's choices: contents, refusals, thoughts, calls of tools."""
    choices = message.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            said = choice.get(part)
            for field in (choice.get("text"), *(said.values() if isinstance(said, dict) else ())):
                if isinstance(field, list):  # of tool calls, or of parts
                    yield from _strings(field)
                elif isinstance(field, str) and field != "assistant":
                    yield field


def _strings(parts: Sequence[Any]) -> Iterator[str]:
    for each in parts:
        called = each.get("function") if isinstance(each, dict) else None
        for text in (called or each).values() if isinstance(each, dict) else ():
            if isinstance(text, str):
                yield text


def parse_usage(usage: Any) -> Usage | None:
    """
    OpenAI's usage object as Usage; None when it is not one.

    Reads what providers say beside it too: DeepSeek's and Anthropic's cache counters, and a total that shows that
    reasoning was counted apart from the completion (xAI, Gemini): it is part of the output then.
    """
    if not isinstance(usage, dict):
        return None
    input_tokens, output_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if input_tokens is None and output_tokens is None:
        return None
    said, written = _details(usage, "prompt_tokens_details"), _details(usage, "completion_tokens_details")
    reasoning = _count(written.get("reasoning_tokens")) or 0
    read, out = input_tokens or 0, output_tokens or 0
    if reasoning and _count(usage.get("total_tokens")) == read + out + reasoning:
        out += reasoning
    return Usage(
        read,
        out,
        cached_tokens=_first(
            said.get("cached_tokens"),
            usage.get("prompt_cache_hit_tokens"),
            usage.get("cache_read_input_tokens"),
        ),
        cache_write_tokens=_first(
            said.get("cache_write_tokens"),
            said.get("cache_creation_tokens"),
            usage.get("cache_creation_input_tokens"),
        ),
        reasoning_tokens=reasoning,
        audio_input_tokens=_first(said.get("audio_tokens")),
        audio_output_tokens=_first(written.get("audio_tokens")),
    )


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, dict) else {}


def _first(*counts: Any) -> int:
    """The first of these that is a count; 0 without one."""
    return next((count for each in counts if (count := _count(each)) is not None), 0)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _payload(event: bytes) -> bytes:
    """The data of one event: its `data:` lines, joined."""
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
