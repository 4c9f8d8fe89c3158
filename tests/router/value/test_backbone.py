from __future__ import annotations

import pytest
import torch

from router.value import backbone as module
from router.value.backbone import MINILM_SHA256, Backbone, BackboneError, TokenStates
from router.value.bert import Bert, multiplies_bf16


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


BF16 = pytest.mark.skipif(not multiplies_bf16(), reason="this CPU does not multiply bfloat16")
TEXTS = [
    "What is 48 + 59?",
    "",
    "Prove that there are infinitely many primes. " * 60,
    "def f(x):\n    return [x ** 2 for x in range(x)]  # what does f(3) return?",
    "Ünïcode, 漢字 and \u200b nothing",
]


def test_texts_of_different_lengths_share_a_pass_and_do_not_change_one_another():
    backbone = Backbone.load(device="cpu")
    together = backbone.encode(TEXTS)
    lengths = [len(backbone.encode([text]).states[0]) for text in TEXTS]
    assert together.mask.sum(1).tolist() == lengths
    assert max(lengths) == 256
    alone = torch.cat([backbone.encode([text]).pooled() for text in TEXTS])
    torch.testing.assert_close(together.pooled(), alone, atol=1e-5, rtol=1e-4)
    expected = backbone._encoder.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-4)


def test_every_layer_on_average_is_what_the_library_gives():
    backbone = Backbone.load(device="cpu")
    quick = backbone.encode(TEXTS)
    library = Backbone(backbone._source, backbone.version).encode(TEXTS)  # as on a GPU
    assert quick.layers.shape == (len(TEXTS), 7, 384)
    torch.testing.assert_close(quick.layers, library.layers, atol=2e-5, rtol=1e-3)
    last = torch.nn.functional.normalize(quick.layers[:, -1], dim=-1)
    torch.testing.assert_close(last, quick.pooled(), atol=1e-5, rtol=1e-4)
    alone = torch.cat([backbone.encode([text]).layers for text in TEXTS])
    torch.testing.assert_close(quick.layers, alone, atol=2e-5, rtol=1e-3)


@BF16
def test_bf16_agrees_with_the_exact_embedding_to_a_cosine_of_9999():
    exact = Backbone.load(device="cpu")
    quick = exact.at("bf16")
    assert (exact.precision, quick.precision, quick.version) == ("fp32", "bf16", exact.version)
    cosines = (exact.encode(TEXTS).pooled() * quick.encode(TEXTS).pooled()).sum(1)
    assert 0.9999 < cosines.min() < 1
    assert quick.at("fp32").precision == "fp32"


def test_auto_is_exact_where_there_is_no_bf16_and_asking_for_it_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "multiplies_bf16", lambda: False)
    backbone = Backbone.load(device="cpu")
    assert backbone.at("auto").precision == "fp32"
    with pytest.raises(BackboneError, match="AVX512-BF16"):
        backbone.at("bf16")


@BF16
def test_bf16_that_computes_something_else_is_not_used(monkeypatch, caplog):
    class Wrong(Bert):
        def __call__(self, texts):
            states, mask, layers = super().__call__(texts)
            return states, mask, (layers.flip(-1) if self.precision == "bf16" else layers)

    monkeypatch.setattr(Bert, "at", lambda bert, precision: Wrong(bert._config, bert.weights, precision))
    backbone = Backbone.load(device="cpu")
    assert backbone.at("auto").precision == "fp32"
    assert "computing in fp32" in caplog.text
    with pytest.raises(BackboneError, match="wrong here"):
        backbone.at("bf16")


def test_tuned_layers_are_those_of_every_precision_and_of_the_reference():
    backbone = Backbone.load(device="cpu")
    name = "encoder.layer.5.output.dense.weight"
    tuned = {name: backbone._quick[1].weights[name] * 0.5}
    plain = backbone.encode(TEXTS).pooled()
    backbone.put_layers(tuned)
    moved = backbone.encode(TEXTS).pooled()
    assert (plain * moved).sum(1).max() < 0.999
    torch.testing.assert_close(
        moved, backbone._encoder.encode(TEXTS, convert_to_tensor=True), atol=1e-5, rtol=1e-4
    )
    other = backbone.at("auto")
    assert other.version == backbone.version
    assert (other.encode(TEXTS).pooled() * moved).sum(1).min() > 0.9999


def test_another_architecture_is_left_to_sentence_transformers(tmp_path):
    import json
    import shutil

    folder = tmp_path / "copied"
    shutil.copytree(module._packaged_minilm(), folder)
    settings = json.loads((folder / "sentence_bert_config.json").read_text()) | {"do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    backbone = Backbone.load(str(folder), device="cpu")
    assert backbone._quick is None
    assert backbone.at("auto") is backbone
    assert backbone.width == 384
    torch.testing.assert_close(
        backbone.encode(TEXTS).pooled(), Backbone.load().encode(TEXTS).pooled(), atol=1e-5, rtol=1e-4
    )
