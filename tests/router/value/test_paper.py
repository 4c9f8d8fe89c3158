"""The published checkpoint, on files of its layout: a tiny Qwen3 with random weights, and an adapter beside it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.backbone import MINILM, Backbone, BackboneError
from router.value.heads.tabpfn import TabpfnHead
from router.value.heads.tabpfn_weights import TabpfnWeights
from router.value.paper import AdapterFolder, PaperError, QwenBackbone, save
from router.value.paper_checkpoint import convert
from router.value.tabpfn_model import TabpfnV0
from tests.router.value import tiny_tabpfn

WIDTH, QUERIES, NARROW, HEADS = 16, 168, 6, 3
WORDS = ["<pad>", "<unk>", "what", "is", "the", "sum", "of", "two", "and", "three", "prove", "it", "why"]
TEXTS = ["what is the sum of two and three", "prove it", "why"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A folder as a hub has it: config, tokenizer, weights."""
    folder = tmp_path_factory.mktemp("qwen")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    Qwen3Model(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        folder
    )
    return folder


def published(backbone, queries=QUERIES, prefix="", with_backbone=True, **more):
    """A training state as the release saves it."""
    torch.manual_seed(1)
    adapter = ResidualQueryAdapter(
        AdapterConfig(input_width=WIDTH, queries=queries, query_width=NARROW, heads=HEADS, generator_width=8)
    )
    torch.nn.init.normal_(adapter.generator[-1].weight, std=0.3)
    state = {f"adapter_layer.{name}": tensor for name, tensor in adapter.state_dict().items()}
    state["adapter_layer.static_queries"] = adapter.static_queries.detach()[None]  # (1, K, W) there
    if with_backbone:
        for name, tensor in load_file(backbone / "model.safetensors").items():
            state[f"backbone.{name}"] = tensor + 0.01  # not the hub's
    state.update(more)
    return {
        "epoch": 3,
        "model_state_dict": {prefix + name: tensor for name, tensor in state.items()},
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 2e-4}]},
        "scheduler_state_dict": {"last_epoch": 9},
        "args": {"num_heads": HEADS, "reduce_method": "none", "device": torch.device("cpu"), "lr": 2e-4},
        "wandb_run_id": None,
    }


@pytest.fixture
def checkpoint(tmp_path, backbone):
    """Save a state, whole or with changes."""

    def checkpoint(**changes):
        path = tmp_path / "v_0_for_grpo_training.pt"
        torch.save(published(backbone, **changes), path)
        return path

    return checkpoint


def by_hand(state, states):
    """The adapter's answers for one prompt's states (T, H), formula by formula, from the published tensors."""
    weight = {
        name.removeprefix("adapter_layer."): tensor.double()
        for name, tensor in state.items()
        if name.startswith("adapter_layer.")
    }
    states = states.double()

    def linear(x, name):
        return x @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * weight[f"{name}.weight"] + weight[f"{name}.bias"]

    hidden = norm(linear(states[-1], "generator.0"), "generator.1")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    queries = weight["static_queries"][0] + linear(hidden, "generator.4").view(-1, NARROW)
    kv = linear(states, "proj_kv")
    q, k, v = (
        x @ w.T + b
        for x, w, b in zip(
            (norm(queries, "ln_q"), norm(kv, "ln_kv"), kv),
            weight["mha.in_proj_weight"].split(NARROW),
            weight["mha.in_proj_bias"].split(NARROW),
            strict=True,
        )
    )
    size = NARROW // HEADS
    heads = [
        torch.softmax(q[:, h : h + size] @ k[:, h : h + size].T / math.sqrt(size), -1) @ v[:, h : h + size]
        for h in range(0, NARROW, size)
    ]
    return linear(torch.cat(heads, -1), "mha.out_proj").flatten()


