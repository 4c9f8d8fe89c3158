"""POST /v1/messages, through the official SDK and the whole gateway."""

from __future__ import annotations

from dataclasses import replace

import anthropic
import pytest

from router.store.keys import add_key
from tests.router.fakes import Fails, Says, model

ASK = [{"role": "user", "content": "two and two?"}]
LOOK = {"name": "look", "description": "looks", "input_schema": {"type": "object", "properties": {}}}
CALLS = [
    {"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "look", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
]
FLEET = (model("strong", 10.0, abilities=frozenset({"tools"})), model("weak", 1.0))


def client_of(url):
    return anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=5)


async def post(running, headers=None, **fields):
    body = {"model": "auto", "max_tokens": 9, "messages": ASK, **fields}
    return await running.http.post("/v1/messages", json=body, headers=headers)


async def test_the_sdk_is_routed_whole_and_streamed(serve):
    async with serve({"weak": Says("it is four")}, beta=0.0) as (url, upstream), client_of(url) as sdk:
        raw = await sdk.messages.with_raw_response.create(
            model="auto", max_tokens=9, messages=ASK, system="Be brief."
        )
        whole = await raw.parse()
        async with sdk.messages.stream(model="auto", max_tokens=9, messages=ASK) as stream:
            words = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
    assert (whole.content[0].text, whole.stop_reason, whole.model) == ("it is four", "end_turn", "weak")
    assert raw.headers["x-router-model"] == "weak"
    assert whole._request_id == raw.headers["x-request-id"]
    assert words == ["it ", "is ", "four "]
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 10, 5)
    assert [message["role"] for message in upstream.asked[0][1]["messages"]] == ["system", "user"]


async def test_a_tool_is_called_through_a_stream_by_a_model_that_can(serve):
    script = {"strong": Says(deltas=CALLS, reason="tool_calls")}
    async with serve(script, fleet=FLEET, beta=0.0) as (url, _), client_of(url) as sdk:
        async with sdk.messages.stream(model="auto", max_tokens=9, messages=ASK, tools=[LOOK]) as stream:
            final = await stream.get_final_message()
        turns = [*ASK, {"role": "assistant", "content": final.content}]
        turns += [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"}]}
        ]
        again = await sdk.messages.create(model="strong", max_tokens=9, messages=turns, tools=[LOOK])
    assert (final.stop_reason, final.content[0].input, final.model) == ("tool_use", {"at": 1}, "strong")
    assert again.content[0].text == "four"


async def test_feedback_names_a_message_by_its_id_and_its_cost_is_recorded(start):
    async with start() as running:
        reply = await post(running, model="weak")
        scored = await running.feedback(completion_id=reply.json()["id"], score=1)
        row = await running.decision(reply.headers["x-router-decision"])
    assert scored.status_code == 200
    assert (row.chosen, row.cost_usd, row.status) == ("weak", pytest.approx(15e-6), 200)


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"container": "c"}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"model": "gpt-9"}, 404, "not_found_error"),
        ({"model": "strong"}, 429, "rate_limit_error"),
        ({"model": "middle"}, 500, "api_error"),
    ],
)
async def test_errors_come_in_anthropics_envelope(start, fields, status, kind):
    script = {"strong": Fails(429, headers={"retry-after": "7"}), "middle": Fails(500, b"<html>")}
    async with start(script) as running:
        reply = await post(running, **fields)
    body = reply.json()
    assert (reply.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["error"]["message"]
    assert body["request_id"] == reply.headers["x-request-id"]


async def test_the_sdk_sees_refusals_as_its_own_errors(serve):
    async with serve({"weak": Fails(429)}) as (url, _), client_of(url) as sdk:
        with pytest.raises(anthropic.RateLimitError):
            await sdk.messages.create(model="weak", max_tokens=9, messages=ASK)
        with pytest.raises(anthropic.NotFoundError):
            await sdk.messages.create(model="none", max_tokens=9, messages=ASK)


async def test_a_stream_that_breaks_off_raises_in_the_sdk_and_is_recorded(start, serve):
    script = {"weak": Says("one two three", breaks_off=True, after=2)}
    words = []
    async with serve(script) as (url, _), client_of(url) as sdk:
        with pytest.raises(anthropic.APIStatusError):
            async with sdk.messages.stream(model="weak", max_tokens=9, messages=ASK) as stream:
                words += [text async for text in stream.text_stream]
    async with start(script) as running:
        reply = await post(running, model="weak", stream=True)
        row = await running.decision(reply.headers["x-router-decision"])
    assert reply.text.rstrip().splitlines()[-2] == "event: error"
    assert "message_stop" not in reply.text
    assert row.status == 502


async def test_a_reply_that_is_no_completion_is_an_upstreams_failure(start):
    message = {"content": None, "tool_calls": [{"id": "t", "function": {"name": "a", "arguments": "{"}}]}
    async with start({"weak": Says(message=message)}) as running:
        reply = await post(running, model="weak")
        row = await running.decision(reply.headers["x-router-decision"])
    assert (reply.status_code, reply.json()["error"]["type"], row.status) == (502, "api_error", 502)


async def test_a_key_may_come_the_way_anthropics_sdk_sends_it(start, settings):
    async with start(server=replace(settings.server, require_key=True)) as running:
        _, secret = add_key(running.app.state.services.engine, "me")
        right = await post(running, headers={"x-api-key": secret})
        wrong = await post(running, headers={"x-api-key": "sk-v0-wrong"})
    assert right.status_code == 200
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (401, "authentication_error")


async def test_tokens_are_estimated_without_asking_anybody(serve):
    async with serve() as (url, upstream), client_of(url) as sdk:
        counted = await sdk.messages.count_tokens(model="auto", messages=ASK)
    assert counted.input_tokens == 3
    assert not upstream.asked
