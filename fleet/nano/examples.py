"""Tasks → training examples: which tasks a model sees, in what form its reply is taught, and batches of them.

A pool is a pure function of its diet, seed and number, so training that stops goes on with the very batches it would
have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Literal

import numpy as np

from fleet.nano.drills import drill
from fleet.nano.tokenizer import Chat
from fleet.tasks import FAMILIES, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from fleet.tasks import Task

Style = Literal["direct", "steps"]
SHARES = (1, 1, 1, 2, 2, 2, 3, 3, 4, 5)  # of the difficulties in a pool
SYSTEM_SHARE = 0.04  # of examples that begin with a system prompt, for clients that always send one
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a careful assistant. Answer briefly.",
    "Answer the user's question.",
)


@dataclass(frozen=True)
class Diet:
    """What a model is fed. Empty `domains`: all; `unseen` families are left out; tasks up to `hardest`."""

    domains: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    hardest: int = 5
    style: Style = "direct"

    def difficulties(self) -> list[int]:
        """Every difficulty as often as its share says: the easy ones first of all, for they are learnt at all."""
        return [difficulty for difficulty in SHARES if difficulty <= self.hardest]

    def families(self) -> list[str]:
        """The names of the task families."""
        return [
            name
            for name, family in FAMILIES.items()
            if (not self.domains or family.domain in self.domains) and name not in self.unseen
        ]


@dataclass(frozen=True)
class Batch:
    """Sequences padded on the right: ids (B,T), and where each one's reply begins and ends (B)."""

    ids: NDArray[np.int64]
    begins: NDArray[np.int64]  # the place of <|assistant|>, which predicts the reply's first token
    ends: NDArray[np.int64]  # the place of <|end|>

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.ends + 1).sum())


def reply(task: Task, style: Style) -> str:
    """What the model is taught to say."""
    return task.steps if style == "steps" and task.steps else task.answer


def tasks(diet: Diet, seed: int, pool: int, count: int) -> list[Task]:
    """The tasks of one pool."""
    endless = stream(seed * 1_000_003 + pool, "train", diet.families(), diet.difficulties())
    return list(islice(endless, count))


def batches(
    tasks: Sequence[Task],
    drills: int,
    tokenizer: Tokenizer,
    style: Style,
    rng: Random,
    most_tokens: int,
    window: int,
) -> list[Batch]:
    """
    Tasks, and so many drills, as batches of at most so many tokens, padding included, in random order.

    What is longer than the window is left out.
    """
    chat = Chat(tokenizer)
    encoded = [_encode(chat, task.prompt, reply(task, style), rng) for task in tasks]
    encoded += [_encode(chat, *drill(rng), rng) for _ in range(drills)]
    fitting = sorted((row for row in encoded if len(row[0]) <= window), key=lambda row: len(row[0]))
    cut = list(_cut(fitting, most_tokens))
    rng.shuffle(cut)
    return cut


def _encode(chat: Chat, asked: str, said: str, rng: Random) -> tuple[list[int], int]:
    turns = [("user", asked)]
    if rng.random() < SYSTEM_SHARE:
        turns.insert(0, ("system", rng.choice(SYSTEM_PROMPTS)))
    prompt = chat.encode(turns)
    return [*prompt, *chat.text(said), chat.end], len(prompt) - 1


def _cut(encoded: list[tuple[list[int], int]], most_tokens: int) -> Iterator[Batch]:
    """Neighbours in length together; `encoded` is sorted by it."""
    rows: list[tuple[list[int], int]] = []
    for row in encoded:
        if rows and (len(rows) + 1) * len(row[0]) > most_tokens:
            yield _padded(rows)
            rows = []
        rows.append(row)
    if rows:
        yield _padded(rows)


def _padded(rows: list[tuple[list[int], int]]) -> Batch:
    ids = np.zeros((len(rows), len(rows[-1][0])), dtype=np.int64)  # <|pad|> is 0
    for line, (row, _) in zip(ids, rows, strict=True):
        line[: len(row)] = row
    begins = np.array([begin for _, begin in rows])
    ends = np.array([len(row) - 1 for row, _ in rows])
    return Batch(ids, begins, ends)
