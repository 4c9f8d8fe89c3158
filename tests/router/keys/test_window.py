from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.keys.window import Window

steps = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5)), max_size=60)


@given(steps=steps, limit=st.integers(5, 12))
def test_no_sixty_seconds_hold_more_than_the_limit(steps, limit):
    window, now, passed = Window(), 0.0, []
    for pause, amount in steps:
        now += pause
        if window.wait(now, amount, limit) == 0:
            window.take(now, amount)
            passed.append((now, amount))
    for start, _ in passed:
        assert sum(amount for at, amount in passed if start <= at < start + 60 - 1e-6) <= limit


@given(steps=steps, limit=st.integers(5, 12))
def test_whoever_waits_as_long_as_told_passes_and_not_before(steps, limit):
    window, now = Window(), 0.0
    for pause, amount in steps:
        now += pause
        wait = window.wait(now, amount, limit)
        if wait > 1e-3:
            assert window.wait(now + wait - 1e-3, amount, limit) > 0
        now += wait + 1e-6
        assert window.wait(now, amount, limit) == 0
        window.take(now, amount)


def test_more_than_the_limit_never_fits():
    assert Window().wait(0, 6, 5) == math.inf


def test_a_correction_counts_while_what_it_corrects_does():
    window = Window()
    early, late = window.take(0, 10), window.take(30, 10)
    window.correct(early, 2, 40)
    assert window.used(40) == 12
    window.correct(early, 50, 70)  # a minute old: it counts no more
    assert window.used(70) == 10
    window.correct(late, 3, 80)
    assert window.used(80) == 3
    assert window.used(95) == 0


def test_what_is_past_is_forgotten_also_where_nobody_asks():
    window = Window()
    for second in range(1000):
        window.take(second, 1)
    assert len(window._taken) == 60
    assert window.reset_s(1000) == pytest.approx(59)
