"""V0 as a torch module: token states → embedding → value. The frozen backbone stays outside."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from router.value import structure
from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.heads.icl import IclConfig, IclHead


def embedding_width(adapter: AdapterConfig) -> int:
    """Adapter answers, pooled state and structure side by side."""
    return adapter.output_width + adapter.input_width + structure.WIDTH


class ValueNetwork(nn.Module):
    """The trained part of V0: adapter and head."""

    def __init__(self, adapter: AdapterConfig, head: IclConfig) -> None:
        super().__init__()
        self.adapter = ResidualQueryAdapter(adapter)
        self.head = IclHead(head)

    def embed(
        self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor, facts: torch.Tensor
    ) -> torch.Tensor:
        """States (B, T, H), mask (B, T), pooled (B, H) normalised, structure (B, S) to embeddings (B, D)."""
        answers = self.adapter(states, mask, pooled)
        answers = F.layer_norm(answers, answers.shape[-1:])
        return torch.cat([answers, pooled * pooled.shape[-1] ** 0.5, facts], dim=-1)
