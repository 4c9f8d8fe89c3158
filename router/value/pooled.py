"""Sentence embeddings of a data folder's prompts: read where they are ready, else computed once and kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from router.value.backbone import MINILM_SHA256
from router.value.corpus import ENCODE_BATCH, CorpusError

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


def pooled_states(source: Source, folder: Path, backbone: Backbone, cache: Path) -> NDArray[np.float32]:
    """A source's sentence embeddings (P, H) of unit length. Raises `CorpusError`."""
    if is_ready(folder, backbone):
        try:
            rows = read_ready(folder, source.prompt_ids, source.texts, backbone)
        except ReadyError as error:
            raise CorpusError(str(error)) from error
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
    digest = hashlib.sha256("\0".join(source.texts).encode()).hexdigest()[:12]
    file = cache / backbone.version / f"{source.name}-{digest}.pooled.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        computed = _encode(source, backbone)
        partial = file.with_suffix(".partial")
        with partial.open("wb") as out:
            np.save(out, computed)
        partial.replace(file)
    kept: NDArray[np.float32] = np.load(file)
    return kept


def _encode(source: Source, backbone: Backbone) -> NDArray[np.float32]:
    from rich.progress import track

    order = np.argsort([len(text) for text in source.texts])  # alike lengths waste no padding
    rows = np.empty((len(order), backbone.width), dtype=np.float32)
    for start in track(range(0, len(order), ENCODE_BATCH), description=f"encode {source.name}"):
        chunk = order[start : start + ENCODE_BATCH]
        rows[chunk] = backbone.encode([source.texts[i] for i in chunk]).pooled().cpu().numpy()
    return rows
