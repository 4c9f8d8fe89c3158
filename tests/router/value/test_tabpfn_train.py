"""An adapter trained through the frozen tiny TabPFN, on prompts of two kinds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from router.value.adapter import AdapterConfig
from router.value.episodes import EpisodeConfig
from router.value.heads.tabpfn import TabpfnHead
from router.value.heads.tabpfn_weights import TabpfnError, TabpfnWeights
from router.value.paper import AdapterFolder
from router.value.tabpfn_model import TabpfnV0
from router.value.tabpfn_train import ADAPTER, AdapterTraining
from router.value.train import TrainConfig
from tests.router.value.test_train import folder  # noqa: F401 (a fixture)
from tests.router.value.tiny_tabpfn import ASSET


def config(name, queries=2):
    return TrainConfig(
        sources=(name,),
        learning_rate=0.02,
        adapter=AdapterConfig(queries=queries, query_width=3, heads=3, generator_width=8, dropout=0.0),
        episodes=EpisodeConfig(policies=4, queries=12, most_context=24, mixture=0, synthetic=0),
    )


@pytest.fixture
def training(folder, tmp_path):  # noqa: F811 (the fixture)
    return AdapterTraining(config(folder.name), folder.parent, tmp_path / "cache", TabpfnWeights.load(ASSET))


def test_only_the_adapter_moves_and_its_folder_opens(training, tmp_path):
    before = {name: p.detach().clone() for name, p in training.adapter.named_parameters()}
    frozen = [p.detach().clone() for p in training.head.weights.specs.model.parameters()]
    done = [training.advance() for _ in range(3)]
    assert max(step.policies for step in done) > 0
    # a constant added to every key changes no attention, so the keys' bias alone may stay
    moved = {name for name, p in training.adapter.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(before)
    for one, other in zip(frozen, training.head.weights.specs.model.parameters(), strict=True):
        assert torch.equal(one, other)
    training.save(tmp_path / "adapter")
    opened = AdapterFolder.load(tmp_path / "adapter")
    v0 = TabpfnV0(opened, TabpfnHead(training.head.weights, opened.dim))
    values = v0.predict(
        [("What is 1 + 1?", 1.0), ("Where is Lima?", 0.0)] * 4, ["What is 2 + 5?", "Where is Oslo?"]
    )
    assert np.isfinite(values).all()


def test_the_same_seed_gives_the_same_steps(folder, tmp_path, training):  # noqa: F811
    again = AdapterTraining(config(folder.name), folder.parent, tmp_path / "cache", training.head.weights)
    assert [training.advance().loss for _ in range(2)] == pytest.approx(
        [again.advance().loss for _ in range(2)], rel=1e-4, nan_ok=True
    )


def test_the_adapter_for_v2_has_what_v2_reads():
    weights = TabpfnWeights.load(ASSET)
    assert ADAPTER.output_width == 498 <= weights.most_columns
    with pytest.raises(TabpfnError, match="1008 features"):
        TabpfnHead(weights, AdapterConfig(queries=168, query_width=6).output_width)
