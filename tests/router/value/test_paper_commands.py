"""`router evaluate --protocol` on weights of its own: what was trained on is told, and never asked about."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from router.cli import app
from router.value import checkpoint
from router.value.adapter import AdapterConfig
from router.value.corpus import read_source
from router.value.episodes import EpisodeConfig
from router.value.train import TrainConfig, load_source, train

POLICIES = [f"{family}@step{step}" for family in ("small", "large") for step in (16, 64, 256)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A source of six checkpoints on 160 prompts, and weights that were trained on it for two steps."""
    root = tmp_path_factory.mktemp("data")
    folder, rng = root / "policies", np.random.default_rng(0)
    folder.mkdir()
    texts = [f"What is {i} + {i * 7 % 11}?" if i % 2 else f"Where is city number {i}?" for i in range(160)]
    pd.DataFrame({"prompt_id": range(160), "dataset": "toy", "text": texts}).to_parquet(
        folder / "prompts.parquet"
    )
    rows = [
        {"prompt_id": p, "model": name, "score": float((p % 2 == 0) == (rng.random() < 0.6 + 0.05 * i))}
        for p in range(160)
        for i, name in enumerate(POLICIES)
    ]
    pd.DataFrame(rows).to_parquet(folder / "outcomes.parquet")
    config = TrainConfig(
        sources=("policies",),
        steps=2,
        warmup=1,
        adapter=AdapterConfig(connector="layers", axes=4),
        head={"hidden": 8},
        episodes=EpisodeConfig(policies=4, queries=8, most_context=20),
    )
    return folder, config, train(config, root, root / "cache", root / "run"), root / "cache"


def test_both_protocols_are_printed_with_the_weights_and_what_they_were_trained_on(trained):
    folder, config, weights, cache = trained
    command = ["evaluate", "--protocol", "both", "--data", str(folder), "--weights", str(weights)]
    answer = CliRunner().invoke(app, [*command, "--cache", str(cache)])
    assert answer.exit_code == 0, answer.output
    source, part = load_source(folder, config)
    assert f"SHA-256 {checkpoint.digest(weights)}" in answer.output
    assert f"{len(part.train_prompts)} of 160 prompts were trained on" in answer.output
    known = [source.models[i] for i in part.train_models]
    assert f"4 of 6 policies were trained on, by such prompts: {', '.join(sorted(known))}" in answer.output
    for title in ("Strict generalisation", "each checkpoint from its own outcomes", "of the one before"):
        assert title in answer.output
    strict = answer.output.split("## Sequential")[0]
    rows = [line for line in strict.splitlines() if line.startswith(tuple(f"| {name} " for name in POLICIES))]
    assert len(rows) == len(read_source(folder).models)
    assert {int(row.split(" | ")[1]) for row in rows} == {len(part.held_prompts)}


def test_a_folder_of_sources_is_told_from_a_source(trained):
    folder, _, weights, _ = trained
    command = ["evaluate", "--protocol", "strict", "--data", str(folder.parent), "--weights", str(weights)]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 2
    assert "is no source; --protocol takes one, such as" in answer.output.replace("\n", " ")
