"""
Replies that may be given again: exact, for keys that ask for it (`cache_ttl_s`), in memory, for one key only.

A request is the same when its whole body is, whatever the order of its keys, and whatever it asked of the router. What
is kept are the upstream's own bytes, so that a reply out of the cache is told like any other: in every protocol,
streamed or whole as it was asked for. Only replies that came to their end are kept.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from fleet.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from router.call import Call

CAPACITY = 64 << 20  # bytes of replies
LARGEST = 4 << 20  # a larger reply is not kept
OVERHEAD = 512  # bytes beside the reply itself


@dataclass(frozen=True)
class Stored:
    """A reply as its upstream sent it: by which model, of which content-type, and until when it may be given."""

    model: str
    content_type: str
    body: bytes
    until: float

    def reply(self) -> Reply:
        """It again, as if its upstream answered."""
        return Reply(200, {"content-type": self.content_type}, _once(self.body))


class ReplyCache:
    """The newest replies, up to `capacity` bytes. Use it from one event loop."""

    def __init__(self, capacity: int = CAPACITY, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._replies: OrderedDict[bytes, Stored] = OrderedDict()
        self._size = 0

    def get(self, key: bytes) -> Stored | None:
        """The reply to this request, if there is one and its time is not over."""
        found = self._replies.get(key)
        if found is None:
            return None
        if found.until <= self._clock():
            self._drop(key)
            return None
        self._replies.move_to_end(key)
        return found

    def put(self, key: bytes, model: str, content_type: str, chunks: Iterable[bytes], ttl_s: float) -> None:
        """Keep a whole reply; the ones that were not asked for the longest make room."""
        body = b"".join(chunks)
        if len(body) > LARGEST:
            return
        self._drop(key)
        self._replies[key] = Stored(model, content_type, body, self._clock() + ttl_s)
        self._size += len(body) + OVERHEAD
        while self._size > self._capacity:
            self._drop(next(iter(self._replies)))

    def __len__(self) -> int:
        return len(self._replies)

    def _drop(self, key: bytes) -> None:
        dropped = self._replies.pop(key, None)
        if dropped is not None:
            self._size -= len(dropped.body) + OVERHEAD


def key_of(key_id: int, call: Call) -> bytes:
    """What tells a request of this key from every other; the text itself is not kept."""
    asked = [
        key_id,
        call.operation,
        call.model,
        call.beta,
        call.min_success,
        call.max_cost_usd,
        call.only,
        call.exclude,
        call.regions,
        call.body,
    ]
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
