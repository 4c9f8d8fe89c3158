"""The `icl` head: an in-context transformer that reads a capability context and values new prompts.

One token per context row, real-valued labels, no positions: any order of the rows gives the same value. The
rows attend to each other; a query attends to the rows and never the other way round, so that the rows' keys
and values are computed once per context (`read`) and every later query costs one token (`value`).

Beside attention, each context fits a ridge regression in a learned space, in closed form. Rows see their
leave-one-out prediction and queries their prediction, so that the transformer starts from a linear fit and
learns what is missing in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class IclConfig:
    """Shape of the head; `input_width` is the embedding's."""

    input_width: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    ridge_width: int = 256
    penalties: tuple[float, ...] = (1.0,)  # of the linear fit, at the start, times ridge_width
    hidden: int = 256
    dropout: float = 0.0


@dataclass(frozen=True)
class IclContext:
    """What is kept of B contexts of up to N rows: nothing of it depends on the query."""

    keys: list[torch.Tensor]  # per layer (B, kv_heads, 1+N, width/heads); row 0 is the empty context's
    values: list[torch.Tensor]  # likewise
    mask: torch.Tensor  # (B, 1+N), True on rows that exist
    summary: (
        torch.Tensor
    )  # (B, 5): centre, spread, log count, logit of the shrunk mean, skill of the linear fit
    ridge: torch.Tensor  # (B, R+1): weights and offset of the linear fit

    @property
    def batch(self) -> int:
        return self.mask.shape[0]


