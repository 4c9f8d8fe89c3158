from __future__ import annotations

import asyncio
import sys
import time

import orjson
import pytest

from fleet.errors import UpstreamError
from fleet.model import Model, Prices, Timeouts
from fleet.providers.litellm import FIELDS, LiteLlm, request_fields
from tests.contracts.upstream import QUESTION, UpstreamContract, events, read, read_to_break
from tests.fleet.serving import answer, read_body, serve

PRICES = Prices(1, 5)
KEY = "sk-ant-test-0123456789"
STREAM = {**QUESTION, "stream": True}


class Anthropic:
    """A provider with Anthropic's API, by the model's name; like the real one it knows no "missing"."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.left = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        body = orjson.loads(await read_body(receive))
        self.bodies.append(body)
        self.headers.append(dict(scope["headers"]))
        refusals = {
            "missing": (404, {}, "not_found_error", "model: missing"),
            "busy": (429, {"retry-after": "7"}, "rate_limit_error", "slow down"),
            "narrow": (400, {}, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            "leaky": (401, {}, "authentication_error", f"invalid x-api-key: {KEY}"),
        }
        if body["model"] in refusals:
            status, headers, kind, message = refusals[body["model"]]
            error = {"type": "error", "error": {"type": kind, "message": message}}
            await answer(send, status, orjson.dumps(error), headers)
        elif body.get("stream"):
            await self._stream(body["model"], receive, send)
        else:
            usage = {"input_tokens": 9, "output_tokens": 4}
            message = {**self._message("Forty-two."), "stop_reason": "end_turn", "usage": usage}
            await answer(send, 200, orjson.dumps(message))

    def _message(self, text: str | None = None) -> dict:
        content = [{"type": "text", "text": text}] if text else []
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content}

    async def _stream(self, model, receive, send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def say(kind, **more) -> None:
            event = b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **more}))
            await send({"type": "http.response.body", "body": event, "more_body": True})

        usage = {"input_tokens": 4, "cache_read_input_tokens": 5, "output_tokens": 1}
        await say("message_start", message={**self._message(), "stop_reason": None, "usage": usage})
        await say("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in ("Forty", "-", "two", "."):
            await say("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
            await asyncio.sleep(0)
        if model == "cut":
            raise ConnectionError("the provider breaks off")
        if model == "endless":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        await say("content_block_stop", index=0)
        await say("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
        await say("message_stop")
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def provider():
    return Anthropic()


@pytest.fixture
async def address(provider):
    async with serve(provider) as address:
        yield address


@pytest.fixture
async def upstream():
    upstream = LiteLlm(Timeouts(read=5))
    yield upstream
    await upstream.aclose()


@pytest.fixture
def model_at(address, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    return lambda name: Model(name, f"anthropic/{name}", PRICES, address, "TEST_API_KEY")


class TestLiteLlm(UpstreamContract):
    @pytest.fixture
    def model(self, model_at):
        return model_at("claude-haiku-4-5")

    @pytest.fixture
    def missing(self, model_at):
        return model_at("missing")


async def test_the_importing_first_call_does_not_block_the_loop():
    """In a fresh process, litellm is imported in another thread than the loop's."""
    code = """
import asyncio, sys, threading
from fleet.model import Timeouts
from fleet.providers.litellm import LiteLlm

class Witness:
    thread = None
    def find_spec(self, name, path=None, target=None):
        if name == "litellm":
            self.thread = threading.current_thread()

witness = Witness()
sys.meta_path.insert(0, witness)
asyncio.run(LiteLlm(Timeouts())._ready())
assert "litellm" in sys.modules
print(witness.thread is not None and witness.thread is not threading.main_thread())
"""
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await run.communicate()
    assert out.split() == [b"True"]


async def test_the_key_goes_to_the_provider_and_litellms_settings_in_the_body_do_not_count(
    upstream, provider, model_at
):
    body = {
        **QUESTION,
        "max_tokens": 11,
        "api_base": "http://127.0.0.1:1",
        "base_url": "http://127.0.0.1:1",
        "api_key": "stolen",
        "extra_headers": {"x-evil": "1"},
        "mock_response": "mocked",
        "metadata": {"x": 1},
    }
    completion = orjson.loads(await read(await upstream.chat(model_at("claude-haiku-4-5"), body)))
    assert completion["choices"][0]["message"]["content"] == "Forty-two."
    assert provider.bodies[0]["max_tokens"] == 11
    assert provider.headers[0][b"x-api-key"] == KEY.encode()
    assert b"x-evil" not in provider.headers[0]


