"""Policies and predictions over HTTP; the fake value model's value is the mean reward of the context's rows."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

from router.api.progress import Telling
from router.errors import NotReady
from router.valuation import Loading
from router.value.batcher import Scorer
from tests.router.fakes import FakeScorer
from tests.router.running import events
from tests.router.store.disk import full_disk

POLICY = "/v1/value/policies/run-1/outcomes"


def earned(*rewards, step=None):
    return [{"prompt": f"prompt {i}", "reward": reward, "step": step} for i, reward in enumerate(rewards)]


async def predict(running, **fields):
    return await running.http.post("/v1/value/predict", json={"prompts": ["a", "b"], **fields})


async def first_to_end(requests):
    """The reply that comes first, as only one can while the gate is closed, and the tasks that still wait."""
    waiting = {asyncio.create_task(each) for each in requests}
    done, waiting = await asyncio.wait(waiting, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    (first,) = done
    return first.result(), waiting


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
        refused, waiting = await first_to_end(predict(running, context=earned(1)) for _ in range(10))
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


MANY = [f"prompt {i % 40}" for i in range(80)]


def progress_of(told):
    """How many were done at each event, of all of `MANY`."""
    told = [json.loads(each) for each in told]
    assert {each["object"] for each in told} == {"value.progress"}
    assert {each["total"] for each in told} == {len(MANY)}
    return [each["done"] for each in told]


async def test_a_stream_tells_how_many_prompts_are_embedded_and_ends_with_the_answer(start):
    scorer = Scorer(SlowModel())
    async with start(scorer=scorer) as running:
        await running.http.post(POLICY, json={"outcomes": earned(1, 0)})
        asked = {"prompts": MANY, "policy": "run-1", "stream": True}
        for done in ([0, 4, 36, 68, 80], [0, 80]):  # two were embedded as outcomes, all the second time
            reply = await running.http.post("/v1/value/predict", json=asked)
            assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
            *told, answer, end = events(reply)
            assert end == "[DONE]"
            assert progress_of(told) == done
        whole = (await running.http.post("/v1/value/predict", json={**asked, "stream": False})).json()
    await scorer.aclose()
    answer = json.loads(answer)
    assert set(answer.pop("timings_ms")) == set(whole.pop("timings_ms"))
    assert answer == whole


async def test_a_context_of_ones_own_is_streamed_too(start):
    async with start() as running:
        reply = await predict(running, context=earned(1, 0, 0, 0), stream=True)
    *told, answer, end = events(reply)
    assert [json.loads(each)["done"] for each in told] == [0, 2]
    assert json.loads(answer)["values"] == [0.25, 0.25]
    assert end == "[DONE]"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"context": earned(1), "stream": "yes"}, 400, "stream"),
        ({"context": earned(2)}, 400, "context.0.reward"),
        ({"policy": "nobody"}, 404, "policy"),
    ],
)
async def test_what_is_refused_before_the_stream_keeps_its_status(start, body, status, param):
    async with start() as running:
        reply = await predict(running, **{"stream": True, **body})
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error"]["param"] == param


async def test_a_stream_beyond_the_queue_or_before_v0_is_told_when_to_come_back(start, monkeypatch):
    scorer = FakeScorer()
    async with start(scorer=scorer) as running:
        scorer.gate.clear()
        busy, waiting = await first_to_end(
            predict(running, context=earned(1), stream=True) for _ in range(10)
        )
        scorer.gate.set()
        assert {events(each)[-1] for each in await asyncio.gather(*waiting)} == {"[DONE]"}

        async def ready(self, patience_s):
            raise NotReady("the value model is still loading")

        monkeypatch.setattr(Loading, "ready", ready)
        loading = await predict(running, context=earned(1), stream=True)
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "too_busy")
    assert (loading.status_code, loading.json()["error"]["code"]) == (503, "not_ready")
    assert all(int(each.headers["retry-after"]) >= 1 for each in (busy, loading))


async def test_a_budgets_prediction_is_no_stream(start):
    async with start() as running:
        asked = {"prompts": ["a"], "context": [], "stream": True}
        reply = await running.http.post("/v1/schedule/budget", json={"predict": asked, "total": 8})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "predict.stream")


class BreakingModel(SlowModel):
    """Its third pass fails."""

    def embed(self, texts):
        if len(self.passes) == 2:
            self.passes.append(0)
            raise RuntimeError("prompt 7 is too much")
        return super().embed(texts)


async def test_what_fails_midway_is_an_event_and_what_was_done_is_not_lost(start, caplog):
    scorer = Scorer(BreakingModel())
    asked = {"prompts": MANY, "context": [], "stream": True}
    async with start(scorer=scorer) as running:
        with caplog.at_level(logging.ERROR, "router"):
            broken = await running.http.post("/v1/value/predict", json=asked)
        again = await running.http.post("/v1/value/predict", json=asked)
    await scorer.aclose()
    *told, last = events(broken)
    assert progress_of(told) == [0, 32, 64]
    last = json.loads(last)
    assert last["error"]["type"] == "server_error"
    assert broken.headers["x-request-id"] in last["error"]["message"]
    assert broken.headers["x-request-id"] in caplog.text
    assert "prompt 7" not in broken.text + caplog.text
    *told, _, end = events(again)
    assert progress_of(told) == [0, 64, 80]
    assert end == "[DONE]"


@asynccontextmanager
async def watching(http, **fields):
    """A stream that is left once its first event has come."""
    body = {"prompts": ["a"], "stream": True, **fields}
    async with asyncio.timeout(10), http.stream("POST", "/v1/value/predict", json=body) as reply:
        assert reply.status_code == 200
        lines = aiter(reply.aiter_lines())
        assert '"done":0' in await anext(lines)
        yield


async def test_a_client_that_leaves_a_stream_frees_its_place_at_once(serve):
    scorer = FakeScorer()
    scorer.gate.clear()  # all the while: nobody's work goes on

    async with serve(scorer=scorer) as (url, _), httpx.AsyncClient(base_url=url, timeout=30) as http:
        try:
            for turn in range(12):  # more than may wait; each only gets its turn when the one before has left
                async with watching(http, context=[{"prompt": f"left {turn}", "reward": 1}]):
                    pass
            async with watching(http, context=[{"prompt": "held", "reward": 1}]):
                body = {"prompts": ["b"], "context": [{"prompt": "c", "reward": 0.25}], "stream": True}
                for leave in (True, False):  # who waits leaves a place too
                    waiting = [
                        asyncio.create_task(http.post("/v1/value/predict", json=body)) for _ in range(8)
                    ]
                    await asyncio.sleep(0.5)
                    assert not any(each.done() for each in waiting)
                    if leave:
                        for each in waiting:
                            each.cancel()
                        await asyncio.wait(waiting)
                        await asyncio.sleep(0.5)
            await asyncio.sleep(0.5)
        finally:
            scorer.gate.set()
        replies = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert [json.loads(events(each)[-2])["values"] for each in replies] == [[0.25]] * 8
    assert set(scorer.read) == {"b", "c"}


async def tell(work, send):
    """`work` told to a client that stays; gives what the scope says of it."""
    scope = {"type": "http", "request_id": "req_1"}
    task = asyncio.create_task(Telling(work)(scope, asyncio.Event().wait, send))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    return scope, task


async def test_a_gateway_that_ends_tells_a_stream_so():
    sent = []

    async def work(tell):
        await tell({"done": 0})
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope, task = await tell(work, send)
    assert task.cancelled()
    assert (scope["status"], scope["error"]) == (503, "NotReady")
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == b'data: {"done":0}\n\n'
    assert json.loads(sent[2]["body"].removeprefix(b"data: "))["error"]["code"] == "not_ready"
    assert not sent[2]["more_body"]


async def test_a_server_that_says_that_the_client_left_ends_the_work():
    went_on = []

    async def work(tell):
        await tell({"done": 0})
        went_on.append(True)

    async def send(message):
        raise OSError

    scope, task = await tell(work, send)
    assert task.done()
    assert not task.cancelled()
    assert task.exception() is None
    assert scope["status"] == 499
    assert not went_on
