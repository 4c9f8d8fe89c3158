from __future__ import annotations

import itertools

import pytest
import torch

from router.value.heads import closed_form
from router.value.heads.closed_form import (
    believed,
    evidence,
    fit_curve,
    fit_linear,
    kernel_averages,
    kernel_sums,
    moved,
    platt,
    soft_clamp,
)
from router.value.heads.contexts import split, stack
from router.value.heads.icl import IclConfig, IclHead
from router.value.heads.reader import SPREAD, Reader

WIDTH = 12


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = IclHead(IclConfig(groups=(8, 4), hidden=8))
    with torch.no_grad():  # the zero-initialised parts would hide mistakes
        for parameter in head.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
        head.start_own[-1] = 0.3
    return head.eval()


def rows(n, models=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, WIDTH, generator=generator), torch.rand(models, n, generator=generator)


def unit(n, width=6, seed=3):
    return torch.nn.functional.normalize(
        torch.randn(n, width, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


QUERIES = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("together", [False, True])
def test_the_order_of_the_rows_does_not_matter(head, together):
    x, r = rows(40, models=3)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    there = head.value(QUERIES, head.read(x, r, together=together))
    back = head.value(QUERIES, head.read(x[order], r[:, order], together=together))
    torch.testing.assert_close(there, back, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("n", [0, 1, 2, 100, 4096])
def test_a_context_of_any_length_gives_finite_values(head, n, together):
    with torch.inference_mode():
        logits = head.value(QUERIES, head.read(*rows(n, models=2), together=together))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()


def test_a_batch_of_stacked_contexts_values_as_each_alone(head):
    fleet = head.read(*rows(30, models=4), together=True)
    contexts = [head.read(*rows(n, seed=n), common=fleet.common) for n in (3, 0, 50)]
    together = head.value(QUERIES, stack(contexts))
    alone = torch.cat([head.value(QUERIES, context) for context in contexts])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_fleet_that_is_split_and_stacked_is_the_same_and_still_shares_its_prompts(head):
    fleet = head.read(*rows(30, models=4), together=True)
    again = stack(split(fleet))
    assert again.own.places is fleet.own.places
    torch.testing.assert_close(head.value(QUERIES, again), head.value(QUERIES, fleet))


@pytest.mark.parametrize("together", [False, True])
def test_rows_that_do_not_exist_change_nothing(head, together):
    x, r = rows(30, models=2)
    mask = (torch.arange(30) < 20).expand(2, -1)
    masked = head.value(QUERIES, head.read(x, r * mask, mask, together=together))
    short = head.value(QUERIES, head.read(x[:20], r[:, :20], together=together))
    torch.testing.assert_close(masked, short, atol=1e-4, rtol=1e-4)


def test_what_another_model_scored_changes_nothing_for_one_that_is_read_by_itself(head):
    """Nor where they answered different rows: all see places from the middle of the rows that any of them answered."""
    x, r = rows(30, models=2)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 12:] = False
    before = head.value(QUERIES, head.read(x, r * mask, mask))
    r[0] = 1 - r[0]
    after = head.value(QUERIES, head.read(x, r * mask, mask))
    torch.testing.assert_close(after[1], before[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(after[0], before[0], atol=0.1)


def test_a_fleet_read_from_a_table_is_the_one_read_from_shared_prompts(head):
    x, r = rows(25, models=3)
    mask = torch.ones_like(r)
    (there,) = head.read_fleet(x, r, mask, [(x, r)])
    torch.testing.assert_close(
        head.value(QUERIES, there), head.value(QUERIES, head.read(x, r, together=True)), atol=1e-4, rtol=1e-4
    )


def test_a_newcomer_borrows_the_fleets_idea_of_difficulty(head):
    """Prompts that all fail are foretold to fail a model of which two outcomes elsewhere are known."""
    torch.nn.init.zeros_(head.reader.narrow.weight)
    torch.nn.init.zeros_(head.reader.narrow.bias)
    x, _ = rows(60, seed=5)
    hard = x[:, 4] > 0
    fleet = head.read(x, (~hard).float().expand(5, -1).clone(), together=True)
    newcomer = head.read(x[:2], torch.tensor([[1.0, 0.0]]), common=fleet.common)
    asked, _ = rows(200, seed=6)
    values = head.value(asked, newcomer)[0]
    assert values[asked[:, 4] < -0.5].mean() > values[asked[:, 4] > 0.5].mean() + 0.5
    alone = head.value(asked, head.read(x[:2], torch.tensor([[1.0, 0.0]])))[0]
    assert abs(alone[asked[:, 4] < -0.5].mean() - alone[asked[:, 4] > 0.5].mean()) < 0.3


def test_a_model_without_outcomes_is_thought_to_be_the_fleets_mean(head):
    x, _ = rows(40)
    fleet = head.read(x, torch.full((4, 40), 0.2), together=True)
    unknown = torch.sigmoid(head.value(QUERIES, head.read(x[:0], torch.zeros(1, 0), common=fleet.common)))
    known = torch.sigmoid(head.value(QUERIES, fleet))
    torch.testing.assert_close(unknown[0], known[0], atol=0.08, rtol=0)


def test_one_query_is_valued_as_in_company(head):
    context = head.read(*rows(25, models=2), together=True)
    torch.testing.assert_close(
        head.value(QUERIES[2:3], context)[:, 0], head.value(QUERIES, context)[:, 2], atol=1e-5, rtol=1e-4
    )


def test_real_valued_labels_are_read_not_only_their_side_of_one_half(head):
    x, _ = rows(30)
    low = head.value(QUERIES, head.read(x, torch.full((1, 30), 0.55)))
    high = head.value(QUERIES, head.read(x, torch.full((1, 30), 0.95)))
    assert (high > low).all()


def test_more_evidence_of_success_never_lowers_the_value(head):
    x, _ = rows(64)
    means = [
        torch.sigmoid(head.value(QUERIES, head.read(x[:n], torch.ones(1, n)))).mean()
        for n in (0, 1, 4, 16, 64)
    ]
    assert all(low < high + 1e-3 for low, high in itertools.pairwise(means))
    assert means[0] < means[1] < means[2]


def test_left_out_values_are_those_of_a_reading_without_the_row(head):
    """To the stacking, which has seen the row, and to the level."""
    x, r = rows(40)
    context = head.read(x, r)
    for i in (0, 17):
        keep = torch.arange(40) != i
        alone = head.value(x[i : i + 1], head.read(x[keep], r[:, keep]))[0, 0]
        assert (
            abs(
                torch.sigmoid(head.logits(context.foretold, context.calibration)[0, i]) - torch.sigmoid(alone)
            )
            < 0.06
        )


def test_the_leave_one_out_predictions_are_what_leaving_one_out_gives():
    torch.manual_seed(3)
    features, labels = torch.randn(300, 4, dtype=torch.float64), torch.rand(1, 300, dtype=torch.float64)
    penalty = torch.tensor(2.0, dtype=torch.float64)
    _, left_out = fit_linear(features, labels, torch.ones_like(labels), penalty)
    for i in range(0, 300, 60):
        weights = torch.ones_like(labels)
        weights[0, i] = 0
        fitted, _ = fit_linear(features, labels, weights, penalty)
        expected = features[i] @ fitted[0, :-1] + fitted[0, -1]
        torch.testing.assert_close(left_out[0, i], expected, atol=2e-4, rtol=0)  # the shrunk mean is kept


def test_one_factor_for_all_models_is_a_factor_for_each():
    torch.manual_seed(4)
    features, labels = torch.randn(20, 4), torch.rand(3, 20)
    weights, penalty = torch.ones(3, 20), torch.tensor(1.5)
    together = fit_linear(features, labels, weights, penalty)
    nearly = weights.clone()
    nearly[0, 0] = 1 - 1e-7  # no longer the same for all
    for shared, own in zip(together, fit_linear(features, labels, nearly, penalty), strict=True):
        torch.testing.assert_close(shared, own, atol=1e-4, rtol=1e-4)


def test_a_row_is_left_out_of_its_own_neighbourhood():
    """Its own label must not reach a row's kernel guess, or the head would learn to copy it."""
    places, labels, ones = unit(20), torch.rand(1, 20), torch.ones(1, 20)
    sharpness = torch.tensor([4.0, 12.0])
    before = kernel_averages(places, places, labels, ones, sharpness, skip=0)
    changed = labels.clone()
    changed[0, 7] = 1 - changed[0, 7]
    after = kernel_averages(places, places, changed, ones, sharpness, skip=0)
    torch.testing.assert_close(before[0, 7], after[0, 7])
    assert not torch.allclose(before[0, 8], after[0, 8])


def test_kernels_over_shared_prompts_are_those_over_each_contexts_own(monkeypatch):
    places, labels, weights = unit(20), torch.rand(3, 20), torch.ones(3, 20)
    sharpness = torch.tensor([4.0, 12.0])
    shared = kernel_averages(places, places, labels, weights, sharpness, skip=0)
    own = kernel_averages(places, places.expand(3, -1, -1), labels, weights, sharpness, skip=0)
    torch.testing.assert_close(shared, own)
    monkeypatch.setattr(closed_form, "BLOCK", 6)
    torch.testing.assert_close(kernel_averages(places, places, labels, weights, sharpness, skip=0), shared)


def test_fewer_rows_than_features_are_solved_by_their_products():
    """Beside as many rows of no weight, the same rows are solved by their features: the answers are the same."""
    torch.manual_seed(6)
    features, labels = torch.randn(9, 14), torch.rand(3, 9)
    weights, penalty = torch.rand(3, 9), torch.tensor(1.5)
    weights[1, 4] = 0
    by_rows = fit_linear(features, labels, weights, penalty)
    padded = torch.nn.functional.pad(weights, (0, 9)), torch.nn.functional.pad(labels, (0, 9))
    by_features = fit_linear(torch.cat([features, torch.randn(9, 14)]), padded[1], padded[0], penalty)
    torch.testing.assert_close(by_rows[0], by_features[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(by_rows[1], by_features[1][:, :9], atol=1e-4, rtol=1e-4)


def test_a_reader_settles_on_axes_of_unit_length_and_a_difficulty_of_known_spread():
    torch.manual_seed(4)
    reader, x = Reader(WIDTH, axes=5, hidden=16, dropout=0.3), torch.randn(400, WIDTH) / 8
    before = reader.eval()(x)
    reader.train().settle(x)
    axes, difficulty = reader(x)
    torch.testing.assert_close(axes.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    assert float(axes.square().sum(1).mean()) == pytest.approx(1, abs=1e-3)
    assert float(difficulty.mean()) == pytest.approx(0, abs=1e-4)
    assert float(difficulty.std(correction=0)) == pytest.approx(SPREAD, abs=1e-4)
    assert torch.corrcoef(torch.stack([before[1], difficulty]))[0, 1] > 0.999  # nothing but centre and scale
    assert not any(p.requires_grad for p in reader.parameters())
    alone = Reader(WIDTH, axes=5, hidden=16, dropout=0.3)
    alone.settle(x[:1])  # one prompt has no spread
    assert all(each.isfinite().all() for each in alone(x))


def test_places_laid_out_on_few_axes_keep_what_is_alike():
    """Prompts that differ in a few directions alone are as like each other along those as in all columns."""
    torch.manual_seed(2)
    head = IclHead(IclConfig(groups=(8, 4), axes=3, places=6, hidden=8)).eval()
    with torch.no_grad():
        head.reader.narrow.weight.mul_(0.01)
        head.reader.narrow.bias.zero_()
    x = torch.randn(200, 4) @ torch.randn(4, WIDTH)
    head.lay_out(x)
    rows = head.look(x)
    assert rows.features.shape == (200, WIDTH + 3)
    assert rows.places.shape == (200, 6)
    whole, few = (torch.nn.functional.normalize(each, dim=-1) for each in (rows.features, rows.places))
    torch.testing.assert_close(few @ few.T, whole @ whole.T, atol=1e-2, rtol=0)


def test_the_axes_have_a_ridge_of_their_own():
    """Outcomes that follow an axis of the reader, and no column of the embedding, are foretold."""
    torch.manual_seed(3)
    head = IclHead(IclConfig(groups=(8, 4), axes=3, hidden=32)).eval()
    x = torch.randn(300, WIDTH) / 8
    head.reader.settle(x)
    r = (head.look(x).features[:, -3] > 0).float().unsqueeze(0)
    values = head.value(x[200:], head.read(x[:200], r[:, :200]))[0]
    assert ((values > 0) == (r[0, 200:] > 0)).float().mean() > 0.85


def test_a_kernel_ridge_is_the_exact_one_where_all_rows_are_landmarks():
    torch.manual_seed(7)
    places, labels, ones = (
        unit(60).double(),
        torch.rand(1, 60, dtype=torch.float64),
        torch.ones(1, 60).double(),
    )
    sharpness, penalty = torch.tensor(3.0).double(), torch.tensor(0.7).double()
    weights, left_out = fit_curve(places, places, labels, ones, sharpness, penalty)
    kernel = torch.exp((places @ places.T - 1) * sharpness)
    among = (
        kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    )  # its offset is not penalised
    target = labels[0] - labels.sum() / 61
    exact = among @ torch.linalg.solve(among + penalty * torch.eye(60), target)
    found = kernel_sums(places, places, weights[:, None, :-1], sharpness[None]) + weights[:, -1:]
    torch.testing.assert_close(found[0], exact + labels.sum() / 61, atol=2e-3, rtol=0)
    for i in (0, 31):
        without = ones.clone()
        without[0, i] = 0
        again, _ = fit_curve(places, places, labels, without, sharpness, penalty)
        alone = kernel_sums(places[i : i + 1], places, again[:, None, :-1], sharpness[None]) + again[:, -1:]
        assert abs(alone[0, 0] - left_out[0, i]) < 0.02  # the shrunk mean is kept


def test_a_curve_is_foretold_that_no_line_can(head):
    """Success inside a ball of places, failure around it."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(700, WIDTH, generator=generator) * torch.tensor([1.0, 1.0] + [0.05] * (WIDTH - 2))
    x[:, 0] += 1.5
    r = ((x[:, 1].abs() < 0.7).float())[None]
    context = head.read(x[:500], r[:, :500])
    values = head.value(x[500:], context)[0]
    assert ((values > values.median()) == (r[0, 500:] > 0.5)).float().mean() > 0.8


def test_a_learner_is_believed_by_what_it_foretells():
    generator = torch.Generator().manual_seed(8)
    target = torch.randn(1, 400, generator=generator)
    guesses = torch.stack([2 * target, torch.randn(1, 400, generator=generator)], dim=-1)
    credit, ones = torch.tensor([3.0, 3.0]), torch.ones(1, 400)
    slopes = believed(guesses, target, ones, credit, torch.tensor(0.0))
    assert slopes[0, 0] == pytest.approx(0.5, abs=0.01)
    assert abs(slopes[0, 1]) < 0.15
    strict = believed(guesses, target, ones, credit, torch.tensor(1.0))
    assert strict[0, 0] == pytest.approx(1.0, abs=0.02)
    assert abs(strict[0, 1]) < 1e-6
    nothing = believed(guesses[:, :0], target[:, :0], ones[:, :0], credit, torch.tensor(1.0))
    torch.testing.assert_close(nothing, torch.ones(1, 2))


def test_stacking_finds_the_guess_that_foretells_and_doubt_keeps_it_where_it_began():
    torch.manual_seed(5)
    target = torch.randn(1, 500)
    guesses = torch.stack([0.8 * target, torch.randn(1, 500)], dim=-1)
    start = torch.tensor([[0.5, 0.5]])
    told = evidence(guesses, target, torch.ones_like(target), start)
    torch.testing.assert_close(
        start + moved(*told, torch.tensor(1e-3)), torch.tensor([[1.25, 0.0]]), atol=0.02, rtol=0
    )
    torch.testing.assert_close(start + moved(*told, torch.tensor(1e9)), start)


def test_the_soft_clamp_stays_inside_and_keeps_the_order():
    values = torch.linspace(-0.05, 1.05, 200, dtype=torch.float64)
    clamped = soft_clamp(values)
    assert ((clamped > 0) & (clamped < 1)).all()
    assert (clamped.diff() > 0).all()
    torch.testing.assert_close(clamped[20:180], values[20:180])


def outcomes_of(logits, seed=5):
    return (
        torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed)) < logits.sigmoid()
    ).float()


def test_a_calibration_finds_how_the_logits_were_bent():
    true = 1.5 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(4))
    found = platt((true - 0.4) / 1.6, outcomes_of(true), torch.ones_like(true), doubt=3.0)
    torch.testing.assert_close(found, torch.tensor([[1.6, 0.4], [1.6, 0.4]]), atol=0.12, rtol=0)
    right = platt(true, outcomes_of(true), torch.ones_like(true), doubt=3.0)
    torch.testing.assert_close(right, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), atol=0.12, rtol=0)


@pytest.mark.parametrize("n", [0, 1, 8])
def test_a_calibration_by_few_rows_stays_near_none(n):
    logits = torch.linspace(-2, 2, 8)[None, :n]
    found = platt(logits, (logits > 0).float(), torch.ones_like(logits), doubt=3.0)
    assert (found - torch.tensor([1.0, 0.0])).abs().max() <= 0.1 * n


def test_a_calibration_never_turns_the_order():
    logits = torch.linspace(-3, 3, 500)[None]
    found = platt(logits, (logits < 0).float(), torch.ones_like(logits), doubt=3.0)
    assert found[0, 0] == closed_form.SLOPES[0]


def test_a_calibration_does_not_see_rows_that_do_not_exist():
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(4))
    there = (torch.arange(50) < 30).float()[None]
    outcomes = outcomes_of(logits)
    whole = platt(logits[:, :30], outcomes[:, :30], there[:, :30], doubt=3.0)
    torch.testing.assert_close(platt(logits, outcomes, there, doubt=3.0), whole)


def test_a_fleet_is_calibrated_together_and_who_joins_it_likewise(head):
    x, _ = rows(200)
    hard = 2 * x[:, 0] - 1
    fleet = head.read(x, outcomes_of(torch.stack([hard, hard + 1, 3 * hard])), together=True)
    alone = head.read(x, outcomes_of(3 * hard)[None])
    joined = head.read(x[:40], outcomes_of(3 * hard[:40])[None], common=fleet.common)
    assert (fleet.calibration == fleet.calibration[0]).all()
    torch.testing.assert_close(joined.calibration, fleet.calibration[:1])
    assert not torch.allclose(alone.calibration, fleet.calibration[:1])


def test_left_out_values_of_a_fleet_are_right_on_average(head):
    x, _ = rows(400)
    r = outcomes_of(torch.stack([3 * x[:, 0], 3 * x[:, 0] + 3]))
    fleet = head.read(x, r, together=True)
    values = head.logits(fleet.foretold, fleet.calibration).sigmoid()
    raw = head.logits(fleet.foretold, head.uncalibrated()[None]).sigmoid()
    assert abs(values.mean() - r.mean()) < 0.005 < abs(raw.mean() - r.mean())
