"""The Residual Query Adapter: token states to one fixed-width embedding (V0, arXiv 2602.03584, Section 3.2).

A set of static queries asks what every prompt is asked; a generator adds an offset that depends on the prompt
(the residual, zero at the start of training). Both read the token states through one narrow multi-head
attention, and the answers, flattened, are the prompt's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

ConnectorName = Literal[
    "layers",
    "last_token",
    "pooled",
    "mlp",
    "cascaded",
    "multi_scale",
    "fixed_query",
    "pyramidal_fixed",
    "residual_dynamic",
]


@dataclass(frozen=True)
class AdapterConfig:
    """
    Paper: 168 queries of width 6 with 3 heads, over states of width 1024, generator width 128.

    `connector` is one of `router.value.connectors`. `layers` reads the mean states of all of the backbone's layers
    and no token states; the head sees its answers and the prompt's form. Beside the answers of the others it sees the
    pooled state and the form; `alone` hides both, as in the paper.
    """

    input_width: int = 384
    queries: int = 64
    query_width: int = 6
    heads: int = 3
    generator_width: int = 128
    dropout: float = 0.2
    connector: ConnectorName = "residual_dynamic"
    alone: bool = False
    layers: int = 7  # of `layers`: MiniLM's six, and what enters them
    axes: int = 32  # of each of them

    @property
    def output_width(self) -> int:
        if self.connector == "layers":
            return self.layers * self.axes
        if self.connector in {"last_token", "pooled"}:  # these have nothing to choose
            return self.input_width
        return self.queries * self.query_width


class Connector(nn.Module):
    """
    Token states (B, T, H), mask (B, T) and pooled state (B, H) to answers (B, `config.output_width`).

    `layers` alone takes the layers' mean states (B, L, H) in the pooled state's place, and reads no tokens.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config


class ResidualQueryAdapter(Connector):
    """The `residual_dynamic` connector: token states (B, T, H) and mask (B, T) to answers (B, K·W)."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config)
        width = config.query_width
        self.static_queries = nn.Parameter(torch.randn(config.queries, width))
        self.generator = nn.Sequential(
            nn.Linear(config.input_width, config.generator_width),
            nn.LayerNorm(config.generator_width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.generator_width, config.output_width),
        )
        self.proj_kv = nn.Linear(config.input_width, width)
        self.mha = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.ln_q = nn.LayerNorm(width)
        self.ln_kv = nn.LayerNorm(width)
        last = self.generator[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, states: torch.Tensor, mask: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """`pooled` (B, H) summarises the prompt for the generator; the paper takes the last token's state."""
        kv = self.proj_kv(states)  # (B, T, W)
        offset = self.generator(pooled).unflatten(-1, self.static_queries.shape)  # (B, K, W)
        queries = self.ln_q(self.static_queries + offset)
        answers, _ = self.mha(queries, self.ln_kv(kv), kv, key_padding_mask=~mask, need_weights=False)
        return answers.flatten(1)  # (B, K·W)
