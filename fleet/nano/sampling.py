"""Logits → the next token of every sequence in a batch, each by its own rules and its own luck."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

COLDEST = 1e-4  # a temperature below this is greedy


@dataclass(frozen=True)
class Sampling:
    """
    How a sequence's tokens are drawn.

    `alternatives` None: no log-probabilities are wanted; else how many beside the drawn token's.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    alternatives: int | None = None

    def luck(self, choice: int = 0) -> Random:
        """
        Where this sequence's random numbers come from: one a token, so that a seed's reply depends on nothing else.

        `choice` tells the several replies to one request apart.
        """
        return Random() if self.seed is None else Random(f"{self.seed} {choice}")


@dataclass(frozen=True)
class Scored:
    """A token with the natural logarithm of the model's own probability for it (temperature 1), and the likeliest."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


def draw(logits: Tensor, rules: Sequence[Sampling], luck: Sequence[float]) -> list[int]:
    """Token ids, one a row of logits (B,V). `luck` is uniform in [0, 1), one a row."""
    greedy = [rule.temperature < COLDEST for rule in rules]
    if all(greedy):
        return logits.argmax(-1).tolist()
    device = logits.device
    heat = torch.tensor([[max(rule.temperature, COLDEST)] for rule in rules], device=device)
    shares = torch.softmax(logits.float() / heat, dim=-1)
    if any(rule.top_p < 1 for rule in rules):
        shares = _nucleus(shares, torch.tensor([[rule.top_p] for rule in rules], device=device))
    reached = shares.cumsum(-1)
    aims = torch.tensor(luck, device=device, dtype=reached.dtype)[:, None] * reached[:, -1:]
    drawn = torch.searchsorted(reached, aims, right=True)[:, 0]
    drawn = drawn.clamp(max=logits.shape[-1] - 1)
    return torch.where(torch.tensor(greedy, device=device), logits.argmax(-1), drawn).tolist()


def _nucleus(shares: Tensor, top_p: Tensor) -> Tensor:
    """Shares without the unlikely tail that is not needed to reach `top_p`; the likeliest token always stays."""
    ordered, order = shares.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.where(
        (before < top_p) | (torch.arange(shares.shape[-1], device=shares.device) == 0), ordered, 0
    )
    return torch.zeros_like(shares).scatter_(-1, order, kept)


def score(logits: Tensor, token: int, alternatives: int) -> Scored:
    """A drawn token's log-probability, and those of the likeliest, from one row of logits (V)."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    values, ids = logprobs.topk(alternatives) if alternatives else (logprobs[:0], logprobs[:0])
    top = tuple(zip(map(int, ids.tolist()), values.tolist(), strict=True))
    return Scored(token, float(logprobs[token]), top)
