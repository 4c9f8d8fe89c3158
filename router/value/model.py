"""V0: a generalist value model (arXiv 2602.03584). Backbone → Residual Query Adapter → in-context head.

    v0 = V0.load()
    v0.predict(context=[("What is 2+2?", 1.0), ("Prove Fermat's last theorem.", 0.0)], prompts=["What is 3+3?"])

A context is what one policy did on some prompts; the values are that policy's chances on new ones.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import torch

from router.value import checkpoint as checkpoints
from router.value import structure
from router.value.backbone import Backbone, TokenStates
from router.value.heads.contexts import IclContext, split, stack
from router.value.library import FromPairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.network import ValueNetwork

Context = IclContext

COMMON_PROMPTS = 2048  # at most, that a fleet's common part is read from: those that most models answered
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
        self._stacks: OrderedDict[
            tuple[int, ...], tuple[Sequence[Context], list[tuple[list[int], Context]]]
        ] = OrderedDict()
        with torch.inference_mode():
            self._nobody = self._network.head.nothing()  # one for all: valued in one pass
        self.version = f"{backbone.version}-{_digest(network.adapter)}"
        self.backbone_version, self.backbone_width = backbone.version, backbone.width
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
        if checkpoint.layers:
            loaded.put_layers(checkpoint.layers)
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
        embeddings = self._network.embed(encoded, facts)
        return embeddings.float().cpu().numpy()

    @property
    def reads_tokens(self) -> bool:
        """Whether an embedding needs token states; else `of_layers` makes it of the layers' mean states."""
        return self._network.reads_tokens

    @torch.inference_mode()
    def of_layers(self, layers: NDArray[np.floating], texts: Sequence[str]) -> NDArray[np.float32]:
        """What V0 sees (B, dim) in texts of which the backbone's layers are known on average (B, L+1, H)."""
        rows = torch.from_numpy(np.asarray(layers, dtype=np.float32)).to(self._device)
        nothing = rows.new_zeros(len(rows), 0, rows.shape[-1])
        return self.adapt(TokenStates(nothing, nothing[..., 0].bool(), rows), texts)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What V0 sees in each text: (B, dim)."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return self.adapt(self.encode(texts), texts)

    @torch.inference_mode()
    def features(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """What the head's ridges read: embeddings (B, dim) and the reader's axes beside them (B, W)."""
        rows = torch.from_numpy(np.asarray(embeddings, dtype=np.float32)).to(self._device)
        found: NDArray[np.float32] = self._network.head.look(rows).features.cpu().numpy()
        return found

    @torch.inference_mode()
    def _fit(
        self, embeddings: NDArray[np.floating], labels: NDArray[np.floating], beside: Context | None = None
    ) -> Context:
        rows, outcomes = self._on_device(embeddings, labels)
        common = self._nobody if beside is None else beside.common
        return self._network.head.read(rows, outcomes, common=common)

    @torch.inference_mode()
    def _fit_fleet(
        self, histories: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]]
    ) -> list[Context]:
        checked = [self._on_device(embeddings, labels) for embeddings, labels in histories]
        if sum(len(rows) > 0 for rows, _ in checked) < 2:  # a fleet of one has nothing in common
            return [self._fit(*history) for history in histories]
        keys = [[row.tobytes() for row in rows.cpu().numpy()] for rows, _ in checked]
        column = {key: i for i, key in enumerate(_shared(keys, COMMON_PROMPTS))}
        table = torch.zeros(len(column), self.dim, device=self._device)
        sums, counted = (torch.zeros(len(checked), len(column), device=self._device) for _ in range(2))
        groups: dict[tuple[bytes, ...], list[int]] = {}
        for policy, ((rows, outcomes), each) in enumerate(zip(checked, keys, strict=True)):
            groups.setdefault(tuple(each), []).append(policy)
            inside = [i for i, key in enumerate(each) if key in column]
            places = torch.tensor([column[each[i]] for i in inside], dtype=torch.long, device=self._device)
            table[places] = rows[inside]
            sums[policy].index_add_(0, places, outcomes[0, inside])  # a prompt may stand in a history twice
            counted[policy].index_add_(0, places, torch.ones_like(outcomes[0, inside]))
        batches = [
            (checked[members[0]][0], torch.cat([checked[policy][1] for policy in members]))
            for members in groups.values()
        ]
        labels, mask = sums / counted.clamp(min=1), (counted > 0).float()
        read = self._network.head.read_fleet(table, labels, mask, batches)
        contexts = {
            policy: one
            for members, context in zip(groups.values(), read, strict=True)
            for policy, one in zip(members, split(context), strict=True)
        }
        return [contexts[policy] for policy in range(len(checked))]

    def _on_device(
        self, embeddings: NDArray[np.floating], labels: NDArray[np.floating]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (N, dim) and outcomes (1, N)."""
        rows, outcomes = (
            torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32)).to(self._device)
            for each in (embeddings, labels)
        )
        return rows, outcomes.unsqueeze(0)

    @torch.inference_mode()
    def value(self, embeddings: NDArray[np.floating], contexts: Sequence[Context]) -> NDArray[np.float32]:
        """Predicted success of every policy on every prompt: (B, M) in (0, 1)."""
        queries = torch.from_numpy(np.asarray(embeddings, dtype=np.float32)).to(self._device)
        if not contexts or not len(queries):
            return np.zeros((len(queries), len(contexts)), dtype=np.float32)
        logits = torch.empty(len(contexts), len(queries), device=self._device)
        for members, together in self._stacked(contexts):
            logits[members] = self._network.head.value(queries, together)
        return torch.sigmoid(logits).T.float().cpu().numpy()

    def _stacked(self, contexts: Sequence[Context]) -> list[tuple[list[int], Context]]:
        """
        The contexts that were read beside the same fleet, side by side, with their numbers; kept while the same ones
        are asked for.
        """
        key = tuple(map(id, contexts))
        if key not in self._stacks:
            fleets: dict[int, list[int]] = {}
            for number, context in enumerate(contexts):
                fleets.setdefault(id(context.common), []).append(number)
            stacks = [(members, stack([contexts[i] for i in members])) for members in fleets.values()]
            # the contexts are kept beside their stacks, so that an id is never reused while it is a key
            self._stacks[key] = (list(contexts), stacks)
            if len(self._stacks) > KEPT_STACKS:
                self._stacks.popitem(last=False)
        self._stacks.move_to_end(key)
        return self._stacks[key][1]


def _shared(histories: Sequence[Sequence[bytes]], most: int) -> list[bytes]:
    """
    The prompts that most of the models answered, in the order they came in; of those that tie at the edge some, spread
    evenly. Nothing depends on the order of a set, which every process has another of.
    """
    counts = Counter(key for each in histories for key in dict.fromkeys(each))
    ranked = counts.most_common()
    if len(ranked) <= most:
        return [key for key, _ in ranked]
    edge = ranked[most - 1][1]
    sure = [key for key, count in ranked if count > edge]
    tied = [key for key, count in ranked if count == edge]
    room = most - len(sure)
    return sure + [tied[i * len(tied) // room] for i in range(room)]


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
