from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from router.value.batcher import Scorer


class CountingModel:
    """Embeds a text as its length and values it against a context as context + length."""

    version, dim, precision = "fake-1", 1, "fp32"

    def __init__(self):
        self.batches, self.gate, self.error = [], threading.Event(), None
        self.gate.set()

    def encode(self, texts):
        self.gate.wait(5)
        if self.error:
            raise self.error
        self.batches.append(list(texts))
        return texts

    def adapt(self, encoded, texts):
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    def value(self, embeddings, contexts):
        return (
            embeddings + np.array([contexts], dtype=np.float32)
            if contexts
            else np.zeros((len(embeddings), 0))
        )

    def fit_context(self, embeddings, labels, beside=None):
        return float(labels.mean())


@pytest.fixture
def model():
    return CountingModel()


@pytest.fixture
async def scorer(model):
    scorer = Scorer(model)
    yield scorer
    await scorer.aclose()


async def test_requests_that_wait_together_share_a_pass(scorer, model):
    model.gate.clear()
    asked = [asyncio.create_task(scorer.score("x" * n, (100.0,))) for n in range(1, 7)]
    await asyncio.sleep(0.05)
    model.gate.set()
    scored = await asyncio.gather(*asked)
    assert [s.values.tolist() for s in scored] == [[100.0 + n] for n in range(1, 7)]
    assert [len(batch) for batch in model.batches] == [1, 5]


async def test_one_batch_may_hold_different_fleets(scorer, model):
    model.gate.clear()
    asked = [scorer.score("a", (1.0,)), scorer.score("bb", (2.0, 3.0)), scorer.score("ccc", ())]
    tasks = [asyncio.create_task(one) for one in asked]
    await asyncio.sleep(0.02)
    model.gate.set()
    assert [s.values.tolist() for s in await asyncio.gather(*tasks)] == [[2.0], [4.0, 5.0], []]


async def test_a_text_is_embedded_once(scorer, model):
    await scorer.embed("same")
    await scorer.score("same", (1.0,))
    assert model.batches == [["same"]]


async def test_an_error_reaches_who_asked_and_the_next_request_is_served(scorer, model):
    model.error = RuntimeError("no memory")
    with pytest.raises(RuntimeError, match="no memory"):
        await scorer.embed("a")
    model.error = None
    assert (await scorer.embed("a")).tolist() == [1.0]


async def test_a_client_that_left_is_not_scored(scorer, model):
    model.gate.clear()
    first = asyncio.create_task(scorer.embed("first"))
    gone = asyncio.create_task(scorer.embed("gone"))
    await asyncio.sleep(0.02)
    gone.cancel()
    model.gate.set()
    await first
    await scorer.embed("last")
    assert ["gone"] not in model.batches


async def test_contexts_are_fitted_while_a_score_is_under_way(scorer, model):
    model.gate.clear()
    asked = asyncio.create_task(scorer.embed("slow"))
    assert await scorer.fit(np.zeros((2, 1)), np.array([0.0, 1.0])) == 0.5
    model.gate.set()
    await asked


async def test_many_texts_have_the_values_that_v0_predicts(value_model):
    context = [("2 + 2 = ?", 1.0), ("Prove Fermat's last theorem.", 0.0), ("3 * 3 = ?", 1.0)]
    prompts = ["4 + 4 = ?", "Prove Goldbach's conjecture.", ""]
    scorer = Scorer(value_model)
    rows = await scorer.embed_many([text for text, _ in context])
    fitted = await scorer.fit(rows, np.array([score for _, score in context]))
    values = await scorer.value_many(await scorer.embed_many(prompts), fitted)
    await scorer.aclose()
    np.testing.assert_allclose(values, value_model.predict(context, prompts), atol=1e-5)
    assert values[0] > values[1]
