from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.baselines.routerdc import RouterDc, cluster_loss, model_loss, routed_score
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestRouterDc(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return RouterDc


def test_each_of_the_best_stands_against_the_worst_that_failed():
    """Models 0 and 1 succeed, 2 fails, 3 was not asked: two losses, each against model 2 alone."""
    cosines = torch.tensor([[0.9, 0.1, 0.4, 0.8]])
    scores, seen = torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    expected = sum(np.log1p(np.exp(0.4 - own)) for own in (0.9, 0.1))
    assert float(model_loss(cosines, scores, seen)) == pytest.approx(expected, rel=1e-5)
    assert float(model_loss(cosines, torch.zeros(1, 4), seen)) == 0


def test_queries_of_a_cluster_are_drawn_together():
    clusters = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    together = (clusters.unsqueeze(1) == clusters.unsqueeze(0)).float()
    assert float(cluster_loss(together, clusters)) == pytest.approx(np.log(1 + 3 * np.exp(-1)), rel=1e-5)
    assert float(cluster_loss(-together, clusters)) == pytest.approx(np.log(1 + 3 * np.exp(1)), rel=1e-5)
    assert float(cluster_loss(torch.ones(3, 3), torch.zeros(3))) == 0


def test_the_step_is_chosen_by_the_score_of_the_model_chosen():
    values = np.array([[0.9, 0.1], [0.2, 0.3], [0.5, 0.1]])
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [np.nan, 1.0]])
    assert routed_score(values, scores) == pytest.approx(2 / 3)
    assert routed_score(values, np.full((3, 2), np.nan)) == -np.inf


def test_among_equals_each_model_has_its_turn():
    """Five models succeed and three fail: over many prompts all five are drawn near, the last as often as the first."""
    torch.manual_seed(0)
    cosines = torch.zeros(600, 8, requires_grad=True)
    scores = torch.tensor([[1.0] * 5 + [0.0] * 3]).repeat(600, 1)
    model_loss(cosines, scores, torch.ones_like(scores)).backward()
    pulled = (cosines.grad < 0).float().mean(dim=0)
    np.testing.assert_allclose(pulled[:5], 0.6, atol=0.08)
    assert (pulled[5:] == 0).all()
