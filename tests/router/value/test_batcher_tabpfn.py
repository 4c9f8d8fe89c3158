"""The gateway's scorer with TabPFN for its head, over the shipped backbone."""

from __future__ import annotations

import numpy as np
import pytest

from router.value.batcher import Scorer
from router.value.heads.tabpfn_weights import TabpfnError
from router.value_settings import TabpfnSettings
from tests.router.value.tiny_tabpfn import ASSET

SETTINGS = TabpfnSettings(ASSET, None, 1, "levels", 1 << 30)


async def test_prompts_are_scored_against_contexts_of_any_length():
    scorer = await Scorer.load(None, None, "cpu", SETTINGS)
    try:
        assert (
            scorer.dim == 400
        )  # MiniLM's 384 and the prompt's form: what TabPFN v2 can read without an adapter
        rows = await scorer.embed_many([f"Compute {n} + {n + 1}." for n in range(4)])
        some = await scorer.fit(rows[:3], np.array([1.0, 0.0, 1.0]))
        none = await scorer.fit(rows[:0], np.zeros(0))
        scored = await scorer.score("Compute 8 + 9.", [some, none])
        assert scored.values.shape == (2,)
        assert 0 < scored.values[0] < 1
        assert scored.values[1] == pytest.approx(0.5)
        np.testing.assert_allclose(
            await scorer.value_many(scored.embedding[None], some), scored.values[:1], atol=1e-5
        )
    finally:
        await scorer.aclose()


async def test_weights_that_are_not_there_are_told(tmp_path):
    with pytest.raises(TabpfnError, match="there are no TabPFN weights"):
        await Scorer.load(None, None, "cpu", TabpfnSettings(tmp_path / "absent.ckpt", None, 1, "levels", 1))
