"""A gateway in this process: a fake value model, scripted upstreams, the real store, HTTP without sockets."""

from __future__ import annotations

import asyncio
import time

from router.store import queries

ASK = [{"role": "user", "content": "two and two?"}]


class Running:
    """A running app with what a test wants to reach: `http`, the scripted upstream, the store."""

    def __init__(self, app, http, upstream, scorer):
        self.app, self.http, self.upstream, self.scorer = app, http, upstream, scorer
        self.gateway = app.state.services.gateway

    async def chat(self, name="auto", **fields):
        headers = fields.pop("headers", {})
        body = {"model": name, "messages": ASK, **fields}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def feedback(self, **fields):
        return await self.http.post("/v1/feedback", json=fields)

    async def teach(self, **scores):
        """Give models an outcome of a score each, the way a caller would, and wait until contexts know it."""
        for name, score in scores.items():
            reply = await self.chat(name)
            answer = await self.feedback(decision_id=reply.headers["x-router-decision"], score=score)
            assert answer.status_code == 200, answer.text
        await self.gateway.loading.now().contexts.refresh()

    async def decision(self, reference, patience_s=2.0):
        """The decision's row, once the writer has written it."""
        deadline = time.monotonic() + patience_s
        engine = self.app.state.services.engine
        while (row := await asyncio.to_thread(queries.decision, engine, reference)) is None:
            assert time.monotonic() < deadline, f"{reference} was never recorded"
            await asyncio.sleep(0.01)
        return row


def events(reply):
    """The data of a stream's events, [DONE] included."""
    blocks = reply.text.split("\n\n")
    return [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]
