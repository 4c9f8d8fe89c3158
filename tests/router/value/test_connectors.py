from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from router.value import structure
from router.value.adapter import AdapterConfig, ConnectorName
from router.value.backbone import TokenStates
from router.value.checkpoint import Checkpoint, load, save
from router.value.connectors import CONNECTORS, connect
from router.value.network import ValueNetwork, head_config

EVERY = sorted(set(CONNECTORS) - {"layers"})
HEAD = {"hidden": 8}


def config(name, **fields):
    return AdapterConfig(input_width=20, queries=9, generator_width=16, connector=name, **fields)


def module(name):
    torch.manual_seed(0)
    return connect(config(name)).eval()


def test_every_connector_of_the_paper_is_there():
    assert set(get_args(ConnectorName)) == set(CONNECTORS)
    assert len(EVERY) == 7 + 1  # and the backbone's own pooling


@pytest.mark.parametrize("name", EVERY)
def test_padding_changes_nothing_and_the_width_is_as_said(name):
    states, pooled = torch.randn(3, 37, 20), torch.randn(3, 20)
    mask = torch.arange(37) < torch.tensor([[37], [5], [1]])
    padded = torch.cat([states, torch.full((3, 7, 20), 9.0)], dim=1)
    longer = torch.cat([mask, torch.zeros(3, 7, dtype=torch.bool)], dim=1)
    answers = module(name)(states, mask, pooled)
    assert answers.shape == (3, config(name).output_width)
    torch.testing.assert_close(answers, module(name)(padded, longer, pooled))


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"last_token", "pooled"}))
def test_every_parameter_of_a_connector_learns(name):
    connector = connect(config(name, dropout=0.0)).train()
    if name == "residual_dynamic":  # its last layer is zero at the start, and hides the ones before it
        torch.nn.init.normal_(connector.generator[-1].weight)
    mask = torch.arange(37) < torch.tensor([[37], [20]])
    answers = connector(torch.randn(2, 37, 20), mask, torch.randn(2, 20))
    (answers * torch.randn_like(answers)).sum().backward()
    silent = [n for n, p in connector.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"pooled", "mlp"}))
def test_connectors_over_tokens_see_the_tokens(name):
    mask, pooled = torch.ones(1, 12, dtype=torch.bool), torch.randn(1, 20)
    one, other = torch.randn(1, 12, 20), torch.randn(1, 12, 20)
    assert not torch.allclose(module(name)(one, mask, pooled), module(name)(other, mask, pooled))


def test_the_pyramid_shares_its_queries_out_and_refuses_too_few():
    assert module("pyramidal_fixed").counts == [1, 2, 6]
    assert connect(AdapterConfig(queries=64, connector="pyramidal_fixed")).counts == [9, 18, 37]
    with pytest.raises(ValueError, match="more than 3 queries"):
        connect(AdapterConfig(queries=3, connector="pyramidal_fixed"))


def test_a_connector_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="'pyramid' is none of layers, last_token"):
        connect(AdapterConfig(connector="pyramid"))


@pytest.mark.parametrize("name", EVERY)
def test_alone_the_head_sees_only_the_connector_and_the_checkpoint_remembers(tmp_path, name):
    adapter = config(name, alone=True)
    network = ValueNetwork(adapter, head_config(adapter, **HEAD)).eval()
    states, mask = torch.randn(6, 9, 20), torch.ones(6, 9, dtype=torch.bool)
    facts = torch.randn(6, 16)
    encoded = TokenStates(states, mask)
    embeddings = network.embed(encoded, facts)
    torch.testing.assert_close(embeddings, network.embed(encoded, facts + 1))
    context = network.head.read(embeddings[:4], torch.tensor([[0.0, 1.0, 0.3, 1.0]]))
    values = network.head.value(embeddings[4:], context)
    assert values.shape == (1, 2)
    assert values.isfinite().all()
    path = tmp_path / "v0.safetensors"
    save(path, Checkpoint(network, "backbone", "version", {}))
    assert load(path).network.adapter.config == adapter


def test_the_layers_are_seen_along_their_principal_axes_beside_the_form():
    adapter = config("layers", layers=3, axes=2)
    network = ValueNetwork(adapter, head_config(adapter, **HEAD)).eval()
    generator = torch.Generator().manual_seed(2)
    spread = torch.tensor([5.0, 3.0, *[0.1] * 18])  # of the states along each of their columns
    layers = torch.randn(500, 3, 20, generator=generator) * spread + 7
    network.adapter.fit(layers)
    nothing = torch.zeros(500, 0, 20)
    facts = torch.randn(500, structure.WIDTH, generator=generator)
    embedded = network.embed(TokenStates(nothing, nothing[..., 0].bool(), layers), facts)
    assert embedded.shape == (500, network.head.config.input_width) == (500, 3 * 2 + structure.WIDTH)
    torch.testing.assert_close(embedded[:, 6:], facts)
    first = embedded[:, :2]
    torch.testing.assert_close(first.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.square().sum(1).mean(), torch.tensor(1.0), atol=0.01, rtol=0)
    assert abs(np.corrcoef(first[:, 0], layers[:, 0, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(first[:, 1], layers[:, 0, 1])[0, 1]) > 0.99
    assert not network.reads_tokens


def test_a_backbone_that_gives_its_last_layer_alone_is_refused():
    adapter = config("layers", layers=3, axes=2)
    network = ValueNetwork(adapter, head_config(adapter, **HEAD))
    states, mask = torch.randn(1, 4, 20), torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="its last alone"):
        network.embed(TokenStates(states, mask), torch.zeros(1, structure.WIDTH))
