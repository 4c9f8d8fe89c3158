from __future__ import annotations

import torch

from router.value.adapter import AdapterConfig, ResidualQueryAdapter

CONFIG = AdapterConfig(input_width=20, queries=7, query_width=6, heads=3, generator_width=16)


def adapter():
    torch.manual_seed(0)
    return ResidualQueryAdapter(CONFIG).eval()


def test_the_paper_sized_adapter_gives_1008_features():
    assert AdapterConfig(input_width=1024, queries=168).output_width == 1008


def test_padding_changes_nothing():
    module, states, pooled = adapter(), torch.randn(2, 5, 20), torch.randn(2, 20)
    mask = torch.ones(2, 5, dtype=torch.bool)
    padded = torch.cat([states, torch.full((2, 3, 20), 9.0)], dim=1)
    longer = torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(module(states, mask, pooled), module(padded, longer, pooled))


def test_the_residual_starts_at_zero_and_then_depends_on_the_prompt():
    module, states = adapter(), torch.randn(1, 5, 20)
    mask = torch.ones(1, 5, dtype=torch.bool)
    one, other = torch.randn(1, 20), torch.randn(1, 20)
    torch.testing.assert_close(module(states, mask, one), module(states, mask, other))
    torch.nn.init.normal_(module.generator[-1].weight)
    assert not torch.allclose(module(states, mask, one), module(states, mask, other))
