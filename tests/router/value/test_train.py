from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from router.value import checkpoint, readers
from router.value import train as module
from router.value.adapter import AdapterConfig
from router.value.corpus import CorpusError
from router.value.episodes import EpisodeConfig, split
from router.value.train import RecipeError, TrainConfig, load_corpus, read_recipe, train

MODELS = [f"m{i}" for i in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty prompts, half about sums and half about cities; each model can do one of the two."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    folder.mkdir()
    rng = np.random.default_rng(0)
    texts = [f"What is {i} + {i * 7 % 11}?" for i in range(30)] + [
        f"Where is city number {i}?" for i in range(30)
    ]
    pd.DataFrame({"prompt_id": range(60), "dataset": "toy", "text": texts}).to_parquet(
        folder / "prompts.parquet"
    )
    rows = [
        {"prompt_id": p, "model": m, "score": float((p < 30) == (i % 2 == 0)) if rng.random() < 0.9 else 0.5}
        for p in range(60)
        for i, m in enumerate(MODELS)
    ]
    pd.DataFrame(rows).to_parquet(folder / "outcomes.parquet")
    return folder


@pytest.fixture(scope="module")
def config(folder):
    return TrainConfig(
        sources=(folder.name,),
        steps=6,
        warmup=2,
        adapter=AdapterConfig(queries=4, generator_width=8),
        head={"hidden": 8},
        episodes=EpisodeConfig(policies=4, queries=8, most_context=20),
    )


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    tmp_path, folder, config, monkeypatch
):
    cache, root = tmp_path / "cache", folder.parent
    whole = train(config, root, cache, tmp_path / "whole")
    prefetch = module._prefetch

    def stop_after_two(*args):
        for taken, episode in enumerate(prefetch(*args)):
            if taken == 2:
                raise KeyboardInterrupt
            yield episode

    monkeypatch.setattr(module, "_prefetch", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train(config, root, cache, tmp_path / "parts")
    monkeypatch.setattr(module, "_prefetch", prefetch)
    parts = train(config, root, cache, tmp_path / "parts")
    one, other = checkpoint.load(whole).network.state_dict(), checkpoint.load(parts).network.state_dict()
    for name in one:
        torch.testing.assert_close(one[name], other[name])
    assert checkpoint.load(parts).training["steps"] == 6
    assert set(checkpoint.load(parts).training["held"]["toy"]) == {"validation_models", "test_models"}


def test_training_lowers_the_loss(tmp_path, folder, config):
    from dataclasses import replace

    layers = AdapterConfig(connector="layers", axes=4)
    longer = replace(config, adapter=layers, steps=300, learning_rate=3e-3)
    train(longer, folder.parent, tmp_path / "cache", tmp_path / "run")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.02


def test_held_out_prompts_and_models_are_never_in_an_episode(tmp_path, folder, config):
    from router.value.backbone import Backbone
    from router.value.episodes import EpisodeSampler

    corpus, part = load_corpus(folder, config, Backbone.load(device="cpu"), tmp_path)
    plain = EpisodeSampler(
        [(corpus, part)], EpisodeConfig(policies=4, queries=8, mixture=0, synthetic=0), seed=1
    )
    trained = corpus.source.scores[:, part.train_models]
    for step in range(50):
        episode = plain.draw(step)
        assert not set(episode.rows) & set(part.held_prompts)
        for labels in episode.labels:
            assert any(np.array_equal(labels, column) for column in trained[episode.rows].T)


def test_a_split_covers_everything_once(folder):
    from router.value.corpus import read_source

    source = read_source(folder)
    part = split(source, 0.3, 0.25, seed=0)
    assert sorted([*part.train_prompts, *part.held_prompts]) == list(range(60))
    models = [*part.train_models, *part.validation_models, *part.test_models]
    assert sorted(models) == list(range(6))
    assert len(part.validation_models) == len(part.test_models) == 1


def test_a_recipe_is_read_and_its_mistakes_are_named(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("sources: [a, b]\nsteps: 7\nepisodes: {queries: 5}\nhead: {width: 32}\n")
    recipe = read_recipe(path)
    assert (recipe.sources, recipe.steps, recipe.episodes.queries) == (("a", "b"), 7, 5)
    path.write_text("sources: [a]\nsteps: many\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: steps: Input should be a valid integer"):
        read_recipe(path)


@pytest.mark.parametrize("loss", ["ce", "intra", "intra+inter"])
def test_every_connector_and_loss_trains_by_its_recipe(tmp_path, folder, config, loss):
    from dataclasses import replace

    alone = replace(config.adapter, connector="cascaded", alone=True)
    path = train(
        replace(config, loss=loss, adapter=alone), folder.parent, tmp_path / "cache", tmp_path / "run"
    )
    assert checkpoint.load(path).network.adapter.config == alone


def test_a_frozen_head_stays_the_one_it_came_from_even_when_the_run_is_taken_up_again(
    tmp_path, folder, config
):
    from dataclasses import replace

    root, cache = folder.parent, tmp_path / "cache"
    first = train(config, root, cache, tmp_path / "first")
    frozen = replace(config, head_from=str(first), freeze_head=True, seed=1)
    train(replace(frozen, steps=3), root, cache, tmp_path / "second")
    second = checkpoint.load(train(frozen, root, cache, tmp_path / "second")).network
    start = checkpoint.load(first).network
    for name, tensor in start.head.state_dict().items():
        torch.testing.assert_close(second.head.state_dict()[name], tensor)
    moved = [
        n
        for n, t in second.adapter.state_dict().items()
        if not torch.allclose(t, start.adapter.state_dict()[n], atol=1e-6)
    ]
    assert moved


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"freeze_head": True}, "needs head_from"),
        ({"head_from": "SHIPPED"}, "another shape"),
    ],
)
def test_a_head_that_cannot_be_frozen_or_begun_with_is_told(tmp_path, folder, config, fields, complaint):
    from dataclasses import replace
    from importlib.resources import files

    shipped = str(files("router.value") / "weights" / checkpoint.SHIPPED)
    fields = {key: shipped if value == "SHIPPED" else value for key, value in fields.items()}
    with pytest.raises(RecipeError, match=complaint):
        train(replace(config, **fields), folder.parent, tmp_path / "cache", tmp_path / "run")


