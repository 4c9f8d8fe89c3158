"""The circuit that a network begins with: one head looks one back, the next finds what followed last time."""

from __future__ import annotations

import pytest
import torch

from fleet.nano.beginning import fresh
from fleet.nano.network import Shape

SHAPES = (Shape(1024, 128, 3, 4, 4, 256, 512), Shape(1024, 192, 4, 6, 6, 512, 512))


def attention(network, ids, layer):
    """Weights (H,T,T) of a layer's heads over a sequence."""
    x, t = network.embedding(ids[None]), len(ids)
    cos, sin = network.cos[:t, None], network.sin[:t, None]
    for block in network.blocks[: layer + 1]:
        queries, keys, values = block.project(x, cos, sin)
        scores = queries @ keys.mT * queries.shape[-1] ** -0.5
        weights = scores.masked_fill(torch.ones(t, t).triu(1).bool(), -torch.inf).softmax(-1)
        x = block.mix(x, weights @ values)
    return weights[0]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.width))
@torch.no_grad()
def test_a_fresh_network_finds_what_followed_a_token_before(shape):
    network = fresh(shape, seed=3)
    words = torch.randperm(shape.vocabulary, generator=torch.Generator().manual_seed(0))[:30]
    ids = torch.cat((words, words))
    back = attention(network, ids, layer=0)[0]
    assert (back.argmax(-1)[2:] == torch.arange(1, 59)).float().mean() > 0.95
    found = attention(network, ids, layer=1)[0].argmax(-1)[31:]
    assert (found == torch.arange(2, 31)).float().mean() > 0.6


@torch.no_grad()
def test_a_seed_decides_the_weights():
    one, same, other = (fresh(SHAPES[0], seed).blocks[0].qkv.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
