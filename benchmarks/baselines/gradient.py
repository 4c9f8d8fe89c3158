"""Training by gradient, the same for every router that needs it: on the CPU, over all models of a prompt at once."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray


ROUNDS = 100


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """
    torch's randomness from this seed, on one thread, inside the block; both as they were after it.

    The steps are small: shared among busy cores they take many times as long, and sums depend on the cores.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def shuffled(prompts: int, batch: int, epochs: int, least_steps: int) -> Iterator[Sequence[torch.Tensor]]:
    """
    Rounds of whole epochs, each epoch every prompt once in random order; at most `ROUNDS` rounds.

    Published numbers of epochs belong to the authors' tables. On a small one they are a handful of steps, and so
    there are as many epochs as make `least_steps` steps; which round is kept is up to validation.
    """
    steps = math.ceil(prompts / batch)
    total = max(epochs, math.ceil(least_steps / steps))
    each = math.ceil(total / ROUNDS)
    for start in range(0, total, each):
        rounds = range(start, min(start + each, total))
        yield [rows for _ in rounds for rows in torch.randperm(prompts).split(batch)]


def drawn(prompts: int, batch: int, rounds: int, steps: int) -> Iterator[Sequence[torch.Tensor]]:
    """Rounds of so many steps, each on prompts drawn at random."""
    for _ in range(rounds):
        yield [torch.randint(prompts, (min(batch, prompts),)) for _ in range(steps)]


def train(
    module: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Callable[[torch.Tensor], torch.Tensor],
    rounds: Iterable[Sequence[torch.Tensor]],
    error: Callable[[], float],
) -> None:
    """
    Minimise `loss` of each batch of rows; the module is left with the weights of the round of least `error`.

    `error` is measured on validation prompts; where there is none it is infinite, and the last round is kept.
    """
    best, kept = float("inf"), None
    for batches in rounds:
        module.train()
        for rows in batches:
            optimiser.zero_grad()
            loss(rows).backward()
            optimiser.step()
        module.eval()
        with torch.no_grad():
            current = error()
        if current < best or best == float("inf"):
            best = current
            kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    if kept is not None:
        module.load_state_dict(kept)


def prompts_of(pairs: int, observed: NDArray[np.bool_]) -> int:
    """How many prompts of a table (P, M) hold about so many observed pairs: at least one."""
    return max(1, round(pairs / max(1.0, observed.sum() / max(1, len(observed)))))


def masked(scores: NDArray[np.floating]) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with 0 for NaN, and 1 where one was observed, 0 elsewhere: (P, M) both."""
    table = torch.as_tensor(scores, dtype=torch.float32)
    seen = ~torch.isnan(table)
    return torch.where(seen, table, 0.0), seen.float()


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over the observed pairs."""
    total = F.binary_cross_entropy_with_logits(logits, labels, weight=seen, reduction="sum")
    return total / seen.sum().clamp(min=1)
