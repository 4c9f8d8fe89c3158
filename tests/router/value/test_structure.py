from __future__ import annotations

import numpy as np

from router.value.structure import WIDTH, structure


def test_form_is_read_off_the_text_alone_and_tells_prompts_apart():
    texts = [
        "",
        "What is 2+2?",
        "```python\ndef f(x):\n    return x\n```",
        "Options:\nA. one\nB. two\nC. three",
    ]
    rows = structure(texts)
    assert rows.shape == (4, WIDTH)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[1], structure([texts[1]])[0])
    assert len({tuple(row) for row in rows}) == 4


def test_very_long_and_odd_texts_stay_in_range():
    rows = structure(["9" * 1_000_000, "\x00" * 100, "漢字" * 5000, "$x$ " * 5000])
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() <= 4
