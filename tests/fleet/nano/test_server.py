"""The server over real HTTP, asked by the official client."""

from __future__ import annotations

import asyncio
import math

import httpx
import openai
import pytest

from fleet.nano.engine import Engine
from fleet.nano.sampling import Sampling
from fleet.nano.server import create_app
from tests.fleet.nano import tiny
from tests.fleet.serving import serve

ASK = [{"role": "user", "content": "What is 4 + 7, Ada?"}]


@pytest.fixture(scope="module")
def engine():
    with Engine({"tiny": tiny.model(), "long": tiny.model("long", seed=3, window=4096)}) as engine:
        yield engine


@pytest.fixture
async def url(engine):
    async with serve(create_app(engine)) as url:
        yield url


@pytest.fixture
async def client(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def ask(client, **fields):
    return await client.chat.completions.create(
        **{"model": "tiny", "messages": ASK, "temperature": 0, "max_tokens": 12, **fields}
    )


async def test_a_reply_has_openais_form(client, engine):
    reply = await ask(client)
    chat = engine.models["tiny"].chat
    assert reply.object == "chat.completion"
    assert reply.model == "tiny"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage.prompt_tokens == len(chat.encode([("user", ASK[0]["content"])]))
    assert 1 <= reply.usage.completion_tokens <= 12
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_a_stream_brings_the_same_reply_token_by_token(client):
    whole = await ask(client)
    chunks = [chunk async for chunk in await ask(client, stream=True)]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 4
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [
        whole.choices[0].finish_reason
    ]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_stream_ends_with_usage_where_asked(client):
    whole = await ask(client)
    chunks = [chunk async for chunk in await ask(client, stream=True, stream_options={"include_usage": True})]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_several_choices_differ_and_a_seed_repeats_them(client):
    def texts(reply):
        return [choice.message.content for choice in reply.choices]

    several = await ask(client, n=3, temperature=1, seed=4)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len(set(texts(several))) == 3
    assert texts(await ask(client, n=3, temperature=1, seed=4)) == texts(several)
    assert texts(await ask(client, n=3, temperature=1, seed=5)) != texts(several)


async def test_a_seeds_reply_is_the_same_in_a_crowd(client):
    alone = await ask(client, temperature=1, seed=9, max_tokens=30)
    crowd = await asyncio.gather(
        *(ask(client, temperature=1, seed=seed, max_tokens=30) for seed in (1, 9, 2, 9, 3, 4))
    )
    assert [crowd[n].choices[0].message.content for n in (1, 3)] == [alone.choices[0].message.content] * 2


async def test_choices_stream_side_by_side(client):
    whole = await ask(client, n=2, temperature=1, seed=4)
    texts = ["", ""]
    async for chunk in await ask(client, n=2, temperature=1, seed=4, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


async def test_a_stop_string_is_not_part_of_the_reply(client):
    whole = (await ask(client, max_tokens=40)).choices[0].message.content
    stop = whole[6:8]
    stopped = await ask(client, max_tokens=40, stop=[stop, "never said"])
    assert stopped.choices[0].message.content == whole[: whole.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"


async def test_max_completion_tokens_goes_before_max_tokens(client):
    reply = await ask(client, max_tokens=20, max_completion_tokens=3)
    assert reply.usage.completion_tokens == 3
    assert reply.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_are_those_of_the_tokens_said(client, stream):
    reply = await ask(client, logprobs=True, top_logprobs=2, stream=stream)
    choices = [c async for chunk in reply for c in chunk.choices] if stream else reply.choices
    tokens = [token for choice in choices if choice.logprobs for token in choice.logprobs.content]
    whole = (await ask(client)).choices[0].message.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace") == whole
    assert all(len(token.top_logprobs) == 2 for token in tokens)
    assert all(token.logprob == token.top_logprobs[0].logprob <= 0 for token in tokens)
    assert all(sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1 + 1e-6 for token in tokens)


async def test_top_p_near_zero_is_greedy(client):
    narrow = await ask(client, temperature=1, top_p=1e-6)
    assert narrow.choices[0].message.content == (await ask(client)).choices[0].message.content


async def test_a_system_prompt_and_earlier_turns_are_read(client, engine):
    turns = [("system", "Be brief."), ("user", "2 + 2?"), ("assistant", "4"), ("user", "and 3 + 3?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    messages[-1]["content"] = [{"type": "text", "text": "and 3 + 3?"}]
    reply = await ask(client, messages=messages)
    assert reply.usage.prompt_tokens == len(engine.models["tiny"].chat.encode(turns))


async def test_models_are_listed(client):
    listed = await client.models.list()
    assert [model.id for model in listed.data] == ["tiny", "long"]
    assert (await client.models.retrieve("long")).id == "long"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("absent")


async def test_an_unknown_model_is_404(client):
    with pytest.raises(openai.NotFoundError) as refused:
        await ask(client, model="gpt-nano")
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


async def test_a_prompt_beyond_the_window_is_400(client):
    with pytest.raises(openai.BadRequestError, match=f"maximum context length is {tiny.WINDOW}") as refused:
        await ask(client, messages=[{"role": "user", "content": "7 " * 200}])
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "messages"


async def test_more_tokens_than_the_window_holds_are_cut_to_it(client):
    reply = await ask(client, max_tokens=100_000)
    assert reply.usage.total_tokens <= tiny.WINDOW


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, None),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"seed": "lucky"}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
    ],
)
async def test_a_field_that_cannot_be_honoured_is_400_and_named(url, fields, param):
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.post("/v1/chat/completions", json={"model": "tiny", "messages": ASK, **fields})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    if param:
        assert error["param"] == param
        assert param.split("[")[0] in error["message"]


async def test_fields_that_change_nothing_are_ignored(client):
    reply = await ask(client, user="somebody", store=False, presence_penalty=0, extra_body={"unheard_of": 1})
    assert reply.choices


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{no json", 400),
        ("POST", "/v1/chat/completions", b"[1]", 400),
        ("GET", "/v1/chat/completions", b"", 405),
        ("POST", "/v1/embeddings", b"{}", 404),
    ],
)
async def test_every_refusal_is_in_the_envelope(url, method, path, body, status):
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.request(method, path, content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def idle(engine, seconds=20.0):
    """Whether the model "long" has nothing to do any more, before so many seconds are over."""
    for _ in range(int(seconds / 0.02)):
        if engine.load_of("long") == (0, 0):
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.fixture
def endless(engine, monkeypatch):
    """The model "long" never ends of its own accord."""
    monkeypatch.setattr(engine._batchers["long"], "_end", -1)


@pytest.mark.usefixtures("endless")
async def test_a_client_that_leaves_a_stream_frees_its_row(client, engine):
    stream = await ask(client, model="long", stream=True, max_tokens=4000)
    async for chunk in stream:
        if chunk.choices[0].delta.content:  # the role comes before the model begins
            break
    assert engine.load_of("long") == (1, 0)
    await stream.close()
    assert await idle(engine, 5)


@pytest.mark.usefixtures("endless")
async def test_a_client_that_does_not_wait_frees_its_rows(client, engine):
    with pytest.raises(openai.APITimeoutError):
        await ask(client, model="long", n=3, max_tokens=4000, timeout=0.3)
    assert await idle(engine, 5)


async def test_a_broken_engine_is_503_and_503_is_in_the_envelope(client, engine, monkeypatch):
    monkeypatch.setattr(engine.models["tiny"].network, "prefill", lambda *_: 1 / 0)
    with pytest.raises(openai.InternalServerError) as refused:
        await ask(client)
    assert refused.value.status_code == 503
    assert refused.value.code == "engine_unavailable"
    with pytest.raises(openai.APIError):
        async for _ in await ask(client, stream=True):
            pass


async def test_the_loop_stays_free_while_models_generate(client):
    naps = []

    async def nap():
        while len(naps) < 20:
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(0.005)
            naps.append(asyncio.get_running_loop().time() - started)

    await asyncio.gather(nap(), *(ask(client, model="long", max_tokens=60) for _ in range(4)))
    assert sorted(naps)[len(naps) // 2] < 0.25


async def test_the_app_closes_its_engine_when_it_ends():
    engine = Engine({"tiny": tiny.model()})
    app = create_app(engine)
    async with app.router.lifespan_context(app):
        engine.load_of("tiny")
    with pytest.raises(RuntimeError):
        engine.submit("tiny", [5], 1, Sampling(), print)
