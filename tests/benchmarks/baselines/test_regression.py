from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from benchmarks.baselines.regression import linear, logistic, platt, ridge, sigmoid


@pytest.fixture
def features():
    return np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)


def test_ridge_is_scikit_learns_on_each_columns_own_rows(features):
    rng = np.random.default_rng(1)
    targets = features @ rng.standard_normal((5, 3)) + rng.standard_normal((60, 3))
    targets[:20, 1] = np.nan
    targets[:, 2] = np.nan
    fits = ridge(features, targets, [0.5, 5.0], unknown=np.array([0.0, 0.0, 0.3]))
    for fit, penalty in zip(fits, (0.5, 5.0), strict=True):
        for column, rows in ((0, slice(0, 60)), (1, slice(20, 60))):
            own = Ridge(alpha=penalty).fit(features[rows], targets[rows, column])
            np.testing.assert_allclose(linear(features, fit)[:, column], own.predict(features), atol=1e-4)
    np.testing.assert_allclose(linear(features, fits[0])[:, 2], 0.3)


def test_logistic_is_scikit_learns_on_each_columns_own_rows(features):
    rng = np.random.default_rng(1)
    scores = (rng.random((60, 2)) < sigmoid(features[:, :2])).astype(float)
    scores[:25, 1] = np.nan
    fit = logistic(features, scores, precision=2.0)
    for column, rows in ((0, slice(0, 60)), (1, slice(25, 60))):
        own = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-8).fit(
            features[rows], scores[rows, column]
        )
        np.testing.assert_allclose(fit[column], own.coef_[0], atol=2e-3)


def test_a_column_without_scores_stays_at_the_priors_centre(features):
    centre = np.arange(5.0)
    fit = logistic(features, np.full((60, 1), np.nan), 1.0, centre)
    np.testing.assert_allclose(fit[0], centre)


def test_an_offset_is_part_of_the_logits(features):
    """What the offset explains already needs no weight."""
    truth = 2 * features[:, :1]
    scores = sigmoid(truth)
    assert np.abs(logistic(features, scores, 0.1, offset=truth)).max() < 0.01
    assert logistic(features, scores, 0.1)[0, 0] > 1.5


def test_platt_finds_the_curve_and_keeps_the_order():
    logits = np.linspace(-3, 5, 200)[:, None]
    slope, offset = platt(logits, sigmoid(0.7 * logits - 1))
    assert slope == pytest.approx(0.7, abs=0.02)
    assert offset == pytest.approx(-1, abs=0.05)
    slope, _ = platt(logits, sigmoid(-logits))
    assert slope > 0
    assert platt(logits, np.full_like(logits, np.nan)) == (1.0, 0.0)
