"""Policies and predictions over HTTP; the fake value model's value is the mean reward of the context's rows."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import numpy as np
import pytest

from router.value.batcher import Scorer
from tests.router.fakes import FakeScorer
from tests.router.store.disk import full_disk

POLICY = "/v1/value/policies/run-1/outcomes"


def earned(*rewards, step=None):
    return [{"prompt": f"prompt {i}", "reward": reward, "step": step} for i, reward in enumerate(rewards)]


async def predict(running, **fields):
    return await running.http.post("/v1/value/predict", json={"prompts": ["a", "b"], **fields})


async def test_what_a_policy_earned_is_what_its_prompts_are_worth(start):
    async with start() as running:
        added = (await running.http.post(POLICY, json={"outcomes": earned(1, 1, 0, 1)})).json()
        assert (added["id"], added["added"], added["size"], added["capacity"]) == ("run-1", 4, 4, 512)
        reply = (await predict(running, policy="run-1")).json()
    assert reply["values"] == [0.75, 0.75]
    assert (reply["context_size"], reply["version"], reply["revision"]) == (4, "fake-1", added["revision"])
    assert set(reply["timings_ms"]) == {"context", "embed", "head"}


async def test_a_declared_range_is_mapped_to_success(start):
    async with start() as running:
        body = {"outcomes": earned(-1, 1, 1, 0), "reward_range": [-1, 1]}
        assert (await running.http.post(POLICY, json=body)).json()["mean_reward"] == 0.625
        assert (await predict(running, policy="run-1")).json()["values"] == [0.625, 0.625]


async def test_a_prediction_changes_with_its_policy_alone(start):
    async with start() as running:
        for name, reward in (("a", 1), ("b", 0)):
            await running.http.post(f"/v1/value/policies/{name}/outcomes", json={"outcomes": earned(reward)})
        assert (await predict(running, policy="a")).json()["values"] == [1, 1]
        await running.http.post("/v1/value/policies/b/outcomes", json={"outcomes": earned(1)})
        assert (await predict(running, policy="a")).json()["values"] == [1, 1]
        assert (await predict(running, policy="b")).json()["values"] == [0.5, 0.5]


async def test_steps_and_samples_choose_the_rows(start):
    async with start() as running:
        for step in range(4):
            body = {"outcomes": earned(*[step / 4] * 10, step=step)}
            assert (await running.http.post(POLICY, json=body)).json()["step"] == step

        async def value(**fields):
            return (await predict(running, policy="run-1", **fields)).json()["values"][0]

        assert await value() == 0.375
        assert await value(sample={"size": 10}) == 0.75
        assert await value(until_step=1, sample={"size": 10}) == 0.25
        assert await value(sample={"size": 0}) == 0.5
        drawn = {seed: await value(sample={"size": 7, "how": "weighted", "seed": seed}) for seed in range(6)}
        assert len(set(drawn.values())) > 1
        assert drawn == {
            seed: await value(sample={"size": 7, "how": "weighted", "seed": seed}) for seed in range(6)
        }


async def test_a_context_in_the_request_leaves_nothing_behind(start):
    async with start() as running:
        reply = (await predict(running, context=earned(1, 0, 0, 0))).json()
        assert (reply["values"], reply["context_size"], reply["revision"]) == ([0.25, 0.25], 4, None)
        assert (await predict(running, context=[])).json()["values"] == [0.5, 0.5]
        assert (await running.http.get("/v1/value/policies")).json() == {"object": "list", "data": []}


async def test_policies_outlive_the_gateway_until_they_are_deleted(start):
    async with start() as running:
        await running.http.post(POLICY, json={"outcomes": earned(1, 0)})
    async with start() as running:
        (kept,) = (await running.http.get("/v1/value/policies")).json()["data"]
        assert (kept["id"], kept["size"], kept["mean_reward"]) == ("run-1", 2, 0.5)
        assert (await predict(running, policy="run-1")).json()["context_size"] == 2
        assert (await running.http.delete("/v1/value/policies/run-1")).json()["deleted"] is True
        gone = await running.http.delete("/v1/value/policies/run-1")
        asked = await predict(running, policy="run-1")
    assert gone.status_code == asked.status_code == 404
    assert asked.json()["error"] == {
        "message": "no outcomes are known of a policy 'run-1'",
        "type": "invalid_request_error",
        "param": "policy",
        "code": "policy_not_found",
    }


@pytest.mark.parametrize("stored", [False, True])
async def test_prompts_are_stored_only_where_the_operator_says_so(start, settings, tmp_path, stored):
    store = type(settings.store)(settings.store.url, stored)
    async with start(store=store) as running:
        await running.http.post(POLICY, json={"outcomes": earned(1)})
    with sqlite3.connect(tmp_path / "router.db") as database:
        assert database.execute("SELECT text FROM support").fetchall() == [("prompt 0" if stored else None,)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"outcomes": []}, "outcomes"),
        ({"outcomes": earned(1) * 1025}, "outcomes"),
        ({"outcomes": earned(1, -1)}, "outcomes.1.reward"),
        ({"outcomes": earned(True)}, "outcomes.0.reward"),
        ({"outcomes": earned(1, step=-1)}, "outcomes.0.step"),
        ({"outcomes": [{"prompt": 1, "reward": 1}]}, "outcomes.0.prompt"),
        ({"outcomes": earned(1), "reward_range": [1, 1]}, "reward_range"),
        ({"outcomes": earned(1), "reward_range": [-1e308, 1e308]}, "reward_range.0"),
        ({"outcomes": earned(1), "rewards": []}, "rewards"),
    ],
)
async def test_a_wrong_outcome_is_named_and_nothing_is_kept(start, body, param):
    async with start() as running:
        reply = await running.http.post(POLICY, json=body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
        assert (await running.http.get("/v1/value/policies")).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompts": []}, "prompts"),
        ({"prompts": ["a"] * 1025, "context": []}, "prompts"),
        ({}, None),
        ({"policy": "x", "context": []}, None),
        ({"context": earned(1), "sample": {"size": 4}}, None),
        ({"policy": "x", "sample": {"size": 513}}, "sample.size"),
        ({"context": earned(2)}, "context.0.reward"),
    ],
)
async def test_a_wrong_prediction_is_named(start, body, param):
    async with start() as running:
        reply = await predict(running, **body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_a_name_is_plain(start):
    async with start() as running:
        reply = await running.http.post("/v1/value/policies/.x/outcomes", json={"outcomes": earned(1)})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "name")


async def test_beyond_the_queue_callers_are_told_when_to_come_back_and_others_are_served(start):
    scorer = FakeScorer()
    async with start(scorer=scorer) as running:
        scorer.gate.clear()
        waiting = [asyncio.create_task(predict(running, context=earned(1))) for _ in range(9)]
        await asyncio.sleep(0.1)
        refused = await predict(running, context=earned(1))
        healthy = await running.http.get("/healthz")
        scorer.gate.set()
        served = await asyncio.gather(*waiting)
        after = await predict(running, context=earned(1))
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["code"] == "too_busy"
    assert healthy.status_code == after.status_code == 200
    assert [each.status_code for each in served] == [200] * 9


class SlowModel:
    """Notes its thread and how many texts each pass embedded."""

    version, dim, precision = "slow-1", 2, "fp32"

    def __init__(self):
        self.passes, self.threads, self.fits = [], set(), []

    def embed(self, texts):
        self.passes.append(len(texts))
        self.threads.add(threading.current_thread().name)
        return np.array([[len(text), 1] for text in texts], np.float32)

    def fit_context(self, embeddings, labels, beside=None):
        self.fits.append(len(labels))
        return float(labels.mean()) if len(labels) else 0.5

    def value(self, embeddings, contexts):
        self.threads.add(threading.current_thread().name)
        return np.full((len(embeddings), 1), contexts[0], np.float32)


async def test_texts_are_embedded_once_in_pieces_and_a_context_fitted_once(start):
    model = SlowModel()
    scorer = Scorer(model)
    async with start(scorer=scorer) as running:
        await running.http.post(POLICY, json={"outcomes": earned(1, 0)})
        for _ in range(2):
            many = {"prompts": [f"prompt {i % 40}" for i in range(80)], "policy": "run-1"}
            reply = await running.http.post("/v1/value/predict", json=many)
            assert reply.json()["values"] == [0.5] * 80
    await scorer.aclose()
    assert model.passes == [2, 16, 16, 6]
    assert model.fits.count(2) == 1
    assert all(name.startswith("v0-score") for name in model.threads)


async def test_a_full_store_refuses_outcomes_and_keeps_what_it_had(start):
    async with start() as running:
        await running.http.post(POLICY, json={"outcomes": earned(1, 0)})
        with full_disk(running.app.state.services.engine):
            refused = await running.http.post(POLICY, json={"outcomes": earned(*[1] * 512)})
        assert refused.status_code == 503
        assert refused.json()["error"]["type"] == "server_error"
        (kept,) = (await running.http.get("/v1/value/policies")).json()["data"]
        assert (kept["size"], kept["mean_reward"]) == (2, 0.5)
        assert (await running.http.post(POLICY, json={"outcomes": earned(1)})).is_success
