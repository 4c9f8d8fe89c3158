from __future__ import annotations

import asyncio
import gzip
import socket

import orjson
import pytest

from fleet.errors import UpstreamError
from fleet.model import Model, Prices, Timeouts
from fleet.providers.openai_compatible import OpenAiCompatible, request_body
from fleet.upstream import request_id
from tests.contracts.upstream import QUESTION, UpstreamContract, read, read_to_break
from tests.fleet.serving import Provider, serve

FREE = Prices(0, 0)
KEY = "sk-test-0123456789"


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
async def address(provider):
    async with serve(provider) as address:
        yield address


@pytest.fixture
async def upstream():
    upstream = OpenAiCompatible(Timeouts(connect=2, read=5))
    yield upstream
    await upstream.aclose()


@pytest.fixture
def model_at(address, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    return lambda name: Model(name, f"hosted_vllm/{name}", FREE, f"{address}/v1", "TEST_API_KEY")


class TestOpenAiCompatible(UpstreamContract):
    @pytest.fixture
    def model(self, model_at):
        return model_at("org/good")

    @pytest.fixture
    def missing(self, model_at):
        return model_at("missing")


async def test_takes_the_id_of_the_request_along(upstream, provider, model_at):
    await read(await upstream.chat(model_at("org/good"), QUESTION))
    request_id.set("req_1")
    await read(await upstream.chat(model_at("org/good"), QUESTION))
    assert [sent.get("x-request-id") for sent in provider.headers] == [None, "req_1"]


async def test_sends_the_providers_name_the_key_and_every_unknown_field(upstream, provider, model_at):
    body = {**QUESTION, "temperature": 0.5, "some_new_field": {"deep": [1, None]}}
    await read(await upstream.chat(model_at("org/good"), body))
    assert provider.bodies == [{**body, "model": "org/good"}]
    assert provider.paths == ["/v1/chat/completions"]
    assert provider.headers[0]["authorization"] == f"Bearer {KEY}"
    assert provider.headers[0]["accept-encoding"] == "identity"
    assert provider.headers[0]["content-type"] == "application/json"


async def test_a_model_without_a_key_sends_no_authorization(upstream, provider, address):
    await read(await upstream.chat(Model("local", "ollama/llama", FREE, address), QUESTION))
    assert "authorization" not in provider.headers[0]
    assert provider.paths == ["/v1/chat/completions"]


class Counted:
    """An app that knows from how many connections it was asked."""

    def __init__(self, app):
        self.app, self.ports = app, set()

    async def __call__(self, scope, receive, send):
        self.ports.add(scope["client"][1])
        await self.app(scope, receive, send)


async def test_connections_are_reused(upstream, provider):
    counted = Counted(provider)
    async with serve(counted) as address:
        for _ in range(3):
            await read(await upstream.chat(Model("m", "hosted_vllm/good", FREE, f"{address}/v1"), QUESTION))
    assert len(counted.ports) == 1


def pieces(*content, headers=None):
    """An app that sends these bytes, one after another."""

    async def app(scope, receive, send):
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        for piece in content:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b""})

    return app


async def ask(upstream, app):
    async with serve(app) as address:
        reply = await upstream.chat(Model("m", "openai/m", FREE, address), QUESTION)
        chunks = [chunk async for chunk in reply.content]
        await reply.aclose()
    return reply, chunks


async def test_bytes_pass_unchanged_and_before_the_reply_is_complete(upstream):
    sent = [b'{"a":  1', b",\n", "é".encode(), b"\xff}"]
    _, chunks = await ask(upstream, pieces(*sent))
    assert b"".join(chunks) == b"".join(sent)
    assert len(chunks) > 1


async def test_a_reply_compressed_unasked_is_decoded(upstream):
    content = gzip.compress(b'{"a": 1}')
    headers = {"content-encoding": "gzip", "content-length": str(len(content)), "x-other": "kept"}
    reply, chunks = await ask(upstream, pieces(content, headers=headers))
    assert b"".join(chunks) == b'{"a": 1}'
    assert reply.headers["x-other"] == "kept"
    assert not {"content-encoding", "content-length"} & set(reply.headers)


async def test_cookies_are_not_carried_from_one_caller_to_the_next(upstream, provider):
    async def app(scope, receive, send):
        async def with_cookie(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"set-cookie", b"a=1; Path=/")]
            await send(message)

        await provider(scope, receive, with_cookie)

    async with serve(app) as address:
        for _ in range(2):
            await read(await upstream.chat(Model("m", "hosted_vllm/good", FREE, f"{address}/v1"), QUESTION))
    assert not any("cookie" in headers for headers in provider.headers)


async def test_closing_a_reply_makes_the_provider_stop(upstream, provider, model_at):
    reply = await upstream.chat(model_at("endless"), {**QUESTION, "stream": True})
    content = aiter(reply.content)
    await anext(content)
    assert not provider.left.is_set()
    await reply.aclose()
    await asyncio.wait_for(provider.left.wait(), 2)