def test_the_head_learns_from_prompts_or_sources_that_its_reader_was_not_taught_by(
    tmp_path, folder, config, monkeypatch
):
    """And the readers stay as they are: what ships is the one that was taught by all."""
    from dataclasses import replace

    from router.value.backbone import Backbone
    from router.value.network import ValueNetwork, head_config

    config = replace(config, adapter=AdapterConfig(connector="layers", axes=4))
    corpus, part = load_corpus(folder, config, Backbone.load(device="cpu"), tmp_path)
    corpora = [(replace(corpus, source=replace(corpus.source, name=f"toy{i}")), part) for i in range(5)]
    network = ValueNetwork(config.adapter, head_config(config.adapter, axes=3, hidden=8))
    network.adapter.fit(module.some_layers(corpora))
    lessons = module.read_outcomes(network, corpora, config, tmp_path, "cpu")
    assert lessons is not None
    assert network.head.reader is lessons.whole
    assert sorted(lessons.kept_from.values()) == [0, 0, 1, 2, 3]
    aside = set(readers.aside(part, config.reader, config.seed)[1])
    assert 0 < len(aside) < len(part.train_prompts) / 2
    run, tasks = module._Run(network, config, tmp_path), module._Tasks(corpora, lessons, config)
    before = {name: tensor.clone() for name, tensor in lessons.whole.state_dict().items()}
    starts, kinds = network.head.start_alone.detach().clone(), set()
    for step in range(12):
        episode, reader = tasks.draw(step)
        foreign = lessons.folds.index(reader) == lessons.kept_from[episode.corpus.source.name]
        assert foreign or set(episode.rows) <= aside
        kinds.add(foreign)
        run.advance(episode, reader, "cpu")
    assert kinds == {True, False}
    assert not torch.equal(starts, network.head.start_alone)
    shipped = run.averaged().head.reader.state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(shipped[name], tensor)


def test_readers_are_taught_once_and_what_they_read_tells_the_models_apart(tmp_path, folder, config):
    from dataclasses import replace

    from router.value.backbone import Backbone
    from router.value.network import ValueNetwork, head_config

    config = replace(config, adapter=AdapterConfig(connector="layers", axes=4))
    config = replace(config, reader=readers.ReaderConfig(passes=200, batch=16))
    corpora = [load_corpus(folder, config, Backbone.load(device="cpu"), tmp_path)]
    network = ValueNetwork(config.adapter, head_config(config.adapter, axes=3, hidden=16))
    network.adapter.fit(module.some_layers(corpora))
    lessons = module.read_outcomes(network, corpora, config, tmp_path, "cpu")
    assert lessons is not None
    assert lessons.kept_from == {}  # one source cannot be kept from its reader
    held = corpora[0][1].held_prompts
    embeddings = module.embed_rows(network, corpora[0][0], held, 0, "cpu")
    axes, _ = lessons.whole(embeddings)
    sums = torch.from_numpy(held < 30)
    apart = (axes[sums].mean(0) - axes[~sums].mean(0)).norm()
    assert apart > 1  # sums and cities, which different models can do, lie on two sides
    again = module.read_outcomes(network, corpora, replace(config, seed=1), tmp_path, "cpu")
    torch.testing.assert_close(again.whole(embeddings)[0], axes)  # taken up from the run's folder
    file = tmp_path / "reader-whole.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CorpusError, match=f"{file} is not of this recipe, or damaged"):
        module.read_outcomes(network, corpora, config, tmp_path, "cpu")
