from __future__ import annotations

import numpy as np

from benchmarks.figures import Curve
from benchmarks.parts import average, choose_v0, cost_unit, differences
from benchmarks.summary import Gathered


def line(*figures):
    """A line of one point under seed after seed, with a figure (measured, redraw, redraw)."""
    made = Gathered(learns=True)
    for seed, figure in enumerate(figures):
        point = np.array([figure], dtype=float)
        made.seeds.append(seed)
        made.curves.append(Curve(point, point, np.ones((1, 1)), None))
        made.figures.append({"accuracy": point[0]})
    return made


def test_what_was_measured_is_the_plain_mean_over_seeds():
    made = average(line([0.2, 0.1, 0.3], [0.4, 0.4, 0.4], [0.9, 0.9, 0.9]))
    assert made.figures["accuracy"][0] == 0.5
    assert made.accuracy[0, 0] == 0.5
    assert made.seeds == (0, 1, 2)


def test_one_seed_is_redrawn_by_its_prompts_alone():
    assert average(line([0.2, 0.1, 0.3])).figures["accuracy"].tolist() == [0.2, 0.1, 0.3]


def test_seeds_are_redrawn_alike_for_every_line():
    redraws = np.full(400, 0.0)
    low, high = [0.0, *redraws], [1.0, *(redraws + 1)]
    made, shifted = average(line(low, high)), average(line(high, low))
    values = set(np.round(made.figures["accuracy"][1:], 6))
    assert values == {0.0, 0.5, 1.0}
    np.testing.assert_allclose(made.figures["accuracy"][1:] + shifted.figures["accuracy"][1:], 1)


def test_a_figure_that_a_seed_lacks_has_no_mean():
    made = average(line([0.2, 0.1], [np.nan, np.nan]))
    assert np.isnan(made.figures["accuracy"][0])
    assert differences(made, made) == {}


def test_differences_need_the_same_seeds():
    three, two = average(line([0.5] * 9, [0.5] * 9, [0.5] * 9)), average(line([0.5] * 9, [0.5] * 9))
    assert differences(three, two) == {}
    assert differences(three, three) == {"accuracy": (0.0, 0.0, 0.0)}


def test_the_v0_of_the_gateways_own_context_size_comes_first():
    assert choose_v0(["umr", "v0-256", "v0-1024"]) == "v0-1024"
    assert choose_v0(["umr", "v0-256-tabpfn"]) == "v0-256-tabpfn"
    assert choose_v0(["umr"]) is None


def test_units():
    assert cost_unit("tokens x price") == "USD a prompt"
    assert cost_unit("none") == "none"
