"""The smallest gateway: passes chats on. `python pass_through.py PORT`, its upstream in ROUTER_BENCH_UPSTREAM."""

from __future__ import annotations

import os
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

client = httpx.AsyncClient(timeout=30)


async def chat(request):
    url = f"{os.environ['ROUTER_BENCH_UPSTREAM']}/chat/completions"
    if request.headers.get("authorization") != f"Bearer {os.environ['ROUTER_BENCH_KEY']}":
        return StreamingResponse(iter([b'{"error": {"message": "who are you?"}}']), 401)
    sent = client.build_request("POST", url, content=await request.body())
    reply = await client.send(sent, stream=True)
    return StreamingResponse(
        reply.aiter_raw(), reply.status_code, {"content-type": reply.headers["content-type"]}
    )


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
