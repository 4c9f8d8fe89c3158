"""A chat stream's bytes, retold chunk by chunk as another protocol's events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from router.wire.parts import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Event = dict[str, Any]

LARGEST_EVENT = 4 << 20
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_KEEPALIVE = b": \n\n"


class Story(Protocol):
    """A reply told in a client's protocol. Every event names its `type`."""

    def read(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """The events that a chunk makes. Raises `Unreadable`."""
        ...

    def end(self) -> Iterator[Event]:
        """The events of a reply that came to its end."""
        ...

    def fail(self, error: Mapping[str, Any]) -> Iterator[Event]:
        """The events of a reply that broke off, with OpenAI's error object."""
        ...


class Wire(Protocol):
    """A client's protocol, for one request: how its reply is told, whole or in a stream."""

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """The reply that a chat completion makes. Raises `Unreadable`."""
        ...

    def story(self) -> Story:
        """A streamed reply, about to begin."""
        ...


class Retelling:
    """Feed it a relay's bytes and send what it returns. `failed` once it has told an error."""

    def __init__(self, story: Story) -> None:
        self.failed = False
        self._story = story
        self._pending = bytearray()
        self._over = False

    def feed(self, chunk: bytes) -> bytes:
        """The client's bytes for some of the upstream's."""
        self._pending += chunk
        told = []
        while not self._over and (blank := _BLANK_LINE.search(self._pending)) is not None:
            event = bytes(self._pending[: blank.start()])
            del self._pending[: blank.end()]
            told.append(self._tell(event))
        if not self._over and len(self._pending) > LARGEST_EVENT:
            told.append(self._fail({"message": "the model's reply has an event that is too large"}))
        if self._over:
            self._pending.clear()
        return b"".join(told)

    def _tell(self, event: bytes) -> bytes:
        data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
        if not data:
            return _KEEPALIVE if event.strip() else b""
        if data == b"[DONE]":
            self._over = True
            return b"".join(map(_encoded, self._story.end()))
        told: list[bytes] = []
        try:
            chunk = orjson.loads(data)
            if not isinstance(chunk, dict):
                raise Unreadable("it is no object")
            error = chunk.get("error")
            if error:
                return self._fail(error if isinstance(error, dict) else {"message": str(error)})
            for each in self._story.read(chunk):
                told.append(_encoded(each))  # noqa: PERF401  (what came before a failure is told)
        except orjson.JSONDecodeError:
            return self._fail({"message": "the model's reply cannot be read"})
        except Unreadable as unreadable:
            told.append(self._fail({"message": f"the model's reply cannot be read: {unreadable}"}))
        return b"".join(told)

    def _fail(self, error: Mapping[str, Any]) -> bytes:
        self.failed = self._over = True
        return b"".join(map(_encoded, self._story.fail(error)))


def _encoded(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))
