"""Continuous batching for one model: sequences join and leave a running batch between two tokens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from fleet.nano.network import Cache
from fleet.nano.sampling import Sampling, draw, score
from fleet.nano.text import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from torch import Tensor

    from fleet.nano.network import Llama
    from fleet.nano.sampling import Scored

Finish = Literal["stop", "length"]

FIRST_ROWS = 8  # of a cache; it doubles when more sequences run
PREFILL_TOKENS = 4096  # padding included, read at once before the running sequences get their next token


@dataclass(frozen=True)
class Piece:
    """What a sequence has to say since its last piece: text, its scored tokens, and, at the end, why it ended."""

    text: str
    scored: tuple[Scored, ...] = ()
    finish: Finish | None = None
    tokens: int = 0  # generated so far, the end token included
    failed: bool = False  # the engine broke; nothing more will come


@dataclass(eq=False)
class Running:
    """
    One reply under way: its prompt, its rules, and where its pieces go.

    `deliver` is called in the engine's thread, for every token if `each`, else once at the end.
    """

    prompt: Sequence[int]
    most: int
    sampling: Sampling
    luck: Random
    transcript: Transcript
    deliver: Callable[[Piece], None]
    each: bool = False
    cancelled: bool = False
    ids: list[int] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Where the newest token stands, which the network has not read yet."""
        return len(self.prompt) + len(self.ids) - 1


class Batcher:
    """One network, its cache, who waits and who runs. Not thread-safe: one thread owns it."""

    def __init__(self, network: Llama, end: int, most_rows: int = 32) -> None:
        self._network = network
        self._device = network.embedding.weight.device
        self._end = end
        self._most_rows = most_rows
        self._cache: Cache | None = None
        self._rows = 0
        self.waiting: deque[Running] = deque()
        self.running: list[Running] = []

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.running)

    @torch.inference_mode()
    def advance(self) -> None:
        """One more token for every running sequence, and the first one for those that can join."""
        self._drop_cancelled()
        joined = self._admit()
        if joined:
            self._first(joined)
        else:
            self._next()

    def _drop_cancelled(self) -> None:
        for row in reversed(range(len(self.running))):
            if self.running[row].cancelled:
                self._leave(row)

    def _admit(self) -> list[Running]:
        """Those who join now: first come, first served, as far as rows and one prefill's tokens reach."""
        joined: list[Running] = []
        prompts = longest = 0
        while self.waiting and len(self.running) + len(joined) < self._most_rows:
            if self.waiting[0].cancelled:
                self.waiting.popleft()
                continue
            prompt = self.waiting[0].prompt
            prompts += not joined or prompt is not joined[-1].prompt
            longest = max(longest, len(prompt))
            if joined and longest * prompts > PREFILL_TOKENS:
                break
            joined.append(self.waiting.popleft())
        return joined

    def _first(self, joined: list[Running]) -> None:
        """Read the prompts of those who join, each once for all replies to it, and give each its first token."""
        first = len(self.running)
        self.running += joined
        cache = self._room(len(self.running))
        prompts = {id(sequence.prompt): sequence.prompt for sequence in joined}
        places = {key: place for place, key in enumerate(prompts)}
        longest = max(map(len, prompts.values()))
        ids = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(prompts.values()):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        hidden = self._network.prefill(ids.to(self._device), cache, first)  # (P,T,E)
        last = torch.tensor([len(prompt) - 1 for prompt in prompts.values()], device=self._device)
        logits = self._network.logits(hidden[torch.arange(len(prompts), device=self._device), last])
        if len(prompts) < len(joined):
            of = torch.tensor([places[id(sequence.prompt)] for sequence in joined], device=self._device)
            cache.repeat(first, of, longest)
            logits = logits[of]
        self._speak(first, logits)

    def _next(self) -> None:
        """Read everybody's newest token, and give each the one after it."""
        if not self.running:
            return
        positions = [sequence.position for sequence in self.running]
        ids = torch.tensor([sequence.ids[-1] for sequence in self.running], device=self._device)
        places = torch.tensor(positions, device=self._device)
        hidden = self._network.step(ids, places, self._room(len(self.running)), max(positions) + 1)
        self._speak(0, self._network.logits(hidden))

    def _speak(self, first: int, logits: Tensor) -> None:
        """Draw from logits (B,V), whose first row belongs to the running sequence `first`; let the finished leave."""
        speaking = self.running[first:]
        luck = [sequence.luck.random() for sequence in speaking]
        drawn = draw(logits, [sequence.sampling for sequence in speaking], luck)
        done = [
            self._take(sequence, token, logits[row])
            for row, (sequence, token) in enumerate(zip(speaking, drawn, strict=True))
        ]
        for row in reversed(range(len(speaking))):
            if done[row]:
                self._leave(first + row)

    def _take(self, sequence: Running, token: int, logits: Tensor) -> bool:
        """Add a token to its sequence and deliver what follows from it; whether the sequence has ended."""
        sequence.ids.append(token)
        if sequence.sampling.alternatives is not None and token != self._end:
            sequence.scored.append(score(logits, token, sequence.sampling.alternatives))
        text = "" if token == self._end else sequence.transcript.add(token)
        finish: Finish | None = None
        if token == self._end or sequence.transcript.stopped:
            finish = "stop"
        elif len(sequence.ids) >= sequence.most:
            finish = "length"
        if finish:
            text += sequence.transcript.end()
        sequence.text.append(text)
        if finish or (sequence.each and (text or sequence.scored)):
            piece = Piece("".join(sequence.text), tuple(sequence.scored), finish, len(sequence.ids))
            sequence.text.clear()
            sequence.scored.clear()
            sequence.deliver(piece)
        return finish is not None

    def _leave(self, row: int) -> None:
        """Free a row; the last running sequence takes it over."""
        last = self.running.pop()
        if row < len(self.running):
            assert self._cache is not None
            self.running[row] = last
            self._cache.move(len(self.running), row, last.position)

    def _room(self, rows: int) -> Cache:
        """The cache, with at least so many rows."""
        if self._cache is None or rows > self._rows:
            self._rows = max(FIRST_ROWS, self._rows)
            while self._rows < rows:
                self._rows *= 2
            weight = self._network.embedding.weight
            larger = Cache(self._network.shape, self._rows, weight.device, weight.dtype)
            if self._cache is not None:
                held = self._cache.keys.shape[1]
                larger.keys[:, :held], larger.values[:, :held] = self._cache.keys, self._cache.values
            self._cache = larger
        return self._cache