async def test_cached_tokens_of_a_stream_are_counted(upstream, model_at):
    stream = events(await read(await upstream.chat(model_at("claude-haiku-4-5"), STREAM)))
    usage = orjson.loads(stream[-2])["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (9, 4)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 5


async def test_a_refusal_keeps_its_status_and_retry_after(upstream, model_at):
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("busy"), STREAM)
    assert (caught.value.status, caught.value.retry_after, caught.value.retryable) == (429, 7.0, True)


async def test_a_prompt_that_is_too_long_has_openais_code(upstream, model_at):
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("narrow"), QUESTION)
    assert caught.value.status == 400
    assert orjson.loads(caught.value.body)["error"]["code"] == "context_length_exceeded"
    assert caught.value.retryable


async def test_a_refusal_never_quotes_the_key(upstream, model_at):
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("leaky"), QUESTION)
    assert caught.value.status == 401
    assert KEY.encode() not in caught.value.body
    assert caught.value.__cause__ is None


async def test_a_stream_that_breaks_off_raises_and_says_no_done(upstream, model_at):
    reply = await upstream.chat(model_at("cut"), STREAM)
    received, error = await read_to_break(reply)
    assert error.cause == "cut"
    assert b"Forty" in received
    assert b"[DONE]" not in received


async def test_closing_a_reply_makes_the_provider_stop(upstream, provider, model_at):
    reply = await upstream.chat(model_at("endless"), STREAM)
    await anext(aiter(reply.content))
    await reply.aclose()
    await asyncio.wait_for(provider.left.wait(), 2)


async def test_a_missing_key_is_an_error_before_litellm_is_needed(model_at, monkeypatch):
    model = model_at("claude-haiku-4-5")
    monkeypatch.delenv("TEST_API_KEY")
    before = time.perf_counter()
    with pytest.raises(UpstreamError) as caught:
        await LiteLlm(Timeouts()).chat(model, QUESTION)
    assert caught.value.cause == "key"
    assert time.perf_counter() - before < 0.2


async def test_a_timeout_has_no_status():
    class APITimeoutError(Exception):
        status_code = 408

    async def complete(**fields):
        raise APITimeoutError

    with pytest.raises(UpstreamError) as caught:
        await LiteLlm(Timeouts(), complete).chat(Model("m", "gemini/x", PRICES), QUESTION)
    assert (caught.value.status, caught.value.cause) == (None, "timeout")


def test_only_fields_of_the_request_go_through():
    body = dict.fromkeys(FIELDS, 1) | {
        "api_base": 1,
        "fallbacks": 1,
        "model_list": 1,
        "custom_llm_provider": 1,
    }
    assert set(request_fields(body)) == FIELDS


def test_a_stream_asks_for_usage():
    assert request_fields({"stream": True})["stream_options"] == {"include_usage": True}


async def test_embeddings_take_the_fields_of_the_request_and_nothing_else():
    asked = {}

    class Answer:
        def model_dump(self, **_):
            return {"object": "list", "data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3}}

    async def embed(**fields):
        asked.update(fields)
        return Answer()

    upstream = LiteLlm(Timeouts(), embed=embed)
    reply = await upstream.embed(
        Model("m", "cohere/x", PRICES), {"model": "m", "input": ["a"], "api_base": "http://elsewhere"}
    )
    assert orjson.loads(await read(reply))["data"] == [{"embedding": [0.5]}]
    assert (asked["model"], asked["input"], asked["api_base"]) == ("cohere/x", ["a"], None)


async def test_text_completions_are_refused_with_the_reason():
    with pytest.raises(UpstreamError) as caught:
        await LiteLlm(Timeouts()).complete(Model("m", "gemini/x", PRICES), {"prompt": "a"})
    assert caught.value.status == 400
    assert b"m does not offer text completions" in caught.value.body
