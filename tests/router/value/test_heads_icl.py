from __future__ import annotations

import pytest
import torch

from router.value.heads import icl
from router.value.heads.icl import IclConfig, IclHead, _skill, fit_linear, stack

WIDTH = 12


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = IclHead(
        IclConfig(
            input_width=WIDTH,
            width=32,
            layers=3,
            heads=4,
            kv_heads=2,
            ridge_width=8,
            hidden=16,
            pooled=(2, 10),
            axes=6,
        )
    )
    with torch.no_grad():  # the zero-initialised parts would hide mistakes
        for parameter in head.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return head.eval()


def rows(n, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, n, WIDTH, generator=generator), torch.rand(1, n, generator=generator)


QUERIES = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(9))


def test_the_order_of_the_rows_does_not_matter(head):
    x, r = rows(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    there = head.value(QUERIES, head.read(x, r))
    back = head.value(QUERIES, head.read(x[:, order], r[:, order]))
    torch.testing.assert_close(there, back, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 2, 100, 4096])
def test_a_context_of_any_length_gives_finite_values(head, n):
    with torch.inference_mode():
        logits = head.value(QUERIES, head.read(*rows(n)))
    assert logits.shape == (1, 5)
    assert torch.isfinite(logits).all()


def test_a_batch_of_stacked_contexts_values_as_each_alone(head):
    contexts = [head.read(*rows(n, seed=n)) for n in (3, 0, 50)]
    together = head.value(QUERIES, stack(contexts))
    alone = torch.cat([head.value(QUERIES, context) for context in contexts])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_rows_that_do_not_exist_change_nothing(head):
    x, r = rows(30)
    mask = torch.arange(30)[None] < 20
    masked = head.value(QUERIES, head.read(x, r * mask, mask))
    short = head.value(QUERIES, head.read(x[:, :20], r[:, :20]))
    torch.testing.assert_close(masked, short, atol=1e-4, rtol=1e-4)


def test_one_query_is_valued_as_in_company(head):
    context = head.read(*rows(25))
    torch.testing.assert_close(
        head.value(QUERIES[2:3], context)[0, 0], head.value(QUERIES, context)[0, 2], atol=1e-5, rtol=1e-4
    )


def test_real_valued_labels_are_read_not_only_their_side_of_one_half(head):
    x, _ = rows(30)
    low = head.value(QUERIES, head.read(x, torch.full((1, 30), 0.55)))
    high = head.value(QUERIES, head.read(x, torch.full((1, 30), 0.95)))
    assert (high > low).all()


def test_the_leave_one_out_predictions_are_what_leaving_one_out_gives():
    torch.manual_seed(3)
    features, labels = torch.randn(1, 15, 4, dtype=torch.float64), torch.rand(1, 15, dtype=torch.float64)
    centred = labels - labels.mean()
    penalty = torch.tensor(2.0, dtype=torch.float64)
    _, left_out = fit_linear(features, centred, torch.ones_like(labels), penalty)
    x, y = (
        (features - features.mean(1))[0],
        centred[0],
    )  # the centring is kept; only the row's equation is dropped
    for i in range(15):
        keep = torch.arange(15) != i
        gram = x[keep].T @ x[keep] + 2 * torch.eye(4, dtype=torch.float64)
        expected = x[i] @ torch.linalg.solve(gram, x[keep].T @ y[keep])
        torch.testing.assert_close(left_out[0, i], expected)


def test_skill_is_what_a_fit_foretells_of_rows_it_did_not_see():
    torch.manual_seed(4)
    features = torch.randn(2, 200, 5, dtype=torch.float64)
    signal = features[:1] @ torch.tensor([1.0, -1.0, 0.5, 0.0, 0.0], dtype=torch.float64)
    labels = torch.cat([torch.sigmoid(3 * signal), torch.rand(1, 200, dtype=torch.float64)])
    weights, centred = torch.ones_like(labels), labels - labels.mean(1, keepdim=True)
    _, left_out = fit_linear(features, centred, weights, torch.tensor(10.0, dtype=torch.float64))
    skill = _skill(left_out.unsqueeze(-1), centred, weights)[:, 0]
    assert skill[0] > 0.7  # a linear world
    assert abs(skill[1]) < 0.06  # noise


def test_a_row_is_left_out_of_its_own_neighbourhood(head):
    """Its own label must not reach a row's kernel guess, or the head would learn to copy it."""
    x, r = rows(20)
    places = head._places(x[0])
    ones = torch.ones(1, 20)
    before = head._kernels(places, places, r - 0.5, ones, skip=0)
    changed = r.clone()
    changed[0, 7] = 1 - changed[0, 7]
    after = head._kernels(places, places, changed - 0.5, ones, skip=0)
    torch.testing.assert_close(before[0, 7], after[0, 7])
    assert not torch.allclose(before[0, 8], after[0, 8])


def test_kernels_over_shared_prompts_are_those_over_each_contexts_own(head):
    x, _ = rows(20)
    labels, weights = torch.rand(3, 20) - 0.5, torch.ones(3, 20)
    shared = head._places(x[0])
    own = shared.expand(3, -1, -1)
    torch.testing.assert_close(
        head._kernels(shared, shared, labels, weights, skip=0),
        head._kernels(own, own, labels, weights, skip=0),
    )


def test_a_long_context_is_read_in_blocks_and_the_same(head, monkeypatch):
    x, r = rows(100)
    whole = head.value(x[0], head.read(x, r))
    monkeypatch.setattr(icl, "BLOCK", 16)
    torch.testing.assert_close(head.value(x[0], head.read(x, r)), whole)
