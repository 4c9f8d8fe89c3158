"""The paper's own V0 (arXiv 2602.03584): Qwen3-Embedding, the Residual Query Adapter over its tokens, TabPFN on top.

It is opened from a folder that `router.value.paper_checkpoint` makes of the published checkpoint, or that a training of
ours wrote. What is reproduced is the pass that the release's training script describes: left padding, at most 2,048
tokens, no instruction, no normalisation; the generator reads the last token, keys and values are all tokens.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.backbone import Backbone, BackboneError, TokenStates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

FORMAT = "v0-adapter/1"
ADAPTER, BACKBONE = "adapter.safetensors", "backbone"
MAX_TOKENS = 2048
MAX_CHARACTERS = 65_536  # more than 2,048 tokens of any prose; keeps the tokenizer's time bounded

Tensors = dict[str, torch.Tensor]


class PaperError(ValueError):
    """A file is not V0's published checkpoint, or does not fit the backbone."""


class QwenBackbone:
    """Qwen3-Embedding as the paper reads it. `version` names its weights."""

    def __init__(self, model: Any, tokenizer: Any, version: str, device: str) -> None:
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._device = device
        self.version = version
        self.width = int(model.config.hidden_size)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> QwenBackbone:
        """Read a folder as transformers writes it, in float32. Raises `PaperError`."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise PaperError(f"{folder} holds no .safetensors weights")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=True)
            model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except (OSError, ValueError) as error:
            raise PaperError(f"{folder} is not a backbone: {error}") from error
        version = hashlib.sha256("".join(map(sha256, weights)).encode()).hexdigest()[:12]
        return cls(model, tokenizer, version, device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TokenStates:
        """Last hidden states of a batch, padded on the left."""
        inputs = self._tokenizer(
            [text[:MAX_CHARACTERS] for text in texts],
            max_length=MAX_TOKENS,
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        ids, mask = inputs["input_ids"].long().to(self._device), inputs["attention_mask"].to(self._device)
        if not ids.shape[1]:  # nothing but texts without a token
            ids = torch.full((len(texts), 1), self._tokenizer.pad_token_id or 0, device=self._device)
            mask = torch.ones_like(ids)
        mask[:, -1] = 1  # padded on the left, the last is real; a text without a token is one padding token
        states = self._model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return TokenStates(states.float(), mask.bool())


class AdapterFolder:
    """
    Texts to the adapter's features (B, K·W): a backbone with an adapter that was trained under TabPFN.

    Two kinds of backbone: the paper's, beside the adapter in its folder; or one of ours by name, whose mean-pooled
    state the generator reads.
    """

    def __init__(self, backbone: QwenBackbone | Backbone, adapter: ResidualQueryAdapter, device: str) -> None:
        self._backbone = backbone
        self._adapter = adapter.to(device).eval()
        self.dim = adapter.config.output_width
        self.version = f"{backbone.version}-{digest(adapter.state_dict())}"

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> AdapterFolder:
        """Open what `convert` or `save` wrote. Raises `PaperError` or `BackboneError`."""
        header, tensors = _read(folder / ADAPTER)
        adapter = ResidualQueryAdapter(AdapterConfig(**header["adapter"]))
        load_strictly(adapter, tensors, folder / ADAPTER)
        if header["backbone"] == BACKBONE:
            return cls(QwenBackbone.load(folder / BACKBONE, device), adapter, device)
        backbone = Backbone.load(header["backbone"], device)
        if backbone.version != header["backbone_version"]:
            raise BackboneError(
                f"{folder}: trained on {header['backbone']} {header['backbone_version']}, this is {backbone.version}"
            )
        return cls(backbone, adapter, device)

    def encode(self, texts: Sequence[str]) -> TokenStates:
        """The backbone alone."""
        return self._backbone.encode(texts)

    @torch.inference_mode()
    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]:
        """The adapter alone: (B, K·W)."""
        del texts
        return self.features(encoded).float().cpu().numpy()

    def features(self, encoded: TokenStates) -> torch.Tensor:
        """The same with its gradient."""
        summary = (
            last_token(encoded.states, encoded.mask)
            if isinstance(self._backbone, QwenBackbone)
            else encoded.pooled()
        )
        return self._adapter(encoded.states, encoded.mask, summary)


def last_token(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The state of the last real token, padded on whichever side: (B, T, H) and (B, T) to (B, H)."""
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
    return states[torch.arange(len(states), device=states.device), last]


def save(folder: Path, adapter: ResidualQueryAdapter, backbone: str = BACKBONE, version: str = "") -> None:
    """Write an adapter with the name and version of the backbone that it reads; the folder's own by default."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "format": FORMAT,
        "adapter": asdict(adapter.config),
        "backbone": backbone,
        "backbone_version": version,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter.state_dict().items()}
    save_file(tensors, folder / ADAPTER, metadata={"v0": json.dumps(header, sort_keys=True)})


def compare(expected: Mapping[str, torch.Size], tensors: Tensors, where: str) -> None:
    """Raises `PaperError` unless names and shapes are the expected ones, naming those that are not."""
    wrong = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    wrong += [f"{name} is one too many" for name in tensors.keys() - expected.keys()]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if wrong:
        rest = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise PaperError(f"{where}: {'; '.join(sorted(wrong)[:5])}{rest}")


def load_strictly(adapter: ResidualQueryAdapter, tensors: Tensors, where: Path) -> None:
    """Put the tensors into the adapter, each in its place. Raises `PaperError`."""
    compare({name: t.shape for name, t in adapter.state_dict().items()}, tensors, f"{where}: adapter")
    adapter.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("v0", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise PaperError(f"{path}: not a readable adapter ({error})") from error
    if header.get("format") != FORMAT:
        raise PaperError(f"{path}: format {header.get('format')!r}, this version reads {FORMAT!r}")
    return header, tensors


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Twelve digits that name weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def sha256(path: Path) -> str:
    """The file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