class IclHead(nn.Module):
    """Embeddings (B, N, D) with labels (B, N) to a context; context and queries (B, M, D) to logits (B, M)."""

    def __init__(self, config: IclConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.widen = nn.Sequential(
            nn.Linear(config.input_width, config.hidden), nn.GELU(), nn.Dropout(config.dropout)
        )
        self.narrow = nn.Linear(config.hidden, width)
        self.ridge_features = nn.Linear(config.hidden + config.input_width, config.ridge_width)
        self.log_penalties = nn.Parameter(torch.log(config.ridge_width * torch.tensor(config.penalties)))
        self.embed_label = nn.Linear(3, width)  # centred label, label, leave-one-out prediction
        self.embed_query = nn.Linear(1, width)  # prediction
        self.embed_summary = nn.Linear(5, width)
        self.empty = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)
        self.base_weight = nn.Parameter(torch.ones(()))
        self.ridge_weight = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def read(
        self, embeddings: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None = None
    ) -> IclContext:
        """
        Read B contexts: embeddings (B, N, D), or (N, D) shared by all, labels (B, N) in [0, 1], mask (B, N) of
        rows that exist.
        """
        if mask is None:
            mask = torch.ones_like(labels, dtype=torch.bool)
        weights = mask.to(embeddings.dtype)
        summary = _summarise(labels, weights)
        x, features = self._represent(embeddings, len(labels))
        fit = fit_linear(features, labels, weights, summary[:, 0], self.log_penalties.exp())
        summary = torch.cat([summary, fit.skill.unsqueeze(-1)], dim=-1)
        centre, spread = summary[:, :1], summary[:, 1:2]
        seen = torch.stack([(labels - centre) / spread, labels - 0.5, fit.left_out / spread], dim=-1)
        rows = x + self.embed_label(seen * weights.unsqueeze(-1)) + self.embed_summary(summary).unsqueeze(1)
        empty = self.empty + self.embed_summary(summary)
        rows = torch.cat([empty.unsqueeze(1), rows], dim=1)  # (B, 1+N, W)
        mask = F.pad(mask, (1, 0), value=True)
        keys, values = [], []
        for number, block in enumerate(self._layers(), start=1):
            k, v = block.keys_values(rows)
            keys.append(k)
            values.append(v)
            if number < len(self.blocks):  # nobody reads the rows after the last layer
                rows = block(rows, k, v, mask, summary[:, 2])
        return IclContext(keys, values, mask, summary, fit.solution)

    def value(self, embeddings: torch.Tensor, context: IclContext) -> torch.Tensor:
        """Logits (B, M) of queries (B, M, D), or of the same queries (M, D) against every context."""
        x, features = self._represent(embeddings, context.batch)
        weights, offset = context.ridge[:, :-1], context.ridge[:, -1:]
        fitted = (features @ weights.unsqueeze(-1)).squeeze(-1) + offset  # (B, M), centred on the mean label
        spread = context.summary[:, 1:2]
        tokens = (
            x
            + self.embed_query((fitted / spread).unsqueeze(-1))
            + self.embed_summary(context.summary).unsqueeze(1)
        )
        for block, keys, values in zip(self._layers(), context.keys, context.values, strict=True):
            tokens = block(tokens, keys, values, context.mask, context.summary[:, 2])
        correction = self.out(self.norm(tokens)).squeeze(-1)
        base = context.summary[:, 3:4]
        return self.base_weight * base + self.ridge_weight * fitted + correction

    def _layers(self) -> Iterable[Block]:
        return cast("Iterable[Block]", self.blocks)

    def _represent(self, embeddings: torch.Tensor, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, N, W) and features of the linear fit (B, N, R); shared prompts are computed once."""
        hidden = self.widen(embeddings)
        x, features = self.narrow(hidden), self.ridge_features(torch.cat([hidden, embeddings], dim=-1))
        if embeddings.dim() == 2:
            return x.expand(batch, -1, -1), features.expand(batch, -1, -1)
        return x, features


class Block(nn.Module):
    """Attention to the context's rows, then a two-layer network; both residual, pre-norm."""

    def __init__(self, config: IclConfig) -> None:
        super().__init__()
        width, size = config.width, config.width // config.heads
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.norm = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width, bias=False)
        self.to_keys_values = nn.Linear(width, 2 * config.kv_heads * size, bias=False)
        self.norm_query = nn.RMSNorm(size)
        self.norm_key = nn.RMSNorm(size)
        # sharper attention over longer contexts: scale = a + b·log N, per head
        self.sharpness = nn.Parameter(torch.tensor([[1.0, 0.2]]).repeat(config.heads, 1))
        self.project = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        nn.init.zeros_(self.project.weight)

    def keys_values(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (B, kv_heads, N, size) of rows (B, N, W)."""
        both = self.to_keys_values(self.norm(rows)).unflatten(-1, (2, self.kv_heads, -1))
        keys, values = both.permute(2, 0, 3, 1, 4)
        return self.norm_key(keys), values

    def forward(
        self,
        tokens: torch.Tensor,  # (B, M, W)
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,  # (B, N)
        log_count: torch.Tensor,  # (B,)
    ) -> torch.Tensor:
        query = self.to_query(self.norm(tokens)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scale = self.sharpness[:, 0] + self.sharpness[:, 1] * log_count.unsqueeze(-1)  # (B, heads)
        query = self.norm_query(query) * scale[:, :, None, None]
        # the heads that share keys become rows of one product: (B, kv_heads, group·M, size)
        batch, _, many, size = query.shape
        query = query.reshape(batch, self.kv_heads, -1, size)
        answer = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask[:, None, None, :])
        answer = answer.reshape(batch, self.heads, many, size).transpose(1, 2).flatten(2)
        tokens = tokens + self.project(answer)
        return tokens + self.mlp(tokens)


def _summarise(labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Centre, spread, log count and logit of the mean, shrunk towards one half as by two rows: (B, 4)."""
    count = weights.sum(1)
    mean = ((labels * weights).sum(1) + 1) / (count + 2)
    variance = (((labels - mean.unsqueeze(1)) ** 2 * weights).sum(1) + 0.5) / (count + 2)
    return torch.stack([mean, variance.sqrt().clamp(min=0.05), torch.log1p(count), torch.logit(mean)], dim=-1)


@dataclass(frozen=True)
class LinearFit:
    """Ridge regressions of B contexts, blended over penalties by how well each predicts the rows left out."""

    solution: torch.Tensor  # (B, R+1): weights and offset
    left_out: torch.Tensor  # (B, N): what the fit without a row predicts for it, centred
    skill: torch.Tensor  # (B,): share of the labels' variance that the left-out predictions explain


def fit_linear(
    features: torch.Tensor,  # (B, N, R)
    labels: torch.Tensor,  # (B, N)
    weights: torch.Tensor,  # (B, N), 1 on rows that exist
    centre: torch.Tensor,  # (B,)
    penalties: torch.Tensor,  # (P,)
) -> LinearFit:
    """Closed-form ridge of the centred labels for every penalty, with leave-one-out predictions (PRESS)."""
    count = weights.sum(1, keepdim=True).clamp(min=1)
    middle = (features * weights.unsqueeze(-1)).sum(1) / count  # (B, R)
    x = (features - middle.unsqueeze(1)) * weights.unsqueeze(-1)
    y = (labels - centre.unsqueeze(1)) * weights
    identity = torch.eye(x.shape[-1], device=x.device, dtype=x.dtype)
    gram = (x.transpose(1, 2) @ x).unsqueeze(1) + penalties[:, None, None] * identity  # (B, P, R, R)
    factor = torch.linalg.cholesky(gram)
    root = torch.linalg.solve_triangular(
        factor, identity.expand_as(factor), upper=False
    )  # rootᵀ·root = gram⁻¹
    moment = x.transpose(1, 2) @ y.unsqueeze(-1)  # (B, R, 1)
    solutions = root.transpose(2, 3) @ (root @ moment.unsqueeze(1))  # (B, P, R, 1)
    rows = x.unsqueeze(1)  # (B, 1, N, R)
    leverage = (rows @ root.transpose(2, 3)).square().sum(-1).clamp(max=0.99)  # (B, P, N)
    fitted = (rows @ solutions).squeeze(-1)
    left_out = (fitted - leverage * y.unsqueeze(1)) / (1 - leverage) * weights.unsqueeze(1)
    error = ((left_out - y.unsqueeze(1)) ** 2).sum(-1) / count  # (B, P)
    variance = (y**2).sum(-1, keepdim=True) / count + 1e-3
    trust = torch.softmax(-0.5 * count * error / variance, dim=-1)  # the likelihood of each penalty's fit
    solution = (trust[:, :, None] * solutions.squeeze(-1)).sum(1)  # (B, R)
    blended = (trust[:, :, None] * left_out).sum(1)
    skill = 1 - (((blended - y) ** 2).sum(-1) / count.squeeze(-1)) / variance.squeeze(-1)
    offset = -(middle * solution).sum(-1, keepdim=True)
    return LinearFit(torch.cat([solution, offset], dim=-1), blended, skill.clamp(-1, 1))


def stack(contexts: Sequence[IclContext]) -> IclContext:
    """Contexts of different lengths as one batch, padded with rows that nobody reads."""
    longest = max(context.mask.shape[1] for context in contexts)

    def lengthen(rows: torch.Tensor) -> torch.Tensor:  # (B, kv_heads, 1+N, size)
        return F.pad(rows, (0, 0, 0, longest - rows.shape[2]))

    layers = range(len(contexts[0].keys))
    return IclContext(
        keys=[torch.cat([lengthen(context.keys[i]) for context in contexts]) for i in layers],
        values=[torch.cat([lengthen(context.values[i]) for context in contexts]) for i in layers],
        mask=torch.cat([F.pad(context.mask, (0, longest - context.mask.shape[1])) for context in contexts]),
        summary=torch.cat([context.summary for context in contexts]),
        ridge=torch.cat([context.ridge for context in contexts]),
    )
