"""Tokens → text as they come: whole characters only, and nothing that may still turn into a stop string."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from fleet.nano.tokenizer import SPECIALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes that every token stands for; special tokens stand for none."""
    letters = _letters()
    pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    return [
        b"" if piece is None or piece in SPECIALS else bytes(letters[letter] for letter in piece)
        for piece in pieces
    ]


def _letters() -> dict[str, int]:
    """Byte-level BPE's alphabet: printable bytes are themselves, the others follow from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


class Transcript:
    """
    The text of one reply. `add` and `end` return what may be sent now; `stopped` says a stop string was reached.

    A stop string itself is never sent, nor is what follows it.
    """

    def __init__(self, pieces: Sequence[bytes], stops: Sequence[str] = ()) -> None:
        self._pieces = pieces
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """One more token."""
        return self._release(self._decoder.decode(self._pieces[token]), final=False)

    def end(self) -> str:
        """No more tokens will come."""
        return self._release(self._decoder.decode(b"", final=True), final=True)

    def _release(self, fresh: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if final else max((_overlap(text, stop) for stop in self._stops), default=0)
        cut = len(text) - keep
        self._held = text[cut:]
        return text[:cut]


def _overlap(text: str, stop: str) -> int:
    """The longest end of a text that begins a stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
