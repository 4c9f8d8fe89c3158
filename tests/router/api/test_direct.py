"""The short way to an endpoint, and the way through FastAPI: the same replies."""

from __future__ import annotations

import pytest

from router.store.errors import StoreUnavailable

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses")


@pytest.mark.parametrize("path", PATHS)
async def test_calls_of_models_pass_by_fastapis_router(start, path, monkeypatch):
    async with start() as running:
        routed = []
        there = running.app.router.app

        async def spied(scope, receive, send):
            routed.append(scope["method"])
            await there(scope, receive, send)

        monkeypatch.setattr(running.app.router, "middleware_stack", spied)
        asked = await running.http.post(path, content=b"{")
        read = await running.http.get(path)
    assert routed == ["GET"]
    assert (asked.status_code, read.status_code) == (400, 405)
    for reply in (asked, read):
        assert reply.json()["error"]["message"]
        assert reply.headers["x-request-id"]


async def test_a_store_that_is_away_is_told_of_on_the_short_way_too(start, monkeypatch):
    async def away(_secret):
        raise StoreUnavailable("OperationalError")

    async with start() as running:
        monkeypatch.setattr(running.app.state.services.book, "verify", away)
        reply = await running.chat(headers={"authorization": "Bearer sk-v0-x"})
        told = (await running.http.get("/metrics")).text
    assert reply.status_code == 503
    assert "store" in reply.json()["error"]["message"]
    assert 'requests_total{endpoint="/v1/chat/completions",model="",status="503"} 1.0' in told
