"""The `icl` head: an in-context transformer that reads a capability context and values new prompts.

One token per context row, real-valued labels, no positions: any order of the rows gives the same value. The
rows attend to each other; a query attends to the rows and never the other way round, so that the rows' keys
and values are computed once per context (`read`) and every later query costs one token (`value`).

Beside attention, each context makes three closed-form guesses: a ridge regression in a learned space, and two
kernel averages over like prompts, one broad and one narrow. They are stacked by how well each foretells the rows
when these are left out. Rows see their left-out guesses and queries their guesses: the transformer starts from
what the best plain predictor of this context would say, and learns what is missing in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BLOCK = 2048  # queries whose likeness to a context's rows is held in memory together


@dataclass(frozen=True)
class IclConfig:
    """Shape of the head; `input_width` is the embedding's."""

    input_width: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    ridge_width: int = 256
    pooled: tuple[int, int] = (0, 0)  # where the backbone's pooled state lies in the embedding
    axes: int = 64  # the kernels see it along this many
    sharpness: tuple[float, ...] = (4.0, 12.0)  # of the kernels, at the start
    hidden: int = 256
    dropout: float = 0.0


@dataclass(frozen=True)
class IclContext:
    """What is kept of B contexts of up to N rows: nothing of it depends on the query."""

    keys: list[torch.Tensor]  # per layer (B, kv_heads, 1+N, width/heads); row 0 is the empty context's
    values: list[torch.Tensor]  # likewise
    mask: torch.Tensor  # (B, 1+N), True on rows that exist
    # (B, 5+G): centre, spread, log count, logit of the shrunk mean, skill of each guess and of their stack
    summary: torch.Tensor
    ridge: torch.Tensor  # (B, R+1): weights and offset of the linear fit
    places: torch.Tensor  # (B, N, A): where each row lies for the kernels, unit vectors
    labels: torch.Tensor  # (B, N): centred, 0 where there is no row
    blend: torch.Tensor  # (B, G): how the guesses are stacked
    calibration: torch.Tensor  # (B, 2): slope and offset of the logits

    @property
    def batch(self) -> int:
        return self.mask.shape[0]


