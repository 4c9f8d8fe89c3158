"""A small source of policy checkpoints, for the tests of the paper's protocols; no backbone is run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from router.value.corpus import Source, StoredStates
from router.value.episodes import Corpus
from router.value.structure import structure

WIDTH = 24


def policy_corpus(prompts: int = 240, steps: tuple[int, ...] = (16, 64, 256), seed: int = 0) -> Corpus:
    """Two families whose checkpoints do better with every step, on prompts that differ in difficulty; half observed."""
    rng = np.random.default_rng(seed)
    texts = [f"Question {i}: what is {i} + {i % 7}?" for i in range(prompts)]
    pooled = rng.standard_normal((prompts, WIDTH)).astype(np.float32)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    names = [f"{family}@step{step}" for family in ("small", "large") for step in steps]
    ability = [family + 0.8 * stage for family in (-1.0, 0.0) for stage in range(len(steps))]
    chance = 1 / (1 + np.exp(-(8 * pooled[:, :1] + np.array(ability))))
    scores = rng.binomial(10, chance).astype(np.float32) / 10
    scores[rng.random(scores.shape) < 0.5] = np.nan
    source = Source("policies", [f"p{i}" for i in range(prompts)], texts, ["toy"] * prompts, names, scores)
    lengths = rng.integers(3, 9, prompts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.repeat(pooled, lengths, axis=0) + 0.1 * rng.standard_normal((int(offsets[-1]), WIDTH))
    return Corpus(source, StoredStates(flat.astype(np.float16), offsets), pooled, structure(texts))


def write_splits(folder, kept_back: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [{"prompt_id": p, "model": "small@step16", "part": "test"} for p in kept_back]
    pd.DataFrame([*rows, {"prompt_id": "p0", "model": "x", "part": "context"}]).to_parquet(
        folder / "splits.parquet"
    )