def test_the_published_pass_is_reproduced_from_the_folder(tmp_path, backbone, checkpoint):
    """Left-padded batch → all tokens' states → 168×6 features, as computed by hand from each prompt alone."""
    path = checkpoint()
    folder = AdapterFolder.load(convert(path, backbone, tmp_path / "v0-paper"))
    assert folder.dim == 1008
    features = folder.adapt(folder.encode(TEXTS), TEXTS)
    state = torch.load(path, weights_only=True)["model_state_dict"]
    model = Qwen3Model.from_pretrained(backbone).eval()
    own = {n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")}
    model.load_state_dict(own, strict=True)
    for text, row in zip(TEXTS, features, strict=True):
        ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
        with torch.no_grad():
            states = model(input_ids=ids).last_hidden_state[0]
        np.testing.assert_allclose(row, by_hand(state, states).numpy(), atol=1e-4)


def test_tokens_are_padded_on_the_left_and_cut_at_2048(backbone):
    encoded = QwenBackbone.load(backbone).encode(["why", "what is", " ".join(["two"] * 2100), ""])
    assert encoded.mask[:, -1].tolist() == [True, True, True, True]
    assert encoded.mask.sum(1).tolist() == [1, 2, 2048, 1]
    assert torch.isfinite(encoded.states[encoded.mask]).all()
    assert QwenBackbone.load(backbone).encode([""]).states.isfinite().all()


def test_the_whole_pass_with_all_1008_features_is_that_of_the_bare_network(tmp_path, backbone, checkpoint):
    """V = softmax(TabPFN(features standardised by the context) / 0.9)₁: v2.5's architecture, random weights."""
    folder = AdapterFolder.load(convert(checkpoint(), backbone, tmp_path / "v0-paper"))
    specs = tiny_tabpfn.random_specs("tabpfn_v2_5")
    plain = replace(specs.inference_config, FINGERPRINT_FEATURE=False, FEATURE_SHIFT_METHOD=None)
    path = tiny_tabpfn.save(replace(specs, inference_config=plain), tmp_path / "tabpfn.ckpt")
    weights = TabpfnWeights.load(path, accepted="tabpfn-v2.5-non-commercial")
    v0 = TabpfnV0(folder, TabpfnHead(weights, folder.dim, estimators=1, labels="hard"))
    context = [("the sum", 0.8), *((text, float(i % 2)) for i, text in enumerate(TEXTS * 2))]
    values = v0.predict(context, TEXTS)

    rows, queries = (torch.from_numpy(v0.embed(texts)) for texts in ([text for text, _ in context], TEXTS))
    mean, deviation = rows.mean(0), rows.std(0)
    table = (torch.cat([rows, queries]) - mean) / deviation
    labels = torch.tensor([float(score >= 0.5) for _, score in context])
    with torch.no_grad():
        logits = specs.model(table[:, None], labels[:, None])[:, 0, :2]
    np.testing.assert_allclose(values, torch.softmax(logits / 0.9, -1)[:, 1].numpy(), atol=1e-4)
    np.testing.assert_allclose(v0.predict(v0.fit_context(context), TEXTS), values, atol=1e-5)


def test_data_parallel_names_and_checkpoints_without_a_backbone_are_read(tmp_path, backbone, checkpoint):
    whole = AdapterFolder.load(convert(checkpoint(prefix="module."), backbone, tmp_path / "a"))
    assert whole.dim == 1008
    without = AdapterFolder.load(convert(checkpoint(with_backbone=False), backbone, tmp_path / "b"))
    assert whole.version != without.version  # the hub's own weights
    assert whole.version.split("-")[1] == without.version.split("-")[1]  # the same adapter


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adapter_layer.extra": torch.zeros(1)}, "extra is one too many"),
        ({"adapter_layer.proj_kv.weight": torch.zeros(6, 9)}, r"proj_kv.weight is \(6, 9\), not \(6, 16\)"),
        ({"backbone.norm.weight": torch.zeros(3)}, r"norm.weight is \(3,\), not \(16,\)"),
        ({"backbone.layers.2.mlp.up_proj.weight": torch.zeros(1)}, "one too many"),
        ({"head.weight": torch.zeros(1)}, "head.weight belongs neither"),
    ],
)
def test_a_tensor_out_of_place_is_refused(tmp_path, backbone, checkpoint, change, message):
    with pytest.raises(PaperError, match=message):
        convert(checkpoint(**change), backbone, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))  # nothing half done


@pytest.mark.parametrize(
    "missing", ["adapter_layer.ln_kv.bias", "adapter_layer.static_queries", "backbone.norm.weight"]
)
def test_a_missing_tensor_is_refused(tmp_path, backbone, missing):
    state = published(backbone)
    del state["model_state_dict"][missing]
    torch.save(state, tmp_path / "v0.pt")
    with pytest.raises(PaperError, match=f"{missing.split('.', 1)[1]} is missing"):
        convert(tmp_path / "v0.pt", backbone, tmp_path / "out")


def test_what_is_no_checkpoint_or_no_backbone_is_told(tmp_path, backbone, checkpoint):
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(PaperError, match=r"text\.pt is not a training state"):
        convert(tmp_path / "text.pt", backbone, tmp_path / "out")
    with pytest.raises(PaperError, match="is not a backbone"):
        convert(checkpoint(), tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(PaperError, match="not empty"):
        convert(checkpoint(), backbone, tmp_path / "full")


def test_code_in_a_pickle_is_not_run(tmp_path, backbone):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"model_state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(PaperError, match="not a training state"):
        convert(tmp_path / "trap.pt", backbone, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_the_card_names_hash_and_licences(tmp_path, backbone, checkpoint):
    card = (convert(checkpoint(), backbone, tmp_path / "out") / "README.md").read_text()
    assert "168×6 = 1008 features" in card
    assert "non-commercial" in card
    header = json.loads((tmp_path / "out" / "backbone" / "config.json").read_text())
    assert header["hidden_size"] == WIDTH


def test_an_adapter_over_our_own_backbone_travels_in_the_same_folder(tmp_path):
    """The 83×6 = 498 features that TabPFN v2 can read."""
    backbone = Backbone.load(MINILM)
    adapter = ResidualQueryAdapter(
        AdapterConfig(input_width=backbone.width, queries=83, query_width=6)
    ).eval()
    save(tmp_path, adapter, MINILM, backbone.version)
    folder = AdapterFolder.load(tmp_path)
    assert folder.dim == 498
    encoded = backbone.encode(["Hello there"])
    with torch.inference_mode():
        expected = adapter(encoded.states, encoded.mask, encoded.pooled()).numpy()
    np.testing.assert_allclose(
        folder.adapt(folder.encode(["Hello there"]), ["Hello there"]), expected, atol=1e-5
    )
    save(tmp_path, adapter, MINILM, "another")
    with pytest.raises(BackboneError, match="another"):
        AdapterFolder.load(tmp_path)
