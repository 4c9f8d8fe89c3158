"""Outcome data for training and evaluating V0: the native folder format, and token states cached on disk.

A source is a folder with prompts.parquet (prompt_id, dataset, text) and outcomes.parquet (prompt_id, model,
score in [0, 1], and nullable input_tokens, output_tokens, cost_usd). Token states are computed once per
backbone and source and kept as one flat float16 array, so that training reads only the rows it needs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.value.backbone import Backbone

ENCODE_BATCH = 32


class CorpusError(ValueError):
    """A source's files cannot be used; the message names the file and, where there is one, the row."""


@dataclass(frozen=True)
class Source:
    """One outcome matrix: P prompts by M models, NaN where a pair was not observed."""

    name: str
    prompt_ids: list[str]
    texts: list[str]
    datasets: list[str]
    models: list[str]
    scores: NDArray[np.float32]  # (P, M)

    def take(self, rows: NDArray[np.intp]) -> Source:
        """The same source restricted to some of its prompts."""
        return Source(
            self.name,
            [self.prompt_ids[i] for i in rows],
            [self.texts[i] for i in rows],
            [self.datasets[i] for i in rows],
            self.models,
            self.scores[rows],
        )


def read_source(folder: Path) -> Source:
    """Read one source; prompts that share a text are kept once. Raises `CorpusError`."""
    prompts = _read(folder / "prompts.parquet", ["prompt_id", "dataset", "text"])
    outcomes = _read(folder / "outcomes.parquet", ["prompt_id", "model", "score"])
    bad = outcomes.index[~outcomes["score"].between(0, 1)]
    if len(bad):
        raise CorpusError(
            f"{folder / 'outcomes.parquet'} row {bad[0]}: score {outcomes['score'][bad[0]]} is not in [0, 1]"
        )
    repeated = outcomes.index[outcomes.duplicated(["prompt_id", "model"])]
    if len(repeated):
        raise CorpusError(
            f"{folder / 'outcomes.parquet'} row {repeated[0]}: the pair of prompt and model is repeated"
        )
    prompts = prompts.drop_duplicates("text").reset_index(drop=True)
    matrix = outcomes.pivot(index="prompt_id", columns="model", values="score").reindex(prompts["prompt_id"])
    observed = matrix.notna().any(axis=1).to_numpy()
    prompts, matrix = prompts[observed], matrix[observed]
    return Source(
        name=folder.name,
        prompt_ids=prompts["prompt_id"].astype(str).tolist(),
        texts=prompts["text"].tolist(),
        datasets=prompts["dataset"].astype(str).tolist(),
        models=[str(column) for column in matrix.columns],
        scores=matrix.to_numpy(dtype=np.float32),
    )


def fingerprints(texts: Sequence[str]) -> NDArray[np.int64]:
    """
    64 bits of each text (P,), from its letters and digits alone: spacing, case and punctuation do not matter.

    A checkpoint keeps those of the prompts that it was trained on, so that any data can be checked for them.
    """
    digests = (
        hashlib.blake2b("".join(filter(str.isalnum, text.casefold())).encode(), digest_size=8).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def sample_prompts(source: Source, most: int, seed: int) -> Source:
    """At most `most` prompts, the same ones for the same seed."""
    if len(source.texts) <= most:
        return source
    rows = np.random.default_rng(seed).choice(len(source.texts), most, replace=False)
    return source.take(np.sort(rows))


@dataclass(frozen=True)
class StoredStates:
    """Ragged token states on disk: prompt i owns rows offsets[i]:offsets[i+1] of `flat`."""

    flat: NDArray[np.float16]  # (sum of lengths, H), memory-mapped
    offsets: NDArray[np.int64]  # (P+1,)

    def batch(
        self, rows: Sequence[int] | NDArray[np.intp], max_tokens: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded states (B, T, H) float32 and mask (B, T) of some prompts, cut at `max_tokens`."""
        lengths = np.minimum(self.offsets[1:][rows] - self.offsets[:-1][rows], max_tokens)
        longest = int(lengths.max())
        padded = np.zeros((len(rows), longest, self.flat.shape[1]), dtype=np.float16)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            start = self.offsets[row]
            padded[i, :length] = self.flat[start : start + length]
        mask = np.arange(longest)[None, :] < lengths[:, None]
        return torch.from_numpy(padded).float(), torch.from_numpy(mask)


def token_states(source: Source, backbone: Backbone, cache: Path, progress: bool = True) -> StoredStates:
    """The source's token states, computed unless this backbone and these texts are in the cache already."""
    digest = hashlib.sha256("\0".join(source.texts).encode()).hexdigest()[:12]
    stem = cache / backbone.version / f"{source.name}-{digest}"
    states_file, offsets_file = stem.with_suffix(".states.npy"), stem.with_suffix(".offsets.npy")
    if not offsets_file.exists():
        stem.parent.mkdir(parents=True, exist_ok=True)
        flat, offsets = _encode_all(source, backbone, progress)
        np.save(states_file, flat)
        np.save(offsets_file, offsets)  # written last: its presence says that the pair is whole
    return StoredStates(np.load(states_file, mmap_mode="r"), np.load(offsets_file))


def _encode_all(
    source: Source, backbone: Backbone, progress: bool
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    from rich.progress import Progress

    by_length = np.argsort([len(text) for text in source.texts])
    rows: list[NDArray[np.float16] | None] = [None] * len(source.texts)
    with Progress(disable=not progress) as bar:
        task = bar.add_task(f"encode {source.name}", total=len(rows))
        for start in range(0, len(rows), ENCODE_BATCH):
            chunk = by_length[start : start + ENCODE_BATCH]
            encoded = backbone.encode([source.texts[i] for i in chunk])
            for i, states, mask in zip(chunk, encoded.states, encoded.mask, strict=True):
                rows[i] = states[mask].half().cpu().numpy()
            bar.advance(task, len(chunk))
    whole = [row for row in rows if row is not None]
    offsets = np.cumsum([0] + [len(row) for row in whole], dtype=np.int64)
    return np.concatenate(whole), offsets


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise CorpusError(f"{path} does not exist")
    frame = pd.read_parquet(path)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise CorpusError(f"{path}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    return frame[columns]
