"""What a task is, and which side of the split it falls on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["profile", "test"]


@dataclass(frozen=True)
class Task:
    """A prompt, the answer to it, and the verifier (see `router.verifiers`) that compares a reply with the answer."""

    prompt: str
    answer: str
    verifier: str
    family: str
    domain: str
    difficulty: int  # 1 to 5


@dataclass(frozen=True)
class Draft:
    """One draw of a family. `key` is the problem without its wording: equal keys mean the same problem."""

    prompt: str
    answer: str
    verifier: str
    key: str


@dataclass(frozen=True)
class Family:
    """A kind of task: `draw(rng, difficulty)` writes a new one."""

    name: str
    domain: str
    draw: Callable[[Random, int], Draft]


def side(family: str, key: str) -> Split:
    """The split that owns a problem. A hash decides, so no wording of it ever shows up in the other split."""
    digest = hashlib.sha256(f"{family}\n{key}".encode()).digest()
    return "profile" if digest[0] % 2 else "test"
