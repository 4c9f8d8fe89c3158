from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from router.value.adapter import AdapterConfig
from router.value.checkpoint import Checkpoint, CheckpointError, load, save
from router.value.network import ValueNetwork, head_config

ADAPTER = AdapterConfig(input_width=8, queries=2, generator_width=4)


@pytest.fixture
def checkpoint():
    torch.manual_seed(0)
    head = head_config(ADAPTER, hidden=8)
    return Checkpoint(ValueNetwork(ADAPTER, head), "some-backbone", "abc", {"seed": 7})


def test_a_checkpoint_comes_back_with_weights_configuration_and_provenance(tmp_path, checkpoint):
    save(tmp_path / "v0.safetensors", checkpoint)
    back = load(tmp_path / "v0.safetensors")
    assert (back.backbone, back.backbone_version, back.training) == ("some-backbone", "abc", {"seed": 7})
    assert back.network.head.config == checkpoint.network.head.config
    for name, tensor in checkpoint.network.state_dict().items():
        torch.testing.assert_close(back.network.state_dict()[name], tensor)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_a_tensor_that_does_not_belong_is_refused(tmp_path, checkpoint, change):
    """The published loader drops the adapter silently; ours says which tensor is wrong."""
    path = tmp_path / "v0.safetensors"
    save(path, checkpoint)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    if change == "missing":
        del tensors["adapter.static_queries"]
    elif change == "extra":
        tensors["adapter.surprise"] = torch.zeros(1)
    else:
        tensors["adapter.static_queries"] = torch.zeros(3, 6)
    save_file(tensors, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"adapter\.(static_queries|surprise)"):
        load(path)


def test_a_foreign_file_is_refused_by_name(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="no V0 configuration"):
        load(path)
    path.write_bytes(b"\x80\x04pickle?")
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load(path)
