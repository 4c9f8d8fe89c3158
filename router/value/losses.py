"""V0's losses (arXiv 2602.03584): the composite of Eq. 8, L = α·L_rank + (1-α)·L_CE, and those it is compared with.

A pair of one context cancels whatever the head adds to all of that context's logits; a pair across contexts does not,
nor does cross-entropy (`router.value.diagnostics` measures it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA = 0.25  # the paper's weight of the ranking term

LossName = Literal["ce", "intra", "intra+inter", "intra+ce"]


def ranking_loss(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Mean of -log σ(s_i - s_j) over pairs of one context with opposing labels (r_i ≥ .5 > r_j).

    All arguments (B, M), one row per context; labels in [0, 1]. Zero when no context has such a pair.
    """
    positive = (labels >= 0.5) & mask
    negative = (labels < 0.5) & mask
    pairs = positive.unsqueeze(2) & negative.unsqueeze(1)  # (B, M, M): i above j
    difference = logits.unsqueeze(2) - logits.unsqueeze(1)
    losses = F.softplus(-difference) * pairs
    # every context weighs the same, however its labels are balanced
    per_context = losses.sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)
    has_pairs = pairs.any(2).any(1)
    return per_context.sum() / has_pairs.sum().clamp(min=1)


def inter_ranking_loss(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Mean of -log σ(s_i - s_j) over pairs with opposing labels whose two contexts differ.

    Arguments as in `ranking_loss`. Zero for a single context, or where no such pair exists.
    """
    context = torch.arange(len(logits), device=logits.device).repeat_interleave(logits.shape[1])
    flat, seen, high = logits.flatten(), mask.flatten(), labels.flatten() >= 0.5
    pairs = (high & seen).unsqueeze(1) & (~high & seen) & (context.unsqueeze(1) != context)
    losses = F.softplus(flat - flat.unsqueeze(1)) * pairs  # [i, j]: i above j
    return losses.sum() / pairs.sum().clamp(min=1)


def fleet_ranking_loss(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Mean of (r_i − r_j)·-log σ(s_i - s_j) over the contexts i, j with r_i > r_j of each query: what routing compares.

    Arguments as in `ranking_loss`, the queries shared by all contexts. Zero where no such pair exists.
    """
    weight = (labels.unsqueeze(1) - labels).clamp(min=0) * (mask.unsqueeze(1) & mask)  # (B, B, M)
    losses = F.softplus(logits - logits.unsqueeze(1)) * weight  # [i, j]: i above j
    return losses.sum() / weight.sum().clamp(min=1)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Soft cross-entropy of σ(logits) against real-valued labels, mean over observed entries (B, M)."""
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def composite_loss(
    logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, alpha: float = ALPHA
) -> torch.Tensor:
    """Eq. 8 over a batch of contexts: ranks within each context, calibrates against each label."""
    return alpha * ranking_loss(logits, labels, mask) + (1 - alpha) * cross_entropy(logits, labels, mask)


def loss_named(
    name: LossName, alpha: float = ALPHA
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """
    A loss of logits, labels and mask, each (B, M), by its name in the paper's ablation; α matters to `intra+ce` only.

    `intra+inter` weighs the two kinds of pairs alike.
    """

    def both(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (ranking_loss(logits, labels, mask) + inter_ranking_loss(logits, labels, mask)) / 2

    def composite(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return composite_loss(logits, labels, mask, alpha)

    losses = {"ce": cross_entropy, "intra": ranking_loss, "intra+inter": both, "intra+ce": composite}
    if name not in losses:
        raise ValueError(f"loss {name!r} is none of {', '.join(losses)}")
    return losses[name]
