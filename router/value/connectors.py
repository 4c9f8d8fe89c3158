"""The connectors of V0's ablation: seven ways from token states to the columns that the head reads.

The paper (arXiv 2602.03584) names last token, MLP, cascaded, multi-scale, fixed query, pyramidal fixed and residual
dynamic; its released code holds the first, the fifth and the last. Those three are the paper's; the docstrings of the
other four say how we read their names. The paper's backbone pools by its last token; where a connector starts from
"the" sentence state, ours takes the backbone's own pooling, whatever that is, and `pooled` hands on that state itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from router.value.adapter import AdapterConfig, Connector, ConnectorName, ResidualQueryAdapter

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = 2  # of the cascade
PARTS = (1, 2, 4, 8)  # into which multi-scale cuts a prompt
WINDOWS = (16, 4, 1)  # tokens that a level of the pyramid sees as one, coarse to fine


def connect(config: AdapterConfig) -> Connector:
    """The connector that a configuration names. Raises `ValueError` for a name that there is not."""
    if config.connector not in CONNECTORS:
        raise ValueError(f"connector {config.connector!r} is none of {', '.join(CONNECTORS)}")
    return CONNECTORS[config.connector](config)


class LayerMeans(Connector):
    """
    The mean states of every layer (B, L, H) along their principal axes (B, L·A), of unit mean square length a layer.

    What a sentence embedding is trained to forget, its last layer has forgotten: how long a prompt is, how it is
    worded and laid out. The layers before know it, and it tells more of a prompt's difficulty (docs/experiments.md).
    The axes are the training prompts'; no gradient moves them.
    """

    middle: torch.Tensor
    axes: torch.Tensor

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        self.register_buffer("middle", torch.zeros(config.layers, config.input_width))
        self.register_buffer("axes", torch.zeros(config.layers, config.input_width, config.axes))

    def fit(self, layers: torch.Tensor) -> None:
        """Find the axes in the mean states (P, L, H) of many prompts."""
        self.middle.copy_(layers.mean(0))
        for number, states in enumerate((layers - self.middle).unbind(1)):
            spread = states.T.double() @ states.double() / len(states)  # (H, H)
            rows = torch.linalg.eigh(spread).eigenvectors.flip(1)[:, : self.config.axes]
            self.axes[number].copy_(rows / spread.trace().sqrt())

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return torch.einsum("blh,lha->bla", pooled - self.middle, self.axes).flatten(1)


class LastToken(Connector):
    """The last real token's state, as it is: nothing to train."""

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
        return states[torch.arange(len(states), device=states.device), last]


class Pooled(Connector):
    """The backbone's own sentence embedding, as it is: what the last token is to the paper's backbone."""

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return pooled


class Mlp(Connector):
    """Two layers over the pooled state, shaped like the residual connector's generator."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Linear(config.input_width, config.generator_width),
            nn.LayerNorm(config.generator_width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.generator_width, config.output_width),
        )

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return self.layers(pooled)


class QueryAttention(nn.Module):
    """Queries (B, K, W) read token states (B, T, H) through one narrow multi-head attention: (B, K, W)."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        width = config.query_width
        self.proj_kv = nn.Linear(config.input_width, width)
        self.mha = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.ln_q = nn.LayerNorm(width)
        self.ln_kv = nn.LayerNorm(width)

    def forward(self, queries: torch.Tensor, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kv = self.proj_kv(states)
        answers, _ = self.mha(
            self.ln_q(queries), self.ln_kv(kv), kv, key_padding_mask=~mask, need_weights=False
        )
        return answers


class FixedQuery(Connector):
    """Static queries alone: the residual connector without its residual."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        self.queries = nn.Parameter(torch.randn(config.queries, config.query_width))
        self.attention = QueryAttention(config)

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return self.attention(self.queries.expand(len(states), -1, -1), states, mask).flatten(1)


class Cascaded(Connector):
    """Our reading: static queries read the tokens, and what they learnt is added to the next stage's queries."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        self.queries = nn.Parameter(torch.randn(STAGES, config.queries, config.query_width))
        self.stages = nn.ModuleList(QueryAttention(config) for _ in range(STAGES))

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        answers = torch.zeros_like(self.queries[0]).expand(len(states), -1, -1)
        for queries, stage in zip(self.queries, self.stages, strict=True):
            answers = stage(queries + answers, states, mask)
        return answers.flatten(1)


class MultiScale(Connector):
    """Our reading: means over the whole prompt, its halves, quarters and eighths, projected; no queries."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        width = max(1, config.output_width // sum(PARTS))
        self.scales = nn.ModuleList(nn.Linear(config.input_width, width) for _ in PARTS)
        self.out = nn.Linear(width * sum(PARTS), config.output_width)

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        found = [
            scale(_parts(states, mask, parts)).flatten(1)
            for parts, scale in zip(PARTS, self.scales, strict=True)
        ]
        return self.out(F.gelu(torch.cat(found, dim=-1)))


class PyramidalFixed(Connector):
    """
    Our reading: static queries over a pyramid of resolutions, each level half as many as the next finer one.

    The coarsest level sees windows of 16 tokens, the finest single tokens.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        self.queries = nn.Parameter(torch.randn(config.queries, config.query_width))
        unit = max(1, config.queries // (2 ** len(WINDOWS) - 1))
        coarse = [unit * 2**level for level in range(len(WINDOWS) - 1)]
        self.counts = [*coarse, config.queries - sum(coarse)]
        if self.counts[-1] < 1:
            raise ValueError(f"pyramidal_fixed needs more than {sum(coarse)} queries, not {config.queries}")
        self.levels = nn.ModuleList(QueryAttention(config) for _ in WINDOWS)

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        answers = [
            level(queries.expand(len(states), -1, -1), *_windows(states, mask, window))
            for queries, level, window in zip(
                self.queries.split(self.counts), self.levels, WINDOWS, strict=True
            )
        ]
        return torch.cat(answers, dim=1).flatten(1)


def _parts(states: torch.Tensor, mask: torch.Tensor, parts: int) -> torch.Tensor:
    """Means (B, parts, H) over equal parts of each prompt; a part without tokens is zero."""
    place = mask.cumsum(1) - 1
    which = (place * parts // mask.sum(1, keepdim=True).clamp(min=1)).clamp(0, parts - 1)
    inside = F.one_hot(which, parts).to(states.dtype) * mask.unsqueeze(-1)  # (B, T, parts)
    return inside.transpose(1, 2) @ states / inside.sum(1).clamp(min=1).unsqueeze(-1)


def _windows(states: torch.Tensor, mask: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over windows of `size` tokens, (B, ⌈T/size⌉, H), and which windows have any, (B, ⌈T/size⌉)."""
    if size == 1:
        return states, mask
    missing = -states.shape[1] % size
    states = F.pad(states * mask.unsqueeze(-1), (0, 0, 0, missing)).unflatten(1, (-1, size))
    count = F.pad(mask, (0, missing)).unflatten(1, (-1, size)).sum(2)
    return states.sum(2) / count.clamp(min=1).unsqueeze(-1), count > 0


CONNECTORS: dict[ConnectorName, Callable[[AdapterConfig], Connector]] = {
    "layers": LayerMeans,
    "last_token": LastToken,
    "pooled": Pooled,
    "mlp": Mlp,
    "cascaded": Cascaded,
    "multi_scale": MultiScale,
    "fixed_query": FixedQuery,
    "pyramidal_fixed": PyramidalFixed,
    "residual_dynamic": ResidualQueryAdapter,
}
