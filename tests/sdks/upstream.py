"""
A scripted provider with OpenAI's API, as a process of its own: what it does depends on the model that is asked.

    able      answers what the request calls for: tool calls, JSON of a schema, what it saw of a picture, else words
    refuses   400, naming a field
    limited   every other request 429 with `retry-after: 1`
    cut       a stream's first words, then it hangs up
    slow      never comes to an end; counts who left
    vectors   embeddings

`GET /seen` tells, for each model, how often it was asked, the last body, and how many clients left early.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import struct
import sys
from collections import defaultdict

import orjson
import uvicorn

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 2},
}
WORDS = "it is four"
CITIES = ("Paris", "Oslo")
VECTOR = [0.5, -0.25, 0.125]


class Provider:
    """The provider as an ASGI app."""

    def __init__(self) -> None:
        self.seen = defaultdict(lambda: {"calls": 0, "left": 0, "body": None})
        self._numbers = itertools.count(1)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        if scope["path"] == "/seen":
            await whole(send, 200, self.seen)
            return
        body = orjson.loads(await read(receive))
        name = body["model"]
        note = self.seen[name]
        note["calls"] += 1
        note["body"] = body
        if name == "refuses":
            await whole(send, 400, error("temperature is too high", "temperature", "invalid_value"))
        elif name == "limited" and note["calls"] % 2:
            headers = {"retry-after": "1"}
            await whole(send, 429, error("slow down", None, "rate_limit_exceeded"), headers)
        elif scope["path"].endswith("/embeddings"):
            await whole(send, 200, vectors(body))
        elif name == "slow":
            await self.slow(body, note, receive, send)
        elif body.get("stream"):
            await self.stream(body, send, scope["path"])
        else:
            await whole(send, 200, self.reply(body, scope["path"]))

    def reply(self, body, path):
        head = {"id": f"up-{next(self._numbers)}", "created": 1, "model": body["model"], "usage": USAGE}
        if path.endswith("/chat/completions"):
            message, reason = answer(body)
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            return {**head, "object": "chat.completion", "choices": [choice]}
        choice = {"index": 0, "text": WORDS, "finish_reason": "stop", "logprobs": None}
        return {**head, "object": "text_completion", "choices": [choice]}

    async def stream(self, body, send, path):
        chat = path.endswith("/chat/completions")
        kind = "chat.completion.chunk" if chat else "text_completion"
        head = {"id": f"up-{next(self._numbers)}", "object": kind, "created": 1, "model": body["model"]}
        await begin(send, 200, "text/event-stream")
        message, reason = answer(body) if chat else ({"content": WORDS}, "stop")
        for i, delta in enumerate(deltas(message) if chat else words(WORDS)):
            if body["model"] == "cut" and i == 3:
                return  # without an end: the server hangs up
            said = {"delta": delta} if chat else {"text": delta}
            await event(send, {**head, "choices": [{"index": 0, **said, "finish_reason": None}]})
        last = {"delta": {}} if chat else {"text": ""}
        await event(send, {**head, "choices": [{"index": 0, **last, "finish_reason": reason}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            await event(send, {**head, "choices": [], "usage": USAGE})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def slow(self, body, note, receive, send):
        async def leaving():
            while (await receive())["type"] != "http.disconnect":
                pass

        watch = asyncio.create_task(leaving())
        if body.get("stream"):
            await begin(send, 200, "text/event-stream")
            head = {"id": "up-slow", "object": "chat.completion.chunk", "created": 1, "model": "slow"}
            while not watch.done():
                delta = {"role": "assistant", "content": "word "}
                await event(send, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
                await asyncio.sleep(0.05)
        await watch
        note["left"] += 1


def answer(body):
    """The message that the request calls for, and why it ends."""
    messages, shape = body["messages"], body.get("response_format") or {}
    said = {"role": "assistant", "content": WORDS, "refusal": None}
    results = [message["content"] for message in messages[-2:] if message["role"] == "tool"]
    if results:
        said["content"] = "the tools said " + " and ".join(map(text_of, results))
    elif body.get("tools") and body.get("tool_choice") != "none":
        calls = [call(body, i, city) for i, city in enumerate(CITIES)]
        both = body.get("parallel_tool_calls") is not False and "both" in text_of(messages[-1]["content"])
        return said | {"content": None, "tool_calls": calls if both else calls[:1]}, "tool_calls"
    elif shape.get("type") == "json_schema":
        said["content"] = orjson.dumps(instance(shape["json_schema"]["schema"])).decode()
    elif shape.get("type") == "json_object":
        said["content"] = '{"value": 4}'
    elif isinstance(messages[-1]["content"], list):
        for part in messages[-1]["content"]:
            if part["type"] == "image_url":
                head, _, data = part["image_url"]["url"].partition(",")
                said["content"] = f"{head} of {len(base64.b64decode(data))} bytes"
    return said, "stop"


def call(body, i, city):
    """A call of the first tool, or of the one that was asked for."""
    wanted = body.get("tool_choice")
    name = body["tools"][0]["function"]["name"]
    if isinstance(wanted, dict):
        name = wanted["function"]["name"]
    shape = next(each["function"] for each in body["tools"] if each["function"]["name"] == name)
    arguments = instance(shape.get("parameters") or {}, city)
    return {
        "id": f"call_{i}",
        "type": "function",
        "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
    }


def instance(schema, word="four"):
    """Some value of a JSON schema."""
    match schema.get("type"):
        case "object":
            return {name: instance(each, word) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [instance(schema.get("items", {}), word)]
        case "integer" | "number":
            return 4
        case "boolean":
            return True
    return word


def deltas(message):
    """A message as a stream's deltas: a word at a time, arguments in two pieces."""
    yield {"role": "assistant", "content": "" if message["content"] else None}
    for word in words(message["content"] or ""):
        yield {"content": word}
    for i, each in enumerate(message.get("tool_calls", ())):
        function = each["function"]
        name = {"name": function["name"], "arguments": ""}
        yield {"tool_calls": [{"index": i, "id": each["id"], "type": "function", "function": name}]}
        half = len(function["arguments"]) // 2
        for piece in (function["arguments"][:half], function["arguments"][half:]):
            yield {"tool_calls": [{"index": i, "function": {"arguments": piece}}]}


def vectors(body):
    """A vector for each text, in base64 where the SDK asks for that."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    values = VECTOR[: body.get("dimensions") or len(VECTOR)]
    packed = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    vector = packed if body.get("encoding_format") == "base64" else values
    rows = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(texts))]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return {"object": "list", "data": rows, "model": body["model"], "usage": usage}


def text_of(content):
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def words(text):
    return [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))] if text else []


def error(message, param, code):
    kind = "invalid_request_error" if param else "rate_limit_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def read(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def begin(send, status, kind, headers=None):
    fields = {"content-type": kind, **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def whole(send, status, body, headers=None):
    await begin(send, status, "application/json", headers)
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


async def event(send, chunk):
    data = b"data: " + orjson.dumps(chunk) + b"\n\n"
    await send({"type": "http.response.body", "body": data, "more_body": True})


class Hangup(uvicorn.Server):
    """Says where it listens, on its first line."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    # kept alive for longer than the gateway keeps a connection: no race for its end on a slow machine
    config = uvicorn.Config(Provider(), port=0, log_level="critical", lifespan="off", timeout_keep_alive=75)
    with contextlib.suppress(KeyboardInterrupt):
        Hangup(config).run()
    sys.exit(0)
