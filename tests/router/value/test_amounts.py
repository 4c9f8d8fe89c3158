from __future__ import annotations

import numpy as np

from router.value.amounts import FACTORS, Amounts, expected_amounts, fit_amounts

NAMES = (
    "Lima",
    "Oslo",
    "Kyoto",
    "Accra",
    "Quito",
    "Turin",
    "Bonn",
    "Porto",
    "Cairo",
    "Delhi",
    "Paris",
    "Rome",
)
CITIES = [f"Which country is city {name} in?" for name in NAMES]
SUMS = [f"Compute {a} * {a + 17} - {a * 3}. Show your work." for a in range(31, 43)]


def history(value_model, cities, sums):
    texts = CITIES[:10] + SUMS[:10]
    noise = np.exp(0.3 * np.random.default_rng(0).standard_normal(20))
    return value_model.embed(texts), np.array([cities] * 10 + [sums] * 10) * noise


def test_amounts_follow_the_prompt_and_keep_their_mean(value_model):
    rows, amounts = history(value_model, cities=20, sums=400)
    fitted = fit_amounts(value_model, [(rows, amounts), (rows, amounts[::-1].copy())])
    expected = expected_amounts(value_model, value_model.embed([*CITIES[10:], *SUMS[10:]]), fitted)
    assert expected.shape == (4, 2)
    assert expected[2:, 0].min() > 3 * expected[:2, 0].max()
    assert expected[:2, 1].min() > 3 * expected[2:, 1].max()
    again = expected_amounts(value_model, rows, fitted)[:, 0]
    np.testing.assert_allclose(again.mean(), amounts.mean(), rtol=1e-3)  # the factor's doing


def test_rows_of_unknown_amount_are_left_out_and_too_few_are_not_read(value_model):
    rows, amounts = history(value_model, cities=20, sums=400)
    some = amounts.copy()
    some[[3, 12]] = np.nan, 0.0
    few = np.where(np.arange(20) < 15, amounts, np.nan)
    known, lost, same = fit_amounts(value_model, [(rows, some), (rows, few), (rows, np.full(20, 7.0))])
    assert (lost, same) == (None, None)
    kept = ~np.isin(np.arange(20), [3, 12])
    np.testing.assert_allclose(known.low, np.log(amounts[kept].min()))
    expected = expected_amounts(value_model, rows[:2], [lost, known])
    assert np.isnan(expected[:, 0]).all()
    assert np.isfinite(expected[:, 1]).all()
    assert fit_amounts(value_model, []) == []


def test_the_way_back_from_a_value_is_the_logarithms():
    amounts = Amounts(None, low=np.log(10.0), span=np.log(100.0), factor=1.5)
    np.testing.assert_allclose(amounts.expected(np.array([0.0, 0.5, 1.0])), [15.0, 150.0, 1500.0])


def test_the_factor_stays_within_its_bounds(value_model):
    rows, amounts = history(value_model, cities=20, sums=400)
    amounts[7] = 1e9  # one answer that never ended
    (fitted,) = fit_amounts(value_model, [(rows, amounts)])
    assert fitted.factor == FACTORS[1]