class IclHead(nn.Module):
    """Embeddings (B, N, D) with labels (B, N) to a context; context and queries (B, M, D) to logits (B, M)."""

    axes: torch.Tensor

    def __init__(self, config: IclConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.widen = nn.Sequential(
            nn.Linear(config.input_width, config.hidden), nn.GELU(), nn.Dropout(config.dropout)
        )
        self.narrow = nn.Linear(config.hidden, width)
        self.ridge_features = nn.Linear(config.hidden + config.input_width, config.ridge_width)
        self.log_penalty = nn.Parameter(torch.tensor(float(config.ridge_width)).log())
        self.log_sharpness = nn.Parameter(torch.tensor(config.sharpness).log())
        width_pooled = config.pooled[1] - config.pooled[0]
        axes = torch.linalg.qr(torch.randn(max(width_pooled, config.axes), config.axes))[0][:width_pooled]
        self.register_buffer("axes", axes)  # (H, A); training puts the prompts' principal axes here
        guesses = 1 + len(config.sharpness)
        # centred label, label, left-out guesses, their stack
        self.embed_label = nn.Linear(2 + guesses + 1, width)
        self.embed_query = nn.Linear(guesses + 1, width)
        self.embed_summary = nn.Linear(4 + guesses + 1, width)
        self.empty = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)
        self.base_weight = nn.Parameter(torch.ones(()))
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
        centre, spread = summary[:, :1], summary[:, 1:2]
        centred = (labels - centre) * weights
        ridge, fitted = fit_linear(features, centred, weights, self.log_penalty.exp())
        places = self._places(embeddings)
        nearby = self._kernels(places, places, centred, weights, skip=0)  # (B, N, K)
        left_out = torch.cat([fitted.unsqueeze(-1), nearby], dim=-1)  # (B, N, G)
        blend = _stack_guesses(left_out, centred, weights, spread)
        left_out = torch.cat([left_out, left_out @ blend.unsqueeze(-1)], dim=-1)
        summary = torch.cat([summary, _skill(left_out, centred, weights)], dim=-1)
        seen = torch.stack([centred / spread, labels - 0.5], dim=-1)
        seen = torch.cat([seen, left_out / spread.unsqueeze(-1)], dim=-1) * weights.unsqueeze(-1)
        rows = x + self.embed_label(seen) + self.embed_summary(summary).unsqueeze(1)
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
        places = places.expand(len(labels), -1, -1)
        neutral = torch.tensor([1.0, 0.0], device=labels.device, dtype=blend.dtype).expand(len(labels), 2)
        return IclContext(keys, values, mask, summary, ridge, places, centred, blend, neutral)

    def value(self, embeddings: torch.Tensor, context: IclContext) -> torch.Tensor:
        """Logits (B, M) of queries (B, M, D), or of the same queries (M, D) against every context."""
        x, features = self._represent(embeddings, context.batch)
        weights, offset = context.ridge[:, :-1], context.ridge[:, -1:]
        fitted = (features @ weights.unsqueeze(-1)).squeeze(-1) + offset  # (B, M), centred on the mean label
        rows = context.mask[:, 1:].to(embeddings.dtype)
        nearby = self._kernels(self._places(embeddings), context.places, context.labels, rows)
        guesses = torch.cat([fitted.unsqueeze(-1), nearby], dim=-1)  # (B, M, G)
        stacked = guesses @ context.blend.unsqueeze(-1)  # (B, M, 1)
        centre, spread = context.summary[:, :1], context.summary[:, 1, None, None]
        tokens = x + self.embed_query(torch.cat([guesses, stacked], dim=-1) / spread)
        tokens = tokens + self.embed_summary(context.summary).unsqueeze(1)
        for block, keys, values in zip(self._layers(), context.keys, context.values, strict=True):
            tokens = block(tokens, keys, values, context.mask, context.summary[:, 2])
        correction = self.out(self.norm(tokens)).squeeze(-1)
        start = torch.logit((centre + stacked.squeeze(-1)).clamp(0.02, 0.98))
        slope, offset = context.calibration[:, :1], context.calibration[:, 1:]
        return slope * (self.base_weight * start + correction) + offset

    def _places(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Unit vectors (B, N, A); B = 1 where the prompts are shared."""
        places = F.normalize(embeddings[..., slice(*self.config.pooled)] @ self.axes, dim=-1)
        return places if places.dim() == 3 else places.unsqueeze(0)

    def _kernels(
        self,
        queries: torch.Tensor,  # (1 or B, M, A)
        places: torch.Tensor,  # (1 or B, N, A)
        centred: torch.Tensor,  # (B, N)
        weights: torch.Tensor,  # (B, N)
        skip: int | None = None,  # query i does not see row skip + i
    ) -> torch.Tensor:
        """Kernel averages (B, M, K) of the centred labels, 0 where there are no rows."""
        if queries.shape[1] > BLOCK:  # a long context meets itself, or many queries, a block at a time
            return torch.cat(
                [
                    self._kernels(block, places, centred, weights, None if skip is None else skip + start)
                    for start, block in zip(
                        range(0, queries.shape[1], BLOCK), queries.split(BLOCK, dim=1), strict=True
                    )
                ],
                dim=1,
            )
        likeness = (queries @ places.transpose(1, 2)).unsqueeze(1) - 1  # (1 or B, 1, M, N), at most 0
        kernel = torch.exp(likeness * self.log_sharpness.exp()[:, None, None])  # (1 or B, K, M, N)
        if skip is not None:
            rows = torch.arange(places.shape[1], device=kernel.device)
            kernel = kernel * (rows != skip + rows[: kernel.shape[2], None])
        if len(kernel) == 1:  # all contexts share the prompts: one product
            sums = kernel[0] @ torch.cat([centred, weights]).T  # (K, M, 2B)
            above, below = sums.permute(2, 1, 0).chunk(2)  # (B, M, K) each
        else:
            sums = kernel @ torch.stack([centred, weights], dim=-1).unsqueeze(1)  # (B, K, M, 2)
            above, below = sums.transpose(1, 2).unbind(-1)
        return above / (below + 1e-12)

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


def fit_linear(
    features: torch.Tensor,  # (B, N, R)
    centred: torch.Tensor,  # (B, N), labels less their centre, 0 where there is no row
    weights: torch.Tensor,  # (B, N), 1 on rows that exist
    penalty: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Closed-form ridge: weights and offset (B, R+1), and leave-one-out predictions (B, N; PRESS)."""
    count = weights.sum(1, keepdim=True).clamp(min=1)
    middle = (features * weights.unsqueeze(-1)).sum(1) / count  # (B, R)
    x = (features - middle.unsqueeze(1)) * weights.unsqueeze(-1)
    identity = torch.eye(x.shape[-1], device=x.device, dtype=x.dtype)
    factor = torch.linalg.cholesky(x.transpose(1, 2) @ x + penalty * identity)
    # root of the inverse: rootᵀ · root = (xᵀx + λ)⁻¹
    root = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    solution = (root.transpose(1, 2) @ (root @ (x.transpose(1, 2) @ centred.unsqueeze(-1)))).squeeze(-1)
    leverage = (x @ root.transpose(1, 2)).square().sum(-1).clamp(max=0.99)  # (B, N)
    fitted = (x @ solution.unsqueeze(-1)).squeeze(-1)
    left_out = (fitted - leverage * centred) / (1 - leverage) * weights
    offset = -(middle * solution).sum(-1, keepdim=True)
    return torch.cat([solution, offset], dim=-1), left_out


def _stack_guesses(
    left_out: torch.Tensor,  # (B, N, G)
    centred: torch.Tensor,  # (B, N)
    weights: torch.Tensor,  # (B, N)
    spread: torch.Tensor,  # (B, 1)
) -> torch.Tensor:
    """Least squares of the labels on the left-out guesses, drawn to their plain average: (B, G)."""
    guesses = left_out * weights.unsqueeze(-1)
    size = guesses.shape[-1]
    start = torch.full((size,), 1 / size, device=guesses.device, dtype=guesses.dtype)
    identity = torch.eye(size, device=guesses.device, dtype=guesses.dtype)
    gram = guesses.transpose(1, 2) @ guesses + spread.unsqueeze(-1) ** 2 * identity
    missing = guesses.transpose(1, 2) @ (centred - guesses @ start).unsqueeze(-1)
    return start + torch.linalg.solve(gram, missing).squeeze(-1)


def _skill(left_out: torch.Tensor, centred: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Share of the labels' variance that each left-out guess (B, N, G) explains, in [-1, 1]: (B, G)."""
    count = weights.sum(1, keepdim=True).clamp(min=1)
    variance = (centred**2).sum(1, keepdim=True) / count
    missed = (((left_out - centred.unsqueeze(-1)) * weights.unsqueeze(-1)) ** 2).sum(1) / count
    return (1 - (missed + 1e-3) / (variance + 1e-3)).clamp(-1, 1)  # 0 without rows


def stack(contexts: Sequence[IclContext]) -> IclContext:
    """Contexts of different lengths as one batch, padded with rows that nobody reads."""
    longest = max(context.mask.shape[1] for context in contexts)

    def lengthen(rows: torch.Tensor, to: int = longest) -> torch.Tensor:  # (…, rows, size)
        return F.pad(rows, (0, 0, 0, to - rows.shape[-2]))

    layers = range(len(contexts[0].keys))
    return IclContext(
        keys=[torch.cat([lengthen(context.keys[i]) for context in contexts]) for i in layers],
        values=[torch.cat([lengthen(context.values[i]) for context in contexts]) for i in layers],
        mask=torch.cat([F.pad(context.mask, (0, longest - context.mask.shape[1])) for context in contexts]),
        summary=torch.cat([context.summary for context in contexts]),
        ridge=torch.cat([context.ridge for context in contexts]),
        blend=torch.cat([context.blend for context in contexts]),
        calibration=torch.cat([context.calibration for context in contexts]),
        places=torch.cat([lengthen(context.places, longest - 1) for context in contexts]),
        labels=torch.cat(
            [F.pad(context.labels, (0, longest - context.mask.shape[1])) for context in contexts]
        ),
    )
