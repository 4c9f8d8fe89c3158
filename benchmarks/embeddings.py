"""Embeddings of prompts, computed once: kept on disk under the hash of what computed them and of the texts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.outcomes import OutcomesError
from router.value.backbone import MINILM_SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Outcomes
    from router.value.backbone import Backbone
    from router.value.model import V0

PART_ROWS = 1024  # computed between two writes: what Ctrl-C loses at most
BATCH_ROWS = 32
READY = "minilm.npy"  # beside prompts.parquet: float16, one row a row, of the first 4,000 characters
CHECKED_ROWS = 8
LEAST_COSINE = 0.995  # float16 and another torch move it by less


def pooled(
    outcomes: Outcomes, backbone: Backbone, cache: Path, folder: Path | None = None, progress: bool = True
) -> NDArray[np.float32]:
    """
    The backbone's sentence embeddings, L2-normalised: (P, D).

    A `minilm.npy` in the native `folder` is used in place of MiniLM's own pass, once some of its rows agree with the
    backbone. Raises `OutcomesError` when they do not.
    """
    ready = None if folder is None else folder / READY
    if ready is not None and ready.is_file() and backbone.version == MINILM_SHA256[:12]:
        return _ready(outcomes, backbone, ready)
    stem = _stem(cache, f"pooled-{backbone.version}", outcomes)
    return _cached(
        outcomes.texts,
        stem,
        lambda texts: backbone.encode(texts).pooled().cpu().numpy(),
        progress,
        outcomes.name,
    )


def of_value_model(
    outcomes: Outcomes, value_model: V0, cache: Path, progress: bool = True
) -> NDArray[np.float32]:
    """What V0 sees in every prompt: (P, value_model.dim), kept under its version."""
    stem = _stem(cache, f"v0-{value_model.version}", outcomes)
    return _cached(outcomes.texts, stem, value_model.embed, progress, outcomes.name)


def _stem(cache: Path, version: str, outcomes: Outcomes) -> Path:
    digest = hashlib.sha256()
    for text in outcomes.texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return cache / version.replace("/", "_").replace(":", "_") / f"{outcomes.name}-{digest.hexdigest()[:16]}"


def _cached(
    texts: Sequence[str],
    stem: Path,
    encode: Callable[[list[str]], NDArray[np.floating]],
    progress: bool,
    name: str,
) -> NDArray[np.float32]:
    """Compute in parts, each written when it is done; the parts become one file at the end."""
    whole = Path(f"{stem}.npy")
    if whole.is_file():
        kept: NDArray[np.float32] = np.load(whole).astype(np.float32)
        return kept
    from rich.progress import Progress

    stem.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    with Progress(disable=not progress, transient=True) as bar:
        task = bar.add_task(f"embed {name}", total=len(texts))
        for start in range(0, len(texts), PART_ROWS):
            part = Path(f"{stem}.{start}.npy")
            if not part.is_file():
                _save(part, _encode(texts[start : start + PART_ROWS], encode))
            parts.append(part)
            bar.advance(task, min(PART_ROWS, len(texts) - start))
    computed = np.concatenate([np.load(part) for part in parts]).astype(np.float32)
    _save(whole, computed)
    for part in parts:
        part.unlink(missing_ok=True)
    return computed


def _encode(texts: Sequence[str], encode: Callable[[list[str]], NDArray[np.floating]]) -> NDArray[np.float32]:
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths waste no padding
    rows = [
        encode([texts[i] for i in order[start : start + BATCH_ROWS]])
        for start in range(0, len(order), BATCH_ROWS)
    ]
    result = np.empty((len(texts), rows[0].shape[1]), dtype=np.float32)
    result[order] = np.concatenate(rows)
    return result


def _save(path: Path, array: NDArray[np.float32]) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        np.save(file, array)
    unfinished.replace(path)


def _ready(outcomes: Outcomes, backbone: Backbone, path: Path) -> NDArray[np.float32]:
    import pandas as pd

    ids = pd.read_parquet(path.parent / "prompts.parquet", columns=["prompt_id"])["prompt_id"].astype(str)
    try:
        stored = np.load(path, mmap_mode="r")
    except ValueError as error:
        raise OutcomesError("cannot be read as an array of numbers; delete it to compute it", path) from error
    if stored.shape != (len(ids), backbone.width):
        raise OutcomesError(
            f"has shape {stored.shape}, expected {(len(ids), backbone.width)}; delete it to compute it", path
        )
    at = pd.Index(ids).get_indexer(pd.Index(outcomes.prompt_ids))
    if (at < 0).any():
        raise OutcomesError(
            f"prompt {outcomes.prompt_ids[int(at.argmin())]!r} is not in prompts.parquet", path
        )
    rows: NDArray[np.float32] = stored[at].astype(np.float32)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise OutcomesError("is not finite; delete it to compute it", path, int(at[int(finite.argmin())]))
    check = np.unique(np.linspace(0, len(rows) - 1, CHECKED_ROWS).astype(int))
    own = backbone.encode([outcomes.texts[row] for row in check]).pooled().cpu().numpy()
    norms = np.linalg.norm(rows[check], axis=1)
    cosines = (own * rows[check]).sum(axis=1) / np.maximum(norms, 1e-12)
    if cosines.min() < LEAST_COSINE:
        worst = int(at[check[int(cosines.argmin())]])
        raise OutcomesError(
            f"is not what the backbone computes (cosine {cosines.min():.3f}); delete it to compute it",
            path,
            worst,
        )
    return rows
