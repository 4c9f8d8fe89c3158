from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from router.value.metrics import auc, calibration_mse, expected_calibration_error, pairwise_accuracy

R = np.array([1.0, 0.0, 1.0, 0.0, 0.6])


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.booleans()), min_size=2, max_size=30))
def test_auc_is_scikit_learns(pairs):
    values, outcomes = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    if len(set(outcomes)) < 2:
        assert np.isnan(auc(values, outcomes))
    else:
        assert auc(values, outcomes) == pytest.approx(roc_auc_score(outcomes, values))


def test_soft_pairwise_accuracy_loses_ties():
    assert pairwise_accuracy(np.array([0.9, 0.9, 0.8, 0.1, 0.2]), R) == pytest.approx(3 / 6)


def test_strict_pairwise_accuracy_asks_for_both_sides_of_one_half():
    assert pairwise_accuracy(np.array([0.9, 0.6, 0.4, 0.1, 0.7]), R, strict=True) == pytest.approx(2 / 6)


def test_a_constant_prediction_of_the_mean_is_calibrated_and_its_mse_is_the_variance():
    values = np.full(5, R.mean())
    assert expected_calibration_error(values, R) == pytest.approx(0)
    assert calibration_mse(values, R) == pytest.approx(R.var())


def test_calibration_error_is_the_gap_of_confident_mistakes():
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx(0.5)
