from __future__ import annotations

import numpy as np

from benchmarks.outcomes import OutcomesError
from tests.benchmarks.outcomes import tiny_outcomes


def test_taking_prompts_and_models_keeps_the_order_asked_for():
    outcomes = tiny_outcomes(prompts=6, models=4)
    taken = outcomes.take(prompts=np.array([4, 1]), models=[3, 0])
    assert taken.prompt_ids == ["p4", "p1"]
    assert taken.model_names == ["model-3", "model-0"]
    for name in ("scores", "costs", "input_tokens", "output_tokens"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(outcomes, name)[[4, 1]][:, [3, 0]])
    assert outcomes.take().texts == outcomes.texts


def test_an_error_names_file_and_row():
    assert (
        str(OutcomesError("score 2 is not in [0, 1]", "a.csv", 7)) == "a.csv row 7: score 2 is not in [0, 1]"
    )
    assert str(OutcomesError("is empty", "a.csv")) == "a.csv: is empty"
    assert str(OutcomesError("nothing there")) == "nothing there"
