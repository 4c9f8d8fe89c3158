"""V0: a generalist value model (arXiv 2602.03584). Backbone → Residual Query Adapter → in-context head.

    v0 = V0.load()
    v0.predict(context=[("What is 2+2?", 1.0), ("Prove Fermat's last theorem.", 0.0)], prompts=["What is 3+3?"])

A context is what one policy did on some prompts; the values are that policy's chances on new ones.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import torch

from router.value import checkpoint as checkpoints
from router.value import structure
from router.value.backbone import Backbone
from router.value.heads.calibrate import read_calibrated
from router.value.heads.icl import IclContext, stack
from router.value.library import FromPairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.backbone import TokenStates
    from router.value.network import ValueNetwork

Context = IclContext

KEPT_STACKS = 4  # fleets whose stacked contexts are kept: the current one, and some β or subsets beside it


class V0(FromPairs[IclContext]):
    """
    The value model, ready to predict. Not thread-safe: give it a thread of its own.

    `version` names backbone and adapter: embeddings of another version mean something else.
    """

    def __init__(self, backbone: Backbone, network: ValueNetwork) -> None:
        self._backbone = backbone
        self._network = network.to(backbone.device).eval()
        self._device = backbone.device
        self._stacks: OrderedDict[tuple[int, ...], tuple[Sequence[Context], Context]] = OrderedDict()
        self.version = f"{backbone.version}-{_digest(network.adapter)}"
        self.dim = network.head.config.input_width

    @classmethod
    def load(cls, weights: Path | None = None, backbone: str | None = None, device: str = "auto") -> V0:
        """
        Load weights (default: those in the package) with the backbone they were trained on.

        Raises `CheckpointError` for a file that is not V0's, `BackboneError` for a missing or other backbone.
        """
        checkpoint = checkpoints.load(weights)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded = Backbone.load(backbone or checkpoint.backbone, device)
        if loaded.version != checkpoint.backbone_version:
            raise checkpoints.CheckpointError(
                f"the weights were trained on backbone {checkpoint.backbone} ({checkpoint.backbone_version}), "
                f"not on {backbone} ({loaded.version})"
            )
        return cls(loaded, checkpoint.network)

    def encode(self, texts: Sequence[str]) -> TokenStates:
        """The backbone alone: token states of a batch."""
        return self._backbone.encode(texts)

    @torch.inference_mode()
    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]:
        """The adapter alone: token states to embeddings (B, dim)."""
        facts = torch.from_numpy(structure.structure(texts)).to(self._device)
        embeddings = self._network.embed(encoded.states, encoded.mask, encoded.pooled(), facts)
        return embeddings.float().cpu().numpy()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What V0 sees in each text: (B, dim)."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return self.adapt(self.encode(texts), texts)

    @torch.inference_mode()
    def _fit(self, embeddings: NDArray[np.floating], labels: NDArray[np.floating]) -> Context:
        rows = torch.from_numpy(np.asarray(embeddings, dtype=np.float32)).to(self._device)
        outcomes = torch.from_numpy(np.asarray(labels, dtype=np.float32)).to(self._device)
        return read_calibrated(self._network.head, rows, outcomes)

    @torch.inference_mode()
    def value(self, embeddings: NDArray[np.floating], contexts: Sequence[Context]) -> NDArray[np.float32]:
        """Predicted success of every policy on every prompt: (B, M) in (0, 1)."""
        queries = torch.from_numpy(np.asarray(embeddings, dtype=np.float32)).to(self._device)
        if not contexts or not len(queries):
            return np.zeros((len(queries), len(contexts)), dtype=np.float32)
        logits = self._network.head.value(queries, self._stacked(contexts))  # (M, B)
        return torch.sigmoid(logits).T.float().cpu().numpy()

    def _stacked(self, contexts: Sequence[Context]) -> Context:
        """The contexts side by side, kept while the same ones are asked for: stacking copies megabytes."""
        key = tuple(map(id, contexts))
        if key not in self._stacks:
            # the contexts are kept beside their stack, so that an id is never reused while it is a key
            self._stacks[key] = (list(contexts), stack(contexts))
            if len(self._stacks) > KEPT_STACKS:
                self._stacks.popitem(last=False)
        self._stacks.move_to_end(key)
        return self._stacks[key][1]


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
