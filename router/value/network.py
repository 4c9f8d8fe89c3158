"""V0 as a torch module: token states → embedding → value. The frozen backbone stays outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from router.value import structure
from router.value.adapter import AdapterConfig
from router.value.connectors import LayerMeans, connect
from router.value.heads.icl import IclConfig, IclHead

if TYPE_CHECKING:
    from router.value.backbone import TokenStates


LAYERS_HEAD = {"axes": 48, "places": 64, "hidden": 512, "dropout": 0.3}


def head_config(adapter: AdapterConfig, **overrides: Any) -> IclConfig:
    """The head that reads this adapter's embeddings."""
    if adapter.connector == "layers":
        by_layer = (adapter.axes,) * adapter.layers
        return IclConfig((*by_layer, structure.WIDTH), **(LAYERS_HEAD | overrides))
    groups = [adapter.output_width, adapter.input_width, structure.WIDTH]
    if adapter.alone:
        groups = groups[:1]
    return IclConfig(groups=tuple(groups), **overrides)


class ValueNetwork(nn.Module):
    """The trained part of V0: adapter and head."""

    def __init__(self, adapter: AdapterConfig, head: IclConfig) -> None:
        super().__init__()
        self.adapter = connect(adapter)
        self.head = IclHead(head)

    @property
    def reads_tokens(self) -> bool:
        """Whether embeddings need token states, or the layers' mean states alone."""
        return not isinstance(self.adapter, LayerMeans)

    def embed(self, encoded: TokenStates, facts: torch.Tensor) -> torch.Tensor:
        """
        Encoded texts and their structure (B, S) to embeddings (B, D), in groups of about unit length.

        Raises `ValueError` where the adapter reads the layers' mean states and the backbone does not give them.
        """
        if not self.reads_tokens:
            if encoded.layers is None:
                raise ValueError(
                    "these weights read every layer of their backbone, and it gives its last alone"
                )
            return torch.cat([self.adapter(encoded.states, encoded.mask, encoded.layers), facts], dim=-1)
        pooled = encoded.pooled()
        answers = F.normalize(self.adapter(encoded.states, encoded.mask, pooled), dim=-1)
        if self.adapter.config.alone:
            return answers
        return torch.cat([answers, pooled, facts], dim=-1)
