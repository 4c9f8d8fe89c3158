"""What the backbone makes of a data folder's prompts: computed once and kept, or read where it is ready."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from router.value.backbone import MINILM_SHA256
from router.value.corpus import ENCODE_BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.backbone import Backbone
    from router.value.corpus import Source

READY = "minilm.npy"  # beside prompts.parquet: float16, one row a row, of the first 4,000 characters
CHECKED_ROWS = 8
LEAST_COSINE = 0.995  # float16 and another torch move it by less


class ReadyError(ValueError):
    """A file of ready embeddings is not what it should be; `row` of it, where there is one."""

    def __init__(self, message: str, path: Path, row: int | None = None) -> None:
        self.message, self.path, self.row = f"{message}; delete it to compute it", path, row
        super().__init__(f"{path}{'' if row is None else f' row {row}'}: {self.message}")


def is_ready(folder: Path, backbone: Backbone) -> bool:
    """Whether the folder's ready embeddings are this backbone's."""
    return (folder / READY).is_file() and backbone.version == MINILM_SHA256[:12]


def read_ready(
    folder: Path, prompt_ids: Sequence[str], texts: Sequence[str], backbone: Backbone
) -> NDArray[np.float32]:
    """
    Ready embeddings (P, H) of some of a folder's prompts, once some of them agree with the backbone.

    Raises `ReadyError`.
    """
    path = folder / READY
    ids = pd.read_parquet(folder / "prompts.parquet", columns=["prompt_id"])["prompt_id"].astype(str)
    try:
        stored = np.load(path, mmap_mode="r")
    except ValueError as error:
        raise ReadyError("cannot be read as an array of numbers", path) from error
    if stored.shape != (len(ids), backbone.width):
        raise ReadyError(f"has shape {stored.shape}, expected {(len(ids), backbone.width)}", path)
    at = pd.Index(ids).get_indexer(pd.Index(prompt_ids))
    if (at < 0).any():
        raise ReadyError(f"prompt {prompt_ids[int(at.argmin())]!r} is not in prompts.parquet", path)
    rows: NDArray[np.float32] = stored[at].astype(np.float32)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ReadyError("is not finite", path, int(at[int(finite.argmin())]))
    check = np.unique(np.linspace(0, len(rows) - 1, CHECKED_ROWS).astype(int))
    own = backbone.encode([texts[row] for row in check]).pooled().cpu().numpy()
    cosines = (own * rows[check]).sum(axis=1) / np.maximum(np.linalg.norm(rows[check], axis=1), 1e-12)
    if cosines.min() < LEAST_COSINE:
        worst = int(at[check[int(cosines.argmin())]])
        raise ReadyError(f"is not what the backbone computes (cosine {cosines.min():.3f})", path, worst)
    return rows


def normalised(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows (P, H) of unit length."""
    exact = rows.astype(np.float32)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)


def layer_states(source: Source, backbone: Backbone, cache: Path) -> NDArray[np.float16]:
    """The mean states of every layer (P, L+1, H) of a source's prompts, computed once for a backbone and texts."""
    digest = hashlib.sha256("\0".join(source.texts).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    file = cache / backbone.version / f"{source.name}-{digest}.layers.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        computed = _encode(source, backbone)
        partial = file.with_suffix(".partial")
        with partial.open("wb") as out:
            np.save(out, computed)
        partial.replace(file)
    kept: NDArray[np.float16] = np.load(file)
    return kept


def _encode(source: Source, backbone: Backbone) -> NDArray[np.float16]:
    from rich.progress import track

    order = np.argsort([len(text) for text in source.texts])  # alike lengths waste no padding
    rows: list[NDArray[np.float16]] = []
    for start in track(range(0, len(order), ENCODE_BATCH), description=f"encode {source.name}"):
        layers = backbone.encode([source.texts[i] for i in order[start : start + ENCODE_BATCH]]).layers
        assert layers is not None
        rows.append(layers.half().cpu().numpy())
    computed = np.concatenate(rows)
    computed[order] = computed.copy()
    return computed
