from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from fleet.model import Model, Prices, Timeouts
from fleet.providers.openai_compatible import OpenAiCompatible
from fleet.providers.proxies import Proxy, proxy_of

NAMES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    proxy_of.cache_clear()
    yield monkeypatch
    proxy_of.cache_clear()


def test_without_a_proxy_in_the_environment_there_is_none():
    assert proxy_of("https://api.example.com/v1") == Proxy()


def test_a_proxy_counts_for_its_scheme_and_its_password_is_taken_out_of_the_address(environment):
    environment.setenv("HTTPS_PROXY", "http://me:se%40cret@proxy.example:3128")
    url, auth = proxy_of("https://api.example.com/v1")
    assert str(url) == "http://proxy.example:3128"
    assert (auth.login, auth.password) == ("me", "se@cret")
    assert proxy_of("http://127.0.0.1:8100/v1") == Proxy()


def test_addresses_that_are_excepted_are_reached_without_it(environment):
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", "internal.example")
    assert proxy_of("https://llm.internal.example/v1").url is None
    assert proxy_of("https://api.example.com/v1").url is not None


def test_a_proxy_that_cannot_be_used_is_told_of(environment, caplog):
    environment.setenv("HTTPS_PROXY", "https://proxy.example:3128")
    assert proxy_of("https://api.example.com/v1") == Proxy()
    assert "not supported" in caplog.text


@asynccontextmanager
async def a_proxy(seen):
    """Answers any request itself, and keeps its head."""

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_call_goes_through_the_proxy_with_our_own_key_and_whatever_netrc_says(environment, tmp_path):
    (tmp_path / "netrc").write_text("machine upstream.invalid login someone password else\n")
    environment.setenv("NETRC", str(tmp_path / "netrc"))
    environment.setenv("THE_KEY", "sk-ours")
    seen = []
    async with a_proxy(seen) as port:
        environment.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{port}")
        model = Model(
            "far",
            "custom_openai/far",
            prices=Prices(0, 0),
            api_base="http://upstream.invalid/v1",
            api_key_env="THE_KEY",
        )
        upstream = OpenAiCompatible(Timeouts())
        reply = await upstream.chat(model, {"messages": []})
        assert b"".join([chunk async for chunk in reply.content]) == b"{}"
        await reply.aclose()
        await upstream.aclose()
    head = seen[0].decode().lower()
    assert head.startswith("post http://upstream.invalid/v1/chat/completions ")
    assert "proxy-authorization: basic bwu6c2vjcmv0" in head
    assert "\r\nauthorization: bearer sk-ours\r\n" in head
