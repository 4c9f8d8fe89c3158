from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.schedule.support import Sampling


def test_newest_takes_the_last_rows():
    assert Sampling(size=3).rows(5).tolist() == [2, 3, 4]
    assert Sampling(size=3).rows(2).tolist() == [0, 1]
    assert Sampling(size=3).rows(0).tolist() == []


@given(st.integers(0, 40), st.integers(0, 60), st.integers(0, 5))
def test_a_weighted_draw_is_of_different_rows_in_order_and_repeats_with_its_seed(size, count, seed):
    sampling = Sampling(size, "weighted", half_life=8, seed=seed)
    rows = sampling.rows(count)
    assert len(rows) == min(size, count)
    assert np.all(np.diff(rows) > 0)
    assert np.all((rows >= 0) & (rows < count))
    assert rows.tolist() == sampling.rows(count).tolist()


def test_a_row_weighs_half_of_one_a_half_life_newer():
    drawn = np.concatenate([Sampling(1, "weighted", half_life=2, seed=seed).rows(5) for seed in range(8000)])
    weights = 2.0 ** (-np.array([4, 3, 2, 1, 0]) / 2)
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / 8000, weights / weights.sum(), atol=0.02)


def test_seeds_differ():
    assert len({tuple(Sampling(8, "weighted", seed=seed).rows(64)) for seed in range(20)}) == 20


@pytest.mark.parametrize("wrong", [{"size": -1}, {"half_life": 0}, {"seed": -1}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)
