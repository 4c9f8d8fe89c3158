"""V0 with TabPFN for its head: the same steps as `router.value.model.V0`, other parts.

v0 = TabpfnV0.load(Path("tabpfn-v2-classifier-finetuned-zk73skhh.ckpt"))
v0.predict(context=[("What is 2+2?", 1.0), ("Prove Fermat's last theorem.", 0.0)], prompts=["What is 3+3?"])
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from router.value import structure
from router.value.backbone import MINILM, Backbone
from router.value.heads.tabpfn import CACHE_BYTES, ESTIMATORS, Labels, TabpfnContext, TabpfnHead
from router.value.heads.tabpfn_weights import TabpfnWeights
from router.value.library import FromPairs
from router.value.paper import AdapterFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.backbone import TokenStates
    from router.value_settings import TabpfnSettings


logger = logging.getLogger(__name__)

SMALL = 1_000_000  # parameters that a CPU can serve


class Embedder(Protocol):
    """Texts to features (B, dim). `version` names what they come from: those of different versions do not mix."""

    version: str
    dim: int

    def encode(self, texts: Sequence[str]) -> TokenStates: ...

    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]: ...


class PooledFeatures:
    """Features without an adapter: the backbone's sentence embedding, scaled to unit spread, and the prompt's form."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.dim = backbone.width + structure.WIDTH
        self.version = f"{backbone.version}-pooled"

    def encode(self, texts: Sequence[str]) -> TokenStates:
        """The backbone alone."""
        return self._backbone.encode(texts)

    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, width + 16)."""
        pooled = encoded.pooled().cpu().numpy() * self._backbone.width**0.5
        return np.hstack([pooled, structure.structure(texts)]).astype(np.float32)


class TabpfnV0(FromPairs[TabpfnContext]):
    """The value model with a TabPFN head, ready to predict. Give it a thread of its own; fit in another."""

    def __init__(self, embedder: Embedder, head: TabpfnHead) -> None:
        self._embedder = embedder
        self._head = head
        self.version = embedder.version
        self.dim = embedder.dim

    @classmethod
    def load(
        cls,
        tabpfn: Path,
        adapter: Path | None = None,
        backbone: str | None = None,
        device: str = "auto",
        *,
        accept_licence: str | None = None,
        estimators: int = ESTIMATORS,
        labels: Labels = "levels",
        cache_bytes: int = CACHE_BYTES,
    ) -> TabpfnV0:
        """
        TabPFN's weights, and a folder with an adapter trained under it (`router pull v0-paper` makes one).

        Without an adapter the head reads the pooled state of `backbone`, the shipped one by default: 384 + 16 features.
        Raises `TabpfnError`, `PaperError` or `BackboneError`.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        weights = TabpfnWeights.load(tabpfn, device, accept_licence)
        embedder: Embedder = (
            AdapterFolder.load(adapter, device)
            if adapter
            else PooledFeatures(Backbone.load(backbone or MINILM, device))
        )
        size = sum(parameter.numel() for parameter in weights.specs.model.parameters())
        if device == "cpu" and size > SMALL:
            logger.warning(
                "TabPFN on a CPU: reading a context takes minutes, a value seconds (docs/tabpfn.md)"
            )
        head = TabpfnHead(
            weights, embedder.dim, estimators=estimators, labels=labels, cache_bytes=cache_bytes
        )
        return cls(embedder, head)

    @classmethod
    def of(
        cls, settings: TabpfnSettings, adapter: Path | None, backbone: str | None, device: str
    ) -> TabpfnV0:
        """As router.yaml says. Raises what `load` raises."""
        return cls.load(
            settings.weights,
            adapter,
            backbone,
            device,
            accept_licence=settings.accept_licence,
            estimators=settings.estimators,
            labels=settings.labels,
            cache_bytes=settings.cache_bytes,
        )

    def encode(self, texts: Sequence[str]) -> TokenStates:
        """The backbone alone: token states of a batch."""
        return self._embedder.encode(texts)

    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]:
        """The adapter alone: token states to embeddings (B, dim)."""
        return self._embedder.adapt(encoded, texts)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What the head sees in each text: (B, dim)."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return self.adapt(self.encode(texts), texts)

    def _fit(
        self,
        embeddings: NDArray[np.floating],
        labels: NDArray[np.floating],
        beside: TabpfnContext | None = None,
    ) -> TabpfnContext:
        del beside  # TabPFN reads one table
        return self._head.read(embeddings, labels)

    def value(self, embeddings: NDArray[np.floating], contexts: Sequence[Any]) -> NDArray[np.float32]:
        """Predicted success of every policy on every prompt: (B, M) in [0, 1]."""
        return self._head.value(embeddings, contexts)
