"""POST /v1/completions, through the whole gateway and through the official SDK."""

from __future__ import annotations

from dataclasses import replace

import openai
import orjson
import pytest

from fleet.fleet import Fleet
from fleet.model import Model, Prices
from fleet.replay import Replay
from router.app import create_app
from tests.router.fakes import Fails, FakeScorer, Says, model
from tests.router.running import events
from tests.router.serving import serving

TEXT = frozenset({"completions"})
FLEET = (model("strong", 10.0, abilities=TEXT), model("chatty", 0.1), model("weak", 1.0, abilities=TEXT))


def client_of(url):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=5)


async def ask(running, name="auto", **fields):
    return await running.http.post("/v1/completions", json={"model": name, "prompt": "Once", **fields})


async def test_the_sdk_completes_a_prompt_whole_and_streamed(serve):
    async with (
        serve({"weak": Says("upon a time")}, fleet=FLEET, beta=0.0) as (url, upstream),
        client_of(url) as sdk,
    ):
        raw = await sdk.completions.with_raw_response.create(model="auto", prompt="Once", seed=7)
        whole = raw.parse()
        stream = await sdk.completions.create(model="auto", prompt="Once", stream=True)
        words = [chunk.choices[0].text async for chunk in stream]
    assert (whole.object, whole.choices[0].text) == ("text_completion", "upon a time")
    assert whole.usage.prompt_tokens == 10
    assert raw.headers["x-router-model"] == "weak"
    assert "".join(words) == "upon a time "
    assert upstream.asked[0] == ("weak", {"model": "auto", "prompt": "Once", "seed": 7})


async def test_auto_is_routed_on_the_prompts_text_among_those_who_complete(start):
    async with start(fleet=FLEET, beta=0.0) as running:
        reply = await ask(running, prompt=["Once upon", "a time"])
        row = await running.decision(reply.headers["x-router-decision"])
    assert running.scorer.read == ["Once upon\na time"]
    assert (row.chosen, row.reason, row.cost_usd) == ("weak", "best_score", pytest.approx(15e-6))
    assert {c.model: c.excluded for c in row.candidates}["chatty"] == "lacks completions"
    assert row.prompt.embedding is not None


async def test_a_fleet_of_chat_models_says_why_auto_cannot_complete(start):
    async with start() as running:
        reply = await ask(running)
        named = await ask(running, "weak")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "no_candidate")
    assert "weak: lacks completions" in reply.json()["error"]["message"]
    assert named.json()["choices"][0]["text"] == "four"


async def test_a_completion_falls_back_and_a_cut_stream_ends_in_an_error(start):
    script = {"weak": Fails(404), "strong": Says("one two three", breaks_off=True, after=2)}
    async with start(script, fleet=FLEET, beta=0.0) as running:
        reply = await ask(running, stream=True)
        row = await running.decision(reply.headers["x-router-decision"])
    *words, last = [orjson.loads(event) for event in events(reply)]
    assert [word["choices"][0]["text"] for word in words] == ["one ", "two "]
    assert last["error"]["message"]
    assert "[DONE]" not in reply.text
    assert (row.chosen, row.status) == ("strong", 502)


async def test_a_prompt_in_tokens_goes_to_a_named_model_only(start):
    async with start(fleet=FLEET) as running:
        auto = await ask(running, prompt=[1, 2, 3])
        named = await ask(running, "weak", prompt=[[1, 2], [3]])
    assert (auto.status_code, auto.json()["error"]["param"]) == (400, "prompt")
    assert named.status_code == 200
    assert running.upstream.asked[0][1]["prompt"] == [[1, 2], [3]]


async def test_a_stream_of_several_prompts_without_done_is_a_cut(start):
    async with start({"weak": Says("one", done=False)}, fleet=FLEET) as running:
        several = await ask(running, "weak", prompt=["a", "b"], stream=True)
        one = await ask(running, "weak", prompt=["a"], stream=True)
    assert "[DONE]" not in several.text
    assert events(one)[-1] == "[DONE]"


@pytest.mark.parametrize("prompt", [None, 3, [], {}, [None], ["a", None], [[]], [True], [1, "a"]])
async def test_a_prompt_that_cannot_be_one_is_refused(start, prompt):
    async with start(fleet=FLEET) as running:
        reply = await ask(running, prompt=prompt)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")


async def test_the_simulated_fleet_completes(settings):
    sage = Model("sage", "replay/sage", Prices(5, 20), abilities=TEXT)
    app = create_app(
        replace(settings, fleet=(sage,)),
        scorer=FakeScorer(),
        fleet=Fleet((sage,), {"replay": Replay(pace=0)}),
    )
    async with serving(app) as url, client_of(url) as sdk:
        whole = await sdk.completions.create(model="auto", prompt="What is 17 + 25?")
        stream = await sdk.completions.create(model="sage", prompt="What is 17 + 25?", stream=True)
        words = [chunk.choices[0].text async for chunk in stream]
    assert "42" in whole.choices[0].text
    assert "".join(words) == whole.choices[0].text
