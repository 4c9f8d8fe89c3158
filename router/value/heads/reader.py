"""What a prompt asks of models, read off its embedding: axes along which models differ, and how hard it is for all."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

STRETCH = 8.0  # an embedding's columns, of about 1/8, to unit scale
SPREAD = 0.15  # of the difficulty, which is a share of outcomes
LEAST = 1e-6  # length and spread of a reader that has seen nothing


class Reader(nn.Module):
    """
    Embeddings (N, D) to axes (N, K), of unit mean square length over the prompts it was fitted to, and difficulty (N,).

    One hidden layer. Without axes the difficulty is learnt with the head; with them `readers` teaches both.
    """

    def __init__(self, width: int, axes: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.blur = nn.Dropout(dropout / 3)
        self.widen = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(hidden, axes + 1)
        if not axes:
            nn.init.zeros_(self.narrow.weight)
            nn.init.zeros_(self.narrow.bias)

    def forward(self, embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.dropout(F.gelu(self.widen(self.blur(embeddings * STRETCH))))
        found = self.narrow(hidden)
        return found[..., :-1], found[..., -1]

    @torch.no_grad()
    def settle(self, embeddings: torch.Tensor) -> None:
        """Centre and scale what comes out by what these embeddings (N, D) give; nothing is learnt from then on."""
        self.eval().requires_grad_(False)
        axes, difficulty = self(embeddings)
        middle = torch.cat([axes.mean(0), difficulty.mean().unsqueeze(0)])
        length = (axes - middle[:-1]).square().sum(1).mean().sqrt().clamp(min=LEAST)
        spread = difficulty.std(correction=0).clamp(min=LEAST)
        scale = torch.cat([(1 / length).expand(axes.shape[1]), (SPREAD / spread).unsqueeze(0)])
        self.narrow.bias.sub_(middle).mul_(scale)
        self.narrow.weight.mul_(scale.unsqueeze(1))
