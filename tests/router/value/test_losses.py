from __future__ import annotations

import math

import pytest
import torch

from router.value.losses import (
    ALPHA,
    composite_loss,
    cross_entropy,
    inter_ranking_loss,
    loss_named,
    ranking_loss,
)

LABELS = torch.tensor([[1.0, 0.0, 0.7], [1.0, 1.0, 1.0]])
ALL = torch.ones_like(LABELS, dtype=torch.bool)


def test_ranking_loss_is_the_mean_over_opposing_pairs_of_one_context():
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 5.0, -5.0]])
    expected = (math.log1p(math.exp(-1.5)) + math.log1p(math.exp(1.5))) / 2  # the second context has no pair
    torch.testing.assert_close(ranking_loss(logits, LABELS, ALL), torch.tensor(expected))


def test_pairs_across_contexts_do_not_count():
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert ranking_loss(torch.randn(2, 2), labels, torch.ones_like(labels, dtype=torch.bool)) == 0


def test_cross_entropy_is_least_at_the_real_valued_label():
    label = torch.tensor([[0.3]])
    at = [cross_entropy(torch.logit(torch.tensor([[p]])), label, label > 0) for p in (0.2, 0.3, 0.4)]
    assert at[1] < at[0]
    assert at[1] < at[2]


def test_entries_that_were_not_observed_count_in_neither_term():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    logits = torch.randn(2, 3, requires_grad=True)
    composite_loss(logits, LABELS, mask).backward()
    assert (logits.grad[~mask] == 0).all()
    assert (logits.grad[0, :2] != 0).all()


def test_the_ranking_term_contributes_gradient():
    """The published code never reaches its ranking loss; this one must."""
    logits = torch.zeros(1, 3, requires_grad=True)
    labels, mask = LABELS[:1], ALL[:1]
    (whole,) = torch.autograd.grad(composite_loss(logits, labels, mask), logits)
    (entropy,) = torch.autograd.grad((1 - ALPHA) * cross_entropy(logits, labels, mask), logits)
    (ranking,) = torch.autograd.grad(ALPHA * ranking_loss(logits, labels, mask), logits)
    torch.testing.assert_close(whole, entropy + ranking)
    assert ranking.abs().sum() > 0.05


def test_pairs_across_contexts_are_what_the_inter_loss_counts():
    labels, mask = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.ones(2, 2, dtype=torch.bool)
    logits = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    expected = (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(-2.0))) / 2
    torch.testing.assert_close(inter_ranking_loss(logits, labels, mask), torch.tensor(expected))
    mask[0, 1] = False
    torch.testing.assert_close(
        inter_ranking_loss(logits, labels, mask), torch.tensor(math.log1p(math.exp(-1.0)))
    )
    assert inter_ranking_loss(logits[:1], torch.tensor([[1.0, 0.0]]), mask[1:]) == 0  # one context only


@pytest.mark.parametrize(
    ("name", "moves"), [("intra", False), ("intra+inter", True), ("ce", True), ("intra+ce", True)]
)
def test_only_pairs_of_one_context_are_blind_to_what_is_added_to_the_whole_context(name, moves):
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 8), torch.rand(3, 8)
    mask = torch.ones_like(labels, dtype=torch.bool)
    shift = torch.randn(3, 1) * 2
    loss = loss_named(name)
    assert torch.isclose(loss(logits, labels, mask), loss(logits + shift, labels, mask), atol=1e-5) != moves


def test_a_loss_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="'hard' is none of ce, intra"):
        loss_named("hard")
