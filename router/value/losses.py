"""V0's composite loss (arXiv 2602.03584, Eq. 8): L = α·L_rank + (1-α)·L_CE."""

from __future__ import annotations

import torch
from torch.nn import functional as F

ALPHA = 0.25  # the paper's weight of the ranking term


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


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Soft cross-entropy of σ(logits) against real-valued labels, mean over observed entries (B, M)."""
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def composite_loss(
    logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, alpha: float = ALPHA
) -> torch.Tensor:
    """Eq. 8 over a batch of contexts: ranks within each context, calibrates against each label."""
    return alpha * ranking_loss(logits, labels, mask) + (1 - alpha) * cross_entropy(logits, labels, mask)
