from __future__ import annotations

import pytest
import torch

from router.value import backbone as module
from router.value.backbone import MINILM_SHA256, Backbone, BackboneError, TokenStates


def test_weights_that_are_not_the_official_ones_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MINILM_SHA256", "0" * 64)
    with pytest.raises(BackboneError, match=f"has sha256 {MINILM_SHA256}, expected 0000"):
        Backbone.load()


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(BackboneError, match=r"holds no \.safetensors"):
        Backbone.load(str(tmp_path))


def test_pooling_is_the_normalised_mean_of_real_tokens():
    states = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(TokenStates(states, mask).pooled(), torch.tensor([[0.6, 0.8]]))


def test_minilm_gives_the_pooled_embedding_that_sentence_transformers_gives():
    backbone = Backbone.load(device="cpu")
    texts = ["What is the capital of France?", "", "x" * 10_000]
    encoded = backbone.encode(texts)
    assert backbone.width == 384
    assert encoded.mask.shape[1] <= 256
    expected = backbone._encoder.encode([text[:4000] for text in texts], convert_to_tensor=True)
    torch.testing.assert_close(encoded.pooled(), expected, atol=1e-5, rtol=1e-4)
    assert backbone.version == MINILM_SHA256[:12]


def test_a_backbone_is_known_by_its_weights_wherever_they_lie(tmp_path):
    import shutil

    folder = tmp_path / "copied"
    shutil.copytree(module._packaged_minilm(), folder)
    backbone = Backbone.load(str(folder), device="cpu")
    assert backbone.version == MINILM_SHA256[:12]
    assert backbone.encode(["a text"]).states.shape[-1] == 384
