"""V0 as a torch module: token states → embedding → value. The frozen backbone stays outside."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from router.value import structure
from router.value.adapter import AdapterConfig
from router.value.connectors import connect
from router.value.heads.icl import IclConfig, IclHead


def head_config(adapter: AdapterConfig, **overrides: Any) -> IclConfig:
    """The head that reads this adapter's embeddings: answers, and unless `alone` pooled state and structure."""
    if adapter.alone:
        return IclConfig(input_width=adapter.output_width, **overrides)
    start, width = adapter.output_width, adapter.input_width
    return IclConfig(input_width=start + width + structure.WIDTH, pooled=(start, start + width), **overrides)


class ValueNetwork(nn.Module):
    """The trained part of V0: adapter and head."""

    def __init__(self, adapter: AdapterConfig, head: IclConfig) -> None:
        super().__init__()
        self.adapter = connect(adapter)
        self.head = IclHead(head)

    @property
    def reads_tokens(self) -> bool:
        """Whether embeddings need token states, or the pooled state alone."""
        return self.adapter.config.connector != "none"

    def embed(
        self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor, facts: torch.Tensor
    ) -> torch.Tensor:
        """States (B, T, H), mask (B, T), pooled (B, H) normalised, structure (B, S) to embeddings (B, D)."""
        if not self.reads_tokens:
            return torch.cat([pooled * pooled.shape[-1] ** 0.5, facts], dim=-1)
        answers = self.adapter(states, mask, pooled)
        answers = F.layer_norm(answers, answers.shape[-1:])
        if self.adapter.config.alone:
            return answers
        return torch.cat([answers, pooled * pooled.shape[-1] ** 0.5, facts], dim=-1)
