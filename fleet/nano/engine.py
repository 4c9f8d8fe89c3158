"""All models of a nano fleet behind one thread: requests go in from anywhere, pieces of replies come out.

One thread for all of them, because the models are so small that their work is mostly Python's: several threads would
only wait for each other's lock. It takes turns between the models that have something to do, a token at a time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fleet.nano.batching import Batcher, Piece, Running
from fleet.nano.network import CONFIG, Llama, NetworkError, load
from fleet.nano.text import Transcript, token_bytes
from fleet.nano.tokenizer import Chat, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from fleet.nano.sampling import Sampling

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NanoModel:
    """A loaded model: its network, how it reads a chat, and what its tokens spell."""

    name: str
    network: Llama
    chat: Chat
    pieces: Sequence[bytes]

    @property
    def window(self) -> int:
        """The most tokens of prompt and reply together."""
        return self.network.shape.window

    @classmethod
    def of(cls, name: str, network: Llama, tokenizer: Tokenizer) -> NanoModel:
        """A model from its parts."""
        return cls(name, network, Chat(tokenizer), token_bytes(tokenizer))


def load_fleet(folder: Path, device: torch.device | None = None) -> dict[str, NanoModel]:
    """
    Every model in a folder of Hugging Face folders, by the folders' names; or the one model that `folder` is.

    Raises NetworkError where there is none, or one cannot be run.
    """
    folders = (
        [folder]
        if (folder / CONFIG).is_file()
        else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    )
    if not folders:
        raise NetworkError(f"{folder}: no folder in it has a {CONFIG}")
    return {path.name: _load_model(path, device) for path in folders}


def _load_model(folder: Path, device: torch.device | None) -> NanoModel:
    network = load(folder, device)
    try:
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # the library raises bare Exception
        raise NetworkError(f"{folder}: the tokenizer cannot be read: {error}") from error
    if tokenizer.get_vocab_size() > network.shape.vocabulary:
        raise NetworkError(f"{folder}: the tokenizer has more tokens than the network")
    return NanoModel.of(folder.name, network, tokenizer)


class EngineClosed(RuntimeError):  # noqa: N818
    """The engine takes no more requests."""


class Engine:
    """
    Generates for several models at once in a thread of its own.

        with Engine(load_fleet(folder)) as engine:
            engine.submit("nano-s", prompt_ids, 40, Sampling(temperature=0), deliver=print)
    """

    def __init__(self, models: Mapping[str, NanoModel], most_rows: int = 32, threads: int = 1) -> None:
        """`most_rows`: replies of one model at once. `threads`: torch's, for one step; more pay off late."""
        self.models = dict(models)
        self._threads = threads
        self._batchers = {
            name: Batcher(model.network, model.chat.end, most_rows) for name, model in models.items()
        }
        self._arrivals: deque[tuple[str, Running]] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="nano-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self,
        model: str,
        prompt: Sequence[int],
        most: int,
        sampling: Sampling,
        deliver: Callable[[Piece], None],
        *,
        stops: Sequence[str] = (),
        choice: int = 0,
        each: bool = False,
    ) -> Running:
        """
        Begin a reply of at most `most` tokens; `deliver` gets its pieces, in the engine's thread.

        The last piece has a `finish` (or `failed`). Raises KeyError for a model that is not there, ValueError for a
        prompt that leaves no room in the window, EngineClosed.
        """
        chosen = self.models[model]
        room = chosen.window - len(prompt)
        if not prompt or min(room, most) < 1:
            raise ValueError(f"{len(prompt)} tokens of prompt and {most} of reply do not fit {chosen.window}")
        running = Running(
            prompt=prompt,
            most=min(room, most),
            sampling=sampling,
            luck=sampling.luck(choice),
            transcript=Transcript(chosen.pieces, stops),
            deliver=deliver,
            each=each,
        )
        with self._change:
            if self._closing:
                raise EngineClosed("the engine is closed")
            self._arrivals.append((model, running))
            self._change.notify()
        return running

    def cancel(self, running: Running) -> None:
        """Stop a reply; its row is free before the next token. No more pieces come, but for one under way."""
        running.cancelled = True

    def load_of(self, model: str) -> tuple[int, int]:
        """How many replies of a model run, and how many wait."""
        batcher = self._batchers[model]
        with self._change:
            arriving = sum(name == model for name, _ in self._arrivals)
        return len(batcher.running), len(batcher.waiting) + arriving

    def close(self) -> None:
        """Stop; replies under way fail. Idempotent."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        try:
            while self._collect():
                for name, batcher in self._batchers.items():
                    if batcher.busy:
                        self._advance(name, batcher)
        finally:
            for batcher in self._batchers.values():
                _fail(batcher)

    def _collect(self) -> bool:
        """Hand arrivals to their batchers, waiting for one if nobody has work; False when the engine closes."""
        with self._change:
            while not (self._closing or self._arrivals or any(b.busy for b in self._batchers.values())):
                self._change.wait()
            while self._arrivals:
                name, running = self._arrivals.popleft()
                self._batchers[name].waiting.append(running)
            return not self._closing

    def _advance(self, name: str, batcher: Batcher) -> None:
        try:
            batcher.advance()
        except Exception:  # one model's fault must not silence the others
            logger.exception("generation failed: %s", name)
            _fail(batcher)


def _fail(batcher: Batcher) -> None:
    """Tell everybody that nothing more will come."""
    for running in (*batcher.running, *batcher.waiting):
        if not running.cancelled:
            running.deliver(Piece("", failed=True))
    batcher.running.clear()
    batcher.waiting.clear()
