from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.baselines.embedllm import BATCH, EPOCHS, NOISE, WIDTH, EmbedLlm, Factorisation
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestEmbedLlm(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return EmbedLlm


def test_its_settings_are_the_published_ones():
    assert (WIDTH, NOISE, BATCH, EPOCHS) == (232, 0.05, 2048, 50)


def test_the_logit_is_the_difference_of_two_classes():
    """W₂·(p ⊙ (W₁·q + b₁)) + b₂ and its two-class softmax, written out."""
    torch.manual_seed(0)
    network = Factorisation(models=3, input_width=4).eval()
    query = torch.randn(1, 4)
    with torch.no_grad():
        classes = [network.classify(network.models.weight[m] * network.project(query)) for m in range(3)]
        expected = [F.softmax(each, dim=-1)[0, 1] for each in classes]
        np.testing.assert_allclose(torch.sigmoid(network(query))[0], expected, rtol=1e-5)
