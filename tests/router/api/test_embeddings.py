"""POST /v1/embeddings, through the whole gateway and through the official SDK."""

from __future__ import annotations

import openai
import pytest

from tests.router.fakes import Fails, Says, model

VECTORS = frozenset({"embeddings"})
FLEET = (model("small", 0.1, abilities=VECTORS), model("chatty", 1.0))
USAGE = {"prompt_tokens": 30, "total_tokens": 30}


async def ask(running, name="small", **fields):
    return await running.http.post("/v1/embeddings", json={"model": name, "input": "Once", **fields})


async def test_the_sdk_gets_vectors_of_a_named_model(serve):
    async with (
        serve({"small": Says(usage=USAGE)}, fleet=FLEET) as (url, upstream),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=5) as sdk,
    ):
        raw = await sdk.embeddings.with_raw_response.create(
            model="small", input=["a", "b"], dimensions=2, encoding_format="float"
        )
    assert raw.parse().data[0].embedding == [0.5, -0.5]
    assert raw.headers["x-router-model"] == "small"
    assert upstream.asked == [
        ("small", {"model": "small", "input": ["a", "b"], "dimensions": 2, "encoding_format": "float"})
    ]


async def test_its_cost_is_recorded_and_nothing_is_learnt_from_it(start):
    async with start({"small": Says(usage=USAGE)}, fleet=FLEET) as running:
        reply = await ask(running)
        row = await running.decision(reply.headers["x-router-decision"])
    assert (row.chosen, row.reason, row.status) == ("small", "pinned", 200)
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (30, 0, pytest.approx(3e-6))
    assert row.prompt.embedding is None
    assert running.scorer.read == []


async def test_auto_is_the_only_model_that_makes_them(start):
    async with start(fleet=FLEET) as running:
        reply = await ask(running, "auto")
    assert reply.headers["x-router-model"] == "small"


async def test_auto_is_refused_where_several_make_them_or_none(start):
    two = (*FLEET, model("large", 0.2, abilities=VECTORS))
    async with start(fleet=two) as running:
        several = await ask(running, "auto")
        narrowed = await ask(running, "auto", router={"models": ["large"]})
    async with start() as running:
        none = await ask(running, "auto")
    assert (several.status_code, several.json()["error"]["code"]) == (400, "model_required")
    assert "name one of small, large" in several.json()["error"]["message"]
    assert narrowed.headers["x-router-model"] == "large"
    assert (none.status_code, none.json()["error"]["param"]) == (400, "model")


async def test_a_model_that_makes_embeddings_is_never_chosen_to_chat(start):
    async with start(fleet=FLEET, beta=0.0) as running:
        reply = await running.chat()
        row = await running.decision(reply.headers["x-router-decision"])
    assert row.chosen == "chatty"
    assert row.candidates[-1].excluded == "makes embeddings only"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{}]}, "input"),
        ({"stream": True}, "stream"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(start, fields, param):
    async with start(fleet=FLEET) as running:
        reply = await ask(running, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert not running.upstream.asked


async def test_an_upstreams_refusal_is_passed_on(start):
    async with start({"small": Fails(429, headers={"retry-after": "3"})}, fleet=FLEET) as running:
        reply = await ask(running)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3")
