"""
Which model a conversation is with.

A conversation is known by what names it: x-session-id or a coding agent's header, `metadata.user_id`,
`prompt_cache_key`; and by its history, since a request that goes on repeats the one before it, then the answer, then
what is new. Its model is kept while its provider still has the prompt cached and nobody is better by more than the
cache is worth and a margin (decide.Incumbent). Nothing of a prompt is kept, only digests.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from router.decide import Incumbent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fleet.model import Model
    from router.call import Call

HEADERS: Final = (
    b"x-session-id",
    b"x-claude-code-session-id",
    b"session_id",
    b"session-id",
    b"x-session-affinity",
    b"x-opencode-session",
)
"""The first that is there: ours, then those of coding agents."""
SESSIONS_KEPT: Final = 50_000
LONGEST_NAME: Final = 512


@dataclass(frozen=True)
class SessionSettings:
    """
    `hysteresis`: what another model must be better by, in score (0 to 1). `keep_s`: after so long without a request a
    conversation is free again; providers drop cached prompts after minutes.
    """

    hysteresis: float = 0.05
    keep_s: float = 600.0


@dataclass(frozen=True)
class Turn:
    """The last answered request of a conversation."""

    model: str
    provider: str
    input_tokens: int
    at: float


@dataclass(frozen=True)
class Keys:
    """
    How a request's conversation is found: by its history (None in a first request), then by its name (None without
    one); and under which keys the next request will find it.
    """

    history: bytes | None = None
    name: bytes | None = None
    next: tuple[bytes, ...] = ()


def session_name(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What the headers (raw, as ASGI has them) call the session."""
    sent = {name: value for name, value in headers if name in HEADERS and value}
    return next((sent[name].decode("latin-1") for name in HEADERS if name in sent), None)


def keys_of(call: Call) -> Keys:
    """The keys of a chat. They hold for the same caller and the same alias only."""
    if call.operation != "chat":
        return Keys()
    before, whole = _history(call.body["messages"])
    history, following = before and _digest(call, before), _digest(call, whole)
    name = call.session or _named(call.body)
    if name is None:
        return Keys(history, None, (following,))
    named = _digest(call, name[:LONGEST_NAME].encode("utf-8", "surrogatepass"))
    return Keys(history, named, (following, named))


class Sessions:
    """The conversations of this process, the longest silent forgotten first. Use it from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._turns: OrderedDict[bytes, Turn] = OrderedDict()
        self._clock = clock

    def last(self, keys: Keys, keep_s: float) -> Turn | None:
        """The turn before this request, while it is fresh. Found by name alone, it says nothing of the prompt."""
        oldest = self._clock() - keep_s
        for key in (keys.history, keys.name):
            turn = self._turns.get(key) if key is not None else None
            if turn is not None and turn.at >= oldest:
                return turn if key == keys.history else replace(turn, input_tokens=0)
        return None

    def answered(self, keys: Keys, model: Model, input_tokens: int) -> None:
        """A model has answered this request."""
        for key in keys.next:
            self._turns[key] = Turn(model.name, model.provider, input_tokens, self._clock())
            self._turns.move_to_end(key)
        while len(self._turns) > SESSIONS_KEPT:
            self._turns.popitem(last=False)

    def __len__(self) -> int:
        return len(self._turns)


def incumbent(
    turn: Turn, models: Mapping[str, Model], input_tokens: int, settings: SessionSettings, *, firm: bool
) -> Incumbent | None:
    """
    The model that the conversation is with, and what its provider's cache spares this request in USD: the tokens of
    the turn before, at the difference between the full and the cached price. None where it has left the fleet.
    """
    model = models.get(turn.model)
    if model is None:
        return None
    prices = model.prices
    cached = min(turn.input_tokens, input_tokens)
    spared = 0.0 if prices.cached_input is None else max(0.0, prices.input - prices.cached_input)
    return Incumbent(model.name, cached * spared / 1e6, settings.hysteresis, firm)


def _named(body: Mapping[str, Any]) -> str | None:
    """What the body calls the session."""
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    for name in (user, body.get("prompt_cache_key")):
        if isinstance(name, str) and name:
            return name
    return None


def _history(messages: list[Mapping[str, Any]]) -> tuple[bytes | None, bytes]:
    """Digests of what came before the last answer (the request before this one), and of all messages."""
    answers = [place for place, message in enumerate(messages) if message.get("role") == "assistant"]
    running = hashlib.blake2b(digest_size=16)
    before = None
    for place, message in enumerate(messages):
        if answers and place == answers[-1]:
            before = running.copy().digest() if place else None
        running.update(orjson.dumps(message, option=orjson.OPT_SORT_KEYS))
    return before, running.digest()


def _digest(call: Call, name: bytes) -> bytes:
    scope = f"{call.caller}\0{call.model}\0".encode()
    return hashlib.blake2b(scope + name, digest_size=16).digest()