async def test_cancelling_the_reader_and_closing_makes_the_provider_stop(upstream, provider, model_at):
    reply = await upstream.chat(model_at("endless"), {**QUESTION, "stream": True})

    async def follow():
        try:
            async for _ in reply.content:
                pass
        finally:
            await reply.aclose()

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    await asyncio.wait_for(provider.left.wait(), 2)


async def test_a_stream_that_breaks_off_raises_after_what_came(upstream, model_at):
    reply = await upstream.chat(model_at("cut"), {**QUESTION, "stream": True})
    received, error = await read_to_break(reply)
    assert error.cause == "cut"
    assert b"Forty" in received


async def test_a_refusal_keeps_status_headers_and_body(upstream, model_at):
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("busy"), QUESTION)
    error = caught.value
    assert (error.status, error.cause, error.retryable) == (429, "status", True)
    assert error.headers["retry-after"] == "7"
    assert error.retry_after == 6.5
    assert orjson.loads(error.body) == {"error": {"message": "slow"}}
    assert str(error) == "busy answered 429"


async def test_a_refusal_is_capped_and_never_quotes_the_key(upstream, model_at):
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("verbose"), QUESTION)
    assert caught.value.body.startswith(b"Bearer [redacted]xxx")
    assert len(caught.value.body) == 64 * 1024


async def test_a_redirect_is_an_error_and_is_not_followed(upstream, model_at):
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("moved"), QUESTION)
    assert caught.value.status == 307
    assert caught.value.retryable


async def test_a_refusal_gives_its_connection_back(upstream, provider):
    counted = Counted(provider)
    async with serve(counted) as address:
        for name in ("busy", "missing", "busy"):
            with pytest.raises(UpstreamError):
                await upstream.chat(Model("m", f"hosted_vllm/{name}", FREE, f"{address}/v1"), QUESTION)
    assert len(counted.ports) == 1


async def test_nobody_listening_is_a_connect_error(upstream):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UpstreamError) as caught:
            await upstream.chat(Model("gone", "openai/gone", FREE, address), QUESTION)
    assert (caught.value.status, caught.value.cause, caught.value.retryable) == (None, "connect", True)


async def test_silence_is_a_timeout():
    async def silent(scope, receive, send):
        await asyncio.sleep(1)

    async with serve(silent) as address:
        upstream = OpenAiCompatible(Timeouts(connect=1, read=0.05))
        with pytest.raises(UpstreamError) as caught:
            await upstream.chat(Model("slow", "openai/slow", FREE, address), QUESTION)
        await upstream.aclose()
    assert (caught.value.status, caught.value.cause) == (None, "timeout")


@pytest.mark.parametrize("key", ["", "  ", "sk-\u00e9t\u00e9", "sk-secret\nmore"])
async def test_a_key_that_cannot_be_sent_is_an_error_that_does_not_show_it(
    upstream, model_at, monkeypatch, key
):
    monkeypatch.setenv("TEST_API_KEY", key)
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(model_at("good"), QUESTION)
    assert caught.value.cause == "key"
    assert str(caught.value) == "good has no usable API key"


async def test_the_key_is_read_at_each_call(upstream, provider, model_at, monkeypatch):
    model = model_at("good")
    for key in ("first", " second\n"):
        monkeypatch.setenv("TEST_API_KEY", key)
        await read(await upstream.chat(model, QUESTION))
    assert [headers["authorization"] for headers in provider.headers] == ["Bearer first", "Bearer second"]


async def test_neither_the_model_nor_the_upstream_shows_the_key(upstream, model_at):
    model = model_at("good")
    reply = await upstream.chat(model, QUESTION)
    shown = f"{model!r} {upstream!r} {reply!r}"
    await reply.aclose()
    assert KEY not in shown


def test_a_stream_asks_for_usage_and_keeps_its_other_options():
    body = {"stream": True, "stream_options": {"include_obfuscation": False}}
    sent = request_body(Model("m", "openai/gpt-4o", FREE), body)
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert sent["model"] == "gpt-4o"


def test_a_plain_request_has_no_stream_options():
    assert "stream_options" not in request_body(Model("m", "openai/gpt-4o", FREE), {"stream": False})


def test_a_provider_that_refuses_stream_options_is_not_sent_them():
    body = {"stream": True, "stream_options": {"include_usage": True}}
    assert "stream_options" not in request_body(Model("m", "mistral/small", FREE), body)


@pytest.mark.parametrize(
    ("target", "api_base", "body", "sent"),
    [
        ("openai/m", None, {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("openai/m", None, {"max_tokens": 5, "max_completion_tokens": 6}, {"max_completion_tokens": 6}),
        ("openai/m", "http://h/v1", {"max_tokens": 5}, {"max_tokens": 5}),
        ("groq/m", None, {"max_tokens": 5}, {"max_tokens": 5}),
    ],
)
def test_openai_itself_is_told_the_limit_under_its_newer_name(target, api_base, body, sent):
    request = request_body(Model("m", target, FREE, api_base), {"messages": [], **body})
    assert request == {"model": "m", "messages": [], **sent}
