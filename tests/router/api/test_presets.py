"""Presets: names beside `auto`, on every endpoint."""

from __future__ import annotations

import anthropic
import openai
import pytest

from router.config import Preset
from tests.router.fakes import Says, model
from tests.router.running import ASK

PRESETS = {"auto-cheap": Preset(0.0), "auto-best": Preset(1.0, ("strong", "middle")), "plain": Preset()}
TEXT = frozenset({"completions"})
ABLE = tuple(
    model(name, price, abilities=TEXT) for name, price in (("strong", 10.0), ("middle", 4.0), ("weak", 1.0))
)


async def test_a_preset_brings_its_beta_and_its_models(start):
    async with start(presets=PRESETS, beta=0.5) as running:
        await running.teach(strong=0.5, middle=1, weak=1)
        best, cheap, plain = [await running.chat(name) for name in ("auto-best", "auto-cheap", "plain")]
        row = await running.decision(best.headers["x-router-decision"])
    assert (best.headers["x-router-model"], best.headers["x-router-beta"]) == ("middle", "1")
    assert (cheap.headers["x-router-model"], cheap.headers["x-router-beta"]) == ("weak", "0")
    assert plain.headers["x-router-beta"] == "0.5"
    assert {c.model: c.excluded for c in row.candidates}["weak"] == "is not among the models of auto-best"
    assert row.reason == "best_score"


async def test_a_caller_may_narrow_a_preset_and_not_widen_it(start):
    async with start(presets=PRESETS) as running:
        narrowed = await running.chat("auto-best", router={"beta": 0, "models": ["strong", "weak"]})
        nobody = await running.chat("auto-best", router={"models": ["weak"]})
    assert (narrowed.headers["x-router-model"], narrowed.headers["x-router-beta"]) == ("strong", "0")
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (400, "no_candidate")


async def test_presets_are_listed_beside_auto(start):
    async with start(presets=PRESETS) as running:
        listed = (await running.http.get("/v1/models")).json()["data"]
        one = (await running.http.get("/v1/models/auto-cheap")).json()
    assert [each["id"] for each in listed][:5] == ["auto", "auto-cheap", "auto-best", "plain", "strong"]
    assert (one["id"], one["owned_by"]) == ("auto-cheap", "router")


async def test_a_preset_is_explained(start):
    async with start(presets=PRESETS) as running:
        reply = await running.http.post("/v1/router/explain", json={"model": "auto-cheap", "messages": ASK})
    assert (reply.json()["chosen"], reply.json()["reason"], reply.json()["beta"]) == ("weak", "best_score", 0)


async def test_a_preset_is_a_models_name_to_every_sdk_and_endpoint(serve):
    async with (
        serve(presets=PRESETS, fleet=ABLE) as (url, _),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=5) as one,
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=5) as other,
    ):
        chat = await one.chat.completions.create(model="auto-cheap", messages=ASK)
        text = await one.completions.create(model="auto-cheap", prompt="Once")
        response = await one.responses.create(model="auto-cheap", input="Once")
        message = await other.messages.create(model="auto-cheap", max_tokens=9, messages=ASK)
    assert {chat.model, text.model, response.model, message.model} == {"weak"}


@pytest.mark.parametrize(("name", "status"), [("vectors", 200), ("auto", 400)])
async def test_a_preset_may_single_out_a_model_that_makes_embeddings(start, name, status):
    fleet = tuple(model(each, 1.0, abilities=frozenset({"embeddings"})) for each in ("small", "large"))
    script = {"small": Says(usage={"prompt_tokens": 3, "total_tokens": 3})}
    async with start(script, fleet=fleet, presets={"vectors": Preset(models=("small",))}) as running:
        reply = await running.http.post("/v1/embeddings", json={"model": name, "input": "Once"})
    assert reply.status_code == status
