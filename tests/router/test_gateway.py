"""Clients that leave, at every moment of a request: the upstream is let go, the decision is recorded."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from tests.router.fakes import Says
from tests.router.running import ASK


class Client:
    """An ASGI client that can leave, and whose server may complain when one writes to it then."""

    def __init__(self, app, body, send_raises=False):
        self._body = orjson.dumps(body)
        self._app = app
        self._send_raises = send_raises
        self._sent = False
        self.left = asyncio.Event()
        self.messages = []
        self.received = asyncio.Event()

    async def run(self):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "app": self._app,
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self):
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if self._send_raises and self.messages:
            raise OSError("the client has left")
        self.messages.append(message)
        self.received.set()

    @property
    def decision(self):
        headers = dict(self.messages[0]["headers"])
        return headers[b"x-router-decision"].decode()


async def leave(client, task):
    left_at = time.perf_counter()
    client.left.set()
    await asyncio.wait_for(task, 1)
    return left_at


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_the_first_byte_cancels_the_upstream_at_once(start, stream):
    async with start({"weak": Says(headers_after_s=30)}, beta=0.0) as running:
        client = Client(running.app, {"model": "auto", "messages": ASK, "stream": stream})
        task = asyncio.create_task(client.run())
        await running.upstream.thinking.wait()
        [decision] = running.gateway.ledger._open
        left_at = await leave(client, task)
        row = await running.decision(decision)
    assert running.upstream.closed_at["weak"] - left_at < 1
    assert [name for name, _ in running.upstream.asked] == ["weak"]
    assert (row.status, row.chosen, row.cost_usd, row.completion_id) == (499, "weak", None, None)
    assert client.messages == []


async def test_a_client_that_leaves_while_a_plain_reply_is_read_closes_the_upstream(start):
    async with start({"weak": Says(stalls=True)}, beta=0.0) as running:
        client = Client(running.app, {"model": "auto", "messages": ASK})
        task = asyncio.create_task(client.run())
        await running.upstream.thinking.wait()
        await asyncio.sleep(0.02)
        [decision] = running.gateway.ledger._open
        left_at = await leave(client, task)
        row = await running.decision(decision)
    assert running.upstream.closed_at["weak"] - left_at < 1
    assert row.status == 499


async def test_a_client_that_leaves_mid_stream_closes_the_upstream_and_is_recorded(start):
    async with start({"weak": Says("one two three", stalls=True, after=2)}) as running:
        client = Client(
            running.app, {"model": "auto", "messages": ASK, "stream": True, "router": {"beta": 0}}
        )
        task = asyncio.create_task(client.run())
        while sum(b"content" in m.get("body", b"") for m in client.messages) < 2:
            client.received.clear()
            await asyncio.wait_for(client.received.wait(), 1)
        left_at = await leave(client, task)
        row = await running.decision(client.decision)
    assert running.upstream.closed_at["weak"] - left_at < 1
    assert (row.status, row.chosen, row.beta) == (499, "weak", 0.0)
    assert row.completion_id.startswith("chatcmpl-weak")
    assert row.output_tokens == 2
    assert row.cost_usd > 0


async def test_a_server_that_raises_on_writing_to_a_client_who_left_counts_as_leaving(start):
    async with start({"weak": Says("one two three")}) as running:
        body = {"model": "weak", "messages": ASK, "stream": True}
        client = Client(running.app, body, send_raises=True)
        await asyncio.wait_for(client.run(), 1)
        row = await running.decision(client.decision)
    assert row.status == 499
    assert "weak" in running.upstream.closed_at


async def test_a_client_that_leaves_while_we_decide_asks_nobody(start):
    async with start() as running:
        running.scorer.gate.clear()
        client = Client(running.app, {"model": "auto", "messages": ASK})
        task = asyncio.create_task(client.run())
        await asyncio.sleep(0.05)
        await leave(client, task)
        assert not running.upstream.asked
        assert not running.gateway.ledger._open


async def test_a_reply_that_was_sent_whole_is_recorded_as_such_even_if_the_client_leaves_at_once(start):
    async with start() as running:
        client = Client(running.app, {"model": "weak", "messages": ASK})
        send = client._send

        async def send_and_leave(message):
            await send(message)
            if message["type"] == "http.response.body":
                client.left.set()
                await asyncio.sleep(0.02)

        client._send = send_and_leave
        await client.run()
        row = await running.decision(client.decision)
    assert row.status == 200


async def test_decisions_under_way_are_written_before_the_gateway_ends(start, settings):
    from router.store import queries
    from router.store.engine import open_store

    async with start() as running:
        running.scorer.gate.clear()
        replies = [await running.chat("weak") for _ in range(3)]
        running.scorer.gate.set()
    engine = open_store(settings.store.url)
    rows = [queries.decision(engine, reply.headers["x-router-decision"]) for reply in replies]
    engine.dispose()
    assert [row.prompt.version for row in rows] == ["fake-1"] * 3
