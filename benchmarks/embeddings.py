"""Embeddings of prompts, computed once: kept on disk under the hash of what computed them and of the texts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.outcomes import OutcomesError
from router.value.pooled import ReadyError, is_ready, read_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.outcomes import Outcomes
    from router.value.backbone import Backbone
    from router.value.model import V0

PART_ROWS = 1024  # computed between two writes: what Ctrl-C loses at most
BATCH_ROWS = 32


def pooled(
    outcomes: Outcomes, backbone: Backbone, cache: Path, folder: Path | None = None, progress: bool = True
) -> NDArray[np.float32]:
    """
    The backbone's sentence embeddings, L2-normalised: (P, D).

    A `minilm.npy` in the native `folder` is used in place of MiniLM's own pass, once some of its rows agree with the
    backbone. Raises `OutcomesError` when they do not.
    """
    if folder is not None and is_ready(folder, backbone):
        try:
            return read_ready(folder, outcomes.prompt_ids, outcomes.texts, backbone)
        except ReadyError as error:
            raise OutcomesError(error.message, error.path, error.row) from error
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
    """
    What V0 sees in every prompt: (P, value_model.dim), kept under its version.

    Where its weights read the mean states of its backbone's layers, these are kept, for all weights that do.
    """
    if value_model.reads_tokens:
        stem = _stem(cache, f"v0-{value_model.version}", outcomes)
        return _cached(outcomes.texts, stem, value_model.embed, progress, outcomes.name)

    def encode(texts: list[str]) -> NDArray[np.float16]:
        layers = value_model.encode(texts).layers
        assert layers is not None
        found: NDArray[np.float16] = layers.half().flatten(1).cpu().numpy()
        return found

    stem = _stem(cache, f"layers-{value_model.backbone_version}", outcomes)
    flat = _cached(outcomes.texts, stem, encode, progress, outcomes.name)
    return value_model.of_layers(flat.reshape(len(flat), -1, value_model.backbone_width), outcomes.texts)


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
    try:
        computed = np.concatenate([np.load(part) for part in parts])
    except FileNotFoundError:  # another process was at the same, and has put the parts together
        made: NDArray[np.float32] = np.load(whole).astype(np.float32)
        return made
    _save(whole, computed)
    for part in parts:
        part.unlink(missing_ok=True)
    return computed.astype(np.float32)


def _encode(
    texts: Sequence[str], encode: Callable[[list[str]], NDArray[np.floating]]
) -> NDArray[np.floating]:
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths waste no padding
    rows = [
        encode([texts[i] for i in order[start : start + BATCH_ROWS]])
        for start in range(0, len(order), BATCH_ROWS)
    ]
    computed = np.concatenate(rows)
    computed[order] = computed.copy()
    return computed


def _save(path: Path, array: NDArray[np.floating]) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        np.save(file, array)
    unfinished.replace(path)
