"""What a chat reply says, part by part, in the order in which it says it: whole, or as it streams."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Kind = Literal["reasoning", "text", "refusal", "tool"]
_FIELDS: tuple[tuple[str, Kind], ...] = (
    ("reasoning_content", "reasoning"),
    ("reasoning", "reasoning"),
    ("content", "text"),
    ("refusal", "refusal"),
)


class Unreadable(ValueError):  # noqa: N818  (says what the reply is)
    """A reply that is no chat completion; says why, without quoting it."""


def ours(counted: object) -> dict[str, Any]:
    """What the gateway adds to a usage object: the reply's cost, and whether that is an estimate."""
    fields = counted if isinstance(counted, dict) else {}
    return {name: fields[name] for name in ("cost_usd", "estimated") if name in fields}


@dataclass
class Part:
    """One part of a reply. `text` is what it says: a tool call's arguments, else its words."""

    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    logprobs: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """A part begins, grows by `text`, or ends."""

    verb: Literal["begin", "add", "end"]
    part: Part
    text: str = ""
    logprobs: Sequence[Any] = ()


@dataclass(frozen=True)
class Whole:
    """A complete reply: its parts and how it ended."""

    parts: list[Part]
    finish_reason: str | None
    matched_stop: str | None


def read_whole(completion: Mapping[str, Any]) -> Whole:
    """The reply in a chat completion. Raises `Unreadable`."""
    choice = _choice(completion)
    if choice is None or not isinstance(choice.get("message"), dict):
        raise Unreadable("it has no message")
    message = choice["message"]
    found = [Part(kind, text) for kind, text in _said(message)]
    logprobs = _logprobs(choice)
    for part in found:
        if part.kind == "text":
            part.logprobs = list(logprobs)
    for call in _calls(message):
        function = _function(call)
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise Unreadable("it calls a tool without a name")
        found.append(Part("tool", _text(function.get("arguments")), _identity(call), name))
    return Whole(found, _reason(choice), _matched(choice))


class Stream:
    """A streamed reply: `read` every chunk, then `end`. Remembers the last finish reason and usage."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.matched_stop: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self._open: Part | None = None
        self._index = 0

    def read(self, chunk: Mapping[str, Any]) -> Iterator[Step]:
        """The steps in one chunk. Raises `Unreadable`."""
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        choice = _choice(chunk)
        if choice is None:
            return
        self.finish_reason = _reason(choice) or self.finish_reason
        self.matched_stop = _matched(choice) or self.matched_stop
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        for kind, text in _said(delta):
            yield from self._begin(Part(kind)) if self._open is None or self._open.kind != kind else ()
            yield self._add(text, _logprobs(choice) if kind == "text" else ())
        for position, call in enumerate(_calls(delta)):
            yield from self._call(call, position)

    def end(self) -> Iterator[Step]:
        """The steps that are left."""
        if self._open is not None:
            yield Step("end", self._open)
            self._open = None

    def _call(self, call: Mapping[str, Any], position: int) -> Iterator[Step]:
        function = _function(call)
        index, identity, name = call.get("index", position), call.get("id"), function.get("name")
        was = self._open if self._open is not None and self._open.kind == "tool" else None
        # some servers count every call 0, others give every chunk an id of its own: a name tells a new call
        if was is None or index != self._index or (name and identity and identity != was.id):
            if not isinstance(name, str) or not name:
                raise Unreadable("it goes on with a tool call that has ended")
            self._index = index
            yield from self._begin(Part("tool", id=_identity(call), name=name))
        arguments = _text(function.get("arguments"))
        if arguments:
            yield self._add(arguments)

    def _begin(self, part: Part) -> Iterator[Step]:
        yield from self.end()
        self._open = part
        yield Step("begin", part)

    def _add(self, text: str, logprobs: Sequence[Any] = ()) -> Step:
        assert self._open is not None
        return Step("add", self._open, text, logprobs)


def _choice(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = message.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _said(message: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    seen: set[Kind] = set()
    for name, kind in _FIELDS:
        text = message.get(name)
        if isinstance(text, list):  # parts, as Mistral's reasoning models send them
            text = "".join(_text(part.get("text")) for part in text if isinstance(part, dict))
        if isinstance(text, str) and text and kind not in seen:
            seen.add(kind)
            yield kind, text


def _calls(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    yield from (call for call in calls if isinstance(call, dict)) if isinstance(calls, list) else ()


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _identity(call: Mapping[str, Any]) -> str:
    return _text(call.get("id")) or f"call_{secrets.token_hex(12)}"


def _reason(choice: Mapping[str, Any]) -> str | None:
    return _text(choice.get("finish_reason")) or None


def _matched(choice: Mapping[str, Any]) -> str | None:
    """The stop word that ended the reply, where an upstream tells (vLLM and SGLang do)."""
    return _text(choice.get("stop_reason")) or _text(choice.get("matched_stop")) or None


def _logprobs(choice: Mapping[str, Any]) -> list[Any]:
    logprobs = choice.get("logprobs")
    found = logprobs.get("content") if isinstance(logprobs, dict) else None
    return found if isinstance(found, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
