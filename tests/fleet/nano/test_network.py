from __future__ import annotations

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from fleet.nano.beginning import fresh
from fleet.nano.network import CONFIG, WEIGHTS, Cache, NetworkError, load
from tests.fleet.nano import tiny


@pytest.fixture(scope="module", params=[4, 2, 1], ids=lambda heads: f"{heads} kv heads")
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.write(folder, kv_heads=request.param)
    return folder


def ids(rows=3, length=17):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, tiny.tokenizer().get_vocab_size(), (rows, length), generator=generator)


def test_logits_equal_those_of_transformers_on_the_same_weights(folder):
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ours = load(folder)
    assert type(theirs).__name__ == "LlamaForCausalLM"
    with torch.inference_mode():
        torch.testing.assert_close(ours.logits(ours(ids())), theirs(ids()).logits, atol=2e-4, rtol=1e-3)


def test_transformers_counts_as_many_parameters(folder):
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    assert theirs.num_parameters() == load(folder).shape.parameters()


@torch.inference_mode()
def test_steps_through_the_cache_equal_the_whole_sequence(folder):
    network, all_ids = load(folder), ids()
    whole = network(all_ids)
    cache = Cache(network.shape, 4, torch.device("cpu"), torch.float32)
    lengths = [5, 9, 2]  # every row begins elsewhere
    for row, length in enumerate(lengths):
        network.prefill(all_ids[row : row + 1, :length], cache, row)
    for more in range(6):
        places = torch.tensor(lengths) + more
        hidden = network.step(all_ids[torch.arange(3), places], places, cache, int(places.max()) + 1)
        torch.testing.assert_close(hidden, whole[torch.arange(3), places], atol=2e-4, rtol=1e-3)


@torch.inference_mode()
def test_padding_on_the_right_changes_nothing(folder):
    network = load(folder)
    padded = torch.cat((ids(1, 9), torch.zeros(1, 8, dtype=torch.long)), dim=1)
    torch.testing.assert_close(network(padded)[:, :9], network(ids(1, 9)), atol=2e-4, rtol=1e-3)


def test_saved_and_loaded_weights_are_the_same_to_half_precision(tmp_path):
    network = tiny.write(tmp_path)
    for ours, theirs in zip(load(tmp_path).parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())


def test_the_seed_decides_fresh_weights():
    one, same, other = (fresh(tiny.shape(), seed) for seed in (1, 1, 2))
    assert torch.equal(one.blocks[1].qkv.weight, same.blocks[1].qkv.weight)
    assert not torch.equal(one.blocks[1].qkv.weight, other.blocks[1].qkv.weight)


def test_a_fresh_network_expects_every_token_alike():
    network = fresh(tiny.shape(), 0)
    loss = torch.nn.functional.cross_entropy(network.logits(network(ids()))[0], ids()[1])
    assert float(loss.detach()) == pytest.approx(math.log(network.shape.vocabulary), rel=0.05)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gpt2"}, "model_type"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type"),
        ({"attention_bias": True}, "attention_bias"),
        ({"head_dim": 64}, "head_dim"),
    ],
)
def test_a_folder_that_this_engine_would_run_wrongly_is_refused(tmp_path, change, named):
    tiny.write(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(NetworkError, match=named):
        load(tmp_path)


def test_a_broken_weights_file_is_named(tmp_path):
    tiny.write(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(NetworkError, match=str(tmp_path)):
        load(tmp_path)
