"""V0's weights on disk: one safetensors file, its configuration in the header, loaded strictly, never pickle."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from router.value.adapter import AdapterConfig
from router.value.heads.icl import IclConfig
from router.value.network import ValueNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "v0-router/5"
SHIPPED = "v0-minilm.safetensors"
TRAINED_ON = "trained_on"  # the tensor beside the weights that is none
LAYERS = "backbone."  # before the names of the backbone's tuned layers


class CheckpointError(ValueError):
    """The file is not a checkpoint of ours, or its tensors are not the ones its configuration asks for."""


@dataclass(frozen=True)
class Checkpoint:
    """A network with its provenance: the backbone that it was trained on, and how."""

    network: ValueNetwork
    backbone: str  # name
    backbone_version: str
    training: dict[str, Any]
    trained_on: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, np.int64)
    )  # fingerprints, sorted
    layers: dict[str, torch.Tensor] = field(default_factory=dict)  # of the backbone, in the place of its own


def save(path: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write atomically; `half` stores float16, which is what the package ships."""
    network = checkpoint.network
    tensors = {
        name: (tensor.half() if half else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    tensors |= {
        LAYERS + name: (tensor.half() if half else tensor).cpu().contiguous()
        for name, tensor in checkpoint.layers.items()
    }
    tensors[TRAINED_ON] = torch.from_numpy(checkpoint.trained_on)
    header = {
        "format": FORMAT,
        "adapter": asdict(network.adapter.config),
        "head": asdict(network.head.config),
        "backbone": checkpoint.backbone,
        "backbone_version": checkpoint.backbone_version,
        "training": checkpoint.training,
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"v0": json.dumps(header, sort_keys=True)})
    partial.chmod(0o644)  # safetensors writes for its owner alone
    partial.replace(path)


def load(path: Path | None = None) -> Checkpoint:
    """
    Read a checkpoint, a file or a folder that holds one; by default the one in the package.

    Raises `CheckpointError` on a foreign file, a missing tensor or one too many.
    """
    with _file(path) as file:
        return _load(file)


def digest(path: Path | None = None) -> str:
    """SHA-256 of the file that `load` would read."""
    with _file(path) as file, file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _file(path: Path | None) -> Iterator[Path]:
    with nullcontext(path) if path else as_file(files("router.value") / "weights" / SHIPPED) as file:
        yield _only(file) if file.is_dir() else file


def _only(folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise CheckpointError(f"{folder} should hold one .safetensors file, and holds {len(found)}")
    return found[0]


def _load(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if "v0" not in metadata:
        raise CheckpointError(f"{path}: no V0 configuration in its header")
    header = json.loads(metadata["v0"])
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {header.get('format')!r}, this version reads {FORMAT!r}")
    trained_on = tensors.pop(TRAINED_ON, torch.zeros(0, dtype=torch.int64)).numpy()
    layers = {
        name.removeprefix(LAYERS): tensors.pop(name).float()
        for name in list(tensors)
        if name.startswith(LAYERS)
    }
    network = ValueNetwork(
        AdapterConfig(**header["adapter"]),
        _head(header["head"]),
    )
    try:
        network.load_state_dict(
            {name: tensor.to(torch.float32) for name, tensor in tensors.items()}, strict=True
        )
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(
        network.eval(), header["backbone"], header["backbone_version"], header["training"], trained_on, layers
    )


def _head(fields: dict[str, Any]) -> IclConfig:
    """JSON has no tuples."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return IclConfig(**values)
