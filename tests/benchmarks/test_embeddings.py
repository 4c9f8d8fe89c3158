from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import embeddings
from benchmarks.outcomes import OutcomesError
from router.value.backbone import MINILM_SHA256, TokenStates
from router.value.pooled import CHECKED_ROWS
from tests.benchmarks.outcomes import tiny_outcomes


class FakeBackbone:
    """Embeds a text by its characters; counts the texts that it read."""

    width = 16

    def __init__(self, version="fake-1"):
        self.version = version
        self.read = 0

    def encode(self, texts):
        self.read += len(texts)
        states = torch.zeros(len(texts), 1, self.width)
        for i, text in enumerate(texts):
            for n, character in enumerate(text):
                states[i, 0, (7 * ord(character) + n) % self.width] += 1
        return TokenStates(states, torch.ones(len(texts), 1, dtype=torch.bool))


def own(backbone, outcomes):
    return np.stack([backbone.encode([text]).pooled()[0].numpy() for text in outcomes.texts])


def test_embeddings_are_computed_once_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "PART_ROWS", 16)
    monkeypatch.setattr(embeddings, "BATCH_ROWS", 5)
    backbone, outcomes = FakeBackbone(), tiny_outcomes(prompts=50)
    first = embeddings.pooled(outcomes, backbone, tmp_path, progress=False)
    assert backbone.read == 50
    np.testing.assert_allclose(first, own(FakeBackbone(), outcomes), rtol=1e-6)
    np.testing.assert_array_equal(embeddings.pooled(outcomes, backbone, tmp_path, progress=False), first)
    assert backbone.read == 50
    embeddings.pooled(outcomes, FakeBackbone("fake-2"), tmp_path, progress=False)
    assert len(list(tmp_path.rglob("*.npy"))) == 2  # one a version, and no parts left


def test_what_was_computed_before_an_interruption_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "PART_ROWS", 16)
    backbone, outcomes = FakeBackbone(), tiny_outcomes(prompts=50)
    whole = backbone.encode

    def interrupted(texts):
        if backbone.read >= 32:
            raise KeyboardInterrupt
        return whole(texts)

    backbone.encode = interrupted
    with pytest.raises(KeyboardInterrupt):
        embeddings.pooled(outcomes, backbone, tmp_path, progress=False)
    again = FakeBackbone()
    embeddings.pooled(outcomes, again, tmp_path, progress=False)
    assert again.read == 50 - 32


def native(folder, outcomes, vectors):
    frame = pd.DataFrame({"prompt_id": outcomes.prompt_ids, "dataset": "x", "text": outcomes.texts})
    frame.to_parquet(folder / "prompts.parquet")
    np.save(folder / "minilm.npy", vectors.astype(np.float16))


def test_two_processes_at_the_same_prompts_do_not_disturb_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "PART_ROWS", 16)
    outcomes, slow = tiny_outcomes(prompts=50), FakeBackbone()
    encode = slow.encode

    def overtaken(texts):
        if slow.read >= 48:  # the other finishes while this one is at the last part
            embeddings.pooled(outcomes, FakeBackbone(), tmp_path, progress=False)
        return encode(texts)

    slow.encode = overtaken
    found = embeddings.pooled(outcomes, slow, tmp_path, progress=False)
    np.testing.assert_allclose(found, own(FakeBackbone(), outcomes), rtol=1e-6)
    assert slow.read == 50


def test_ready_embeddings_are_aligned_by_prompt(tmp_path):
    backbone, outcomes = FakeBackbone(MINILM_SHA256[:12]), tiny_outcomes(prompts=40)
    vectors = own(backbone, outcomes)
    native(tmp_path, outcomes, vectors)
    backbone.read = 0
    taken = outcomes.take(prompts=[30, 2, 7])
    found = embeddings.pooled(taken, backbone, tmp_path / "cache", folder=tmp_path, progress=False)
    np.testing.assert_allclose(found, vectors[[30, 2, 7]], atol=1e-3)
    assert backbone.read <= CHECKED_ROWS


def test_ready_embeddings_of_something_else_are_refused(tmp_path):
    backbone, outcomes = FakeBackbone(MINILM_SHA256[:12]), tiny_outcomes(prompts=40)
    vectors = own(backbone, outcomes)
    native(tmp_path, outcomes, np.roll(vectors, 5, axis=1))
    with pytest.raises(OutcomesError, match=r"minilm\.npy row \d+: is not what the backbone computes"):
        embeddings.pooled(outcomes, backbone, tmp_path, folder=tmp_path, progress=False)
    native(tmp_path, outcomes, vectors[:-1])
    with pytest.raises(OutcomesError, match=r"has shape \(39, 16\), expected \(40, 16\)"):
        embeddings.pooled(outcomes, backbone, tmp_path, folder=tmp_path, progress=False)
    vectors[13] = np.nan
    native(tmp_path, outcomes, vectors)
    with pytest.raises(OutcomesError, match=r"minilm\.npy row 13: is not finite"):
        embeddings.pooled(outcomes, backbone, tmp_path, folder=tmp_path, progress=False)
    (tmp_path / "minilm.npy").write_bytes(b"no array")
    with pytest.raises(OutcomesError, match=r"minilm\.npy: cannot be read as an array"):
        embeddings.pooled(outcomes, backbone, tmp_path, folder=tmp_path, progress=False)


def test_the_value_models_own_embeddings_are_kept_by_its_version(tmp_path):
    class FakeValueModel:
        version = "v-1"
        reads_tokens = True
        calls = 0

        def embed(self, texts):
            self.calls += 1
            return np.array([[len(text), ord(text[-1])] for text in texts], dtype=np.float32)

    outcomes, value_model = tiny_outcomes(prompts=20), FakeValueModel()
    first = embeddings.of_value_model(outcomes, value_model, tmp_path, progress=False)
    calls = value_model.calls
    np.testing.assert_array_equal(
        embeddings.of_value_model(outcomes, value_model, tmp_path, progress=False), first
    )
    assert value_model.calls == calls
    assert first[:, 0].tolist() == [len(text) for text in outcomes.texts]


def test_layers_are_kept_for_all_weights_that_read_them(tmp_path):
    class FakeValueModel:
        reads_tokens = False
        backbone_version = "b"
        backbone_width = 2
        calls = 0

        def __init__(self, version, weight):
            self.version, self.weight = version, weight

        def encode(self, texts):
            type(self).calls += 1
            means = torch.tensor([[[len(text), 1.0], [ord(text[-1]), 2.0]] for text in texts])
            return TokenStates(
                torch.zeros(len(texts), 1, 2), torch.ones(len(texts), 1, dtype=torch.bool), means
            )

        def of_layers(self, layers, texts):
            assert layers.shape == (len(texts), 2, 2)
            return (layers[:, :, 0] * self.weight).astype(np.float32)

    outcomes = tiny_outcomes(prompts=20)
    first = embeddings.of_value_model(outcomes, FakeValueModel("v-1", 1.0), tmp_path, progress=False)
    calls = FakeValueModel.calls
    second = embeddings.of_value_model(outcomes, FakeValueModel("v-2", 3.0), tmp_path, progress=False)
    assert FakeValueModel.calls == calls
    np.testing.assert_allclose(second, 3 * first)
    assert first[:, 0].tolist() == [len(text) for text in outcomes.texts]
