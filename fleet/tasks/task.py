"""What a task is, and which split owns it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Owner = Literal["train", "validation", "test"]
Split = Literal["train", "validation", "test", "profile"]
"""Train on `train`, fill contexts and choose on `validation`, judge on `test`. `profile` is `validation`."""


@dataclass(frozen=True)
class Task:
    """
    A prompt, the answer to it, and the verifier (see `router.verifiers`) that compares a reply with the answer.

    `steps` is a reply that works the problem out line by line and ends in a line with the answer; None where there
    is nothing to work out.
    """

    prompt: str
    answer: str
    verifier: str
    family: str
    domain: str
    difficulty: int  # 1 to 5
    steps: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """
    One draw of a family.

    `key` is the problem without its wording: equal keys mean the same problem. `working` are the lines that lead to
    the answer, without the answer itself.
    """

    prompt: str
    answer: str
    verifier: str
    key: str
    working: tuple[str, ...] = ()

    @property
    def steps(self) -> str | None:
        """The working, then the answer."""
        return "\n".join((*self.working, f"Answer: {self.answer}")) if self.working else None


@dataclass(frozen=True)
class Family:
    """A kind of task: `draw(rng, difficulty)` writes a new one. `phrases` are its ways of asking, for each question."""

    name: str
    domain: str
    draw: Callable[[Random, int], Draft]
    phrases: tuple[tuple[str, ...], ...] = ()


def side(family: str, key: str) -> Owner:
    """The split that owns a problem. A hash decides, so no wording of it ever shows up in another split."""
    place = hashlib.sha256(f"{family}\n{key}".encode()).digest()[0]
    return "train" if place < 192 else "validation" if place < 224 else "test"


def owner(split: Split) -> Owner:
    """A split by its own name. Raises ValueError for what is none."""
    if split not in ("train", "validation", "test", "profile"):
        raise ValueError(f"no split is called {split!r}; there are train, validation (or profile) and test")
    return "validation" if split == "profile" else split
