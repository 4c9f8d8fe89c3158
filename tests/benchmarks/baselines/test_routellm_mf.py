from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.baselines.routellm_mf import EPOCHS, NOISE, WIDTH, RouteLlmMf, battle_loss
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestRouteLlmMf(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return RouteLlmMf


def test_its_settings_are_the_published_ones():
    assert (WIDTH, NOISE, EPOCHS) == (128, 0.1, 100)


def test_only_battles_with_a_winner_count():
    """Models 0 and 2 beat model 1; 0 and 2 tie; model 3 was not asked."""
    deltas = torch.tensor([[1.0, 0.5, -1.0, 9.0]])
    scores, seen = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    expected = (np.log1p(np.exp(-0.5)) + np.log1p(np.exp(1.5))) / 2
    assert float(battle_loss(deltas, scores, seen)) == pytest.approx(expected, rel=1e-5)
    assert float(battle_loss(deltas, torch.ones(1, 4), seen)) == 0
