"""POST /v1/responses, through the official SDK and the whole gateway."""

from __future__ import annotations

import openai
import pytest
from pydantic import BaseModel

from tests.router.fakes import Says, model

CALLS = [
    {"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "look", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
]
LOOK = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
FLEET = (model("strong", 10.0, abilities=frozenset({"tools", "json"})), model("weak", 1.0))


def client_of(url):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=5)


async def test_the_sdk_is_routed_whole_and_streamed(serve):
    async with serve({"weak": Says("it is four")}, beta=0.0) as (url, upstream), client_of(url) as sdk:
        raw = await sdk.responses.with_raw_response.create(
            model="auto", input="2 + 2?", instructions="Be brief."
        )
        whole = raw.parse()
        async with sdk.responses.stream(model="auto", input="2 + 2?") as stream:
            words = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        plain = [
            event.type async for event in await sdk.responses.create(model="auto", input="a", stream=True)
        ]
    assert (whole.output_text, whole.status, whole.model) == ("it is four", "completed", "weak")
    assert raw.headers["x-router-model"] == "weak"
    assert words == ["it ", "is ", "four "]
    assert (final.output_text, final.usage.input_tokens, final.usage.output_tokens) == ("it is four ", 10, 5)
    assert (plain[0], plain[-1]) == ("response.created", "response.completed")
    assert [message["role"] for message in upstream.asked[0][1]["messages"]] == ["system", "user"]


async def test_a_tool_is_called_through_a_stream_by_a_model_that_can_and_answered(serve):
    script = {"strong": Says(deltas=CALLS, reason="tool_calls")}
    async with serve(script, fleet=FLEET, beta=0.0) as (url, upstream), client_of(url) as sdk:
        async with sdk.responses.stream(model="auto", input="look", tools=[LOOK]) as stream:
            final = await stream.get_final_response()
        [call] = final.output
        turns = [{"role": "user", "content": "look"}, call.model_dump(exclude={"parsed_arguments"})]
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "a cat"})
        again = await sdk.responses.create(model="strong", input=turns, tools=[LOOK])
    assert (call.name, call.arguments, final.model) == ("look", '{"at": 1}', "strong")
    assert again.output_text == "four"
    assert [message["role"] for message in upstream.asked[-1][1]["messages"]] == ["user", "assistant", "tool"]


async def test_a_schema_is_asked_of_a_model_that_keeps_to_one_and_parsed(serve):
    class Sum(BaseModel):
        value: int

    async with (
        serve({"strong": Says('{"value": 4}')}, fleet=FLEET, beta=0.0) as (url, _),
        client_of(url) as sdk,
    ):
        reply = await sdk.responses.parse(model="auto", input="2 + 2?", text_format=Sum)
    assert (reply.output_parsed, reply.model) == (Sum(value=4), "strong")


async def test_what_needs_a_stored_response_is_refused_with_the_reason(serve):
    async with serve() as (url, upstream), client_of(url) as sdk:
        with pytest.raises(openai.BadRequestError, match="keeps no responses") as caught:
            await sdk.responses.create(model="auto", input="and?", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    assert not upstream.asked


async def test_a_stream_that_breaks_off_ends_in_an_error_and_is_recorded(start, serve):
    script = {"weak": Says("one two three", breaks_off=True, after=2)}
    async with serve(script) as (url, _), client_of(url) as sdk:
        stream = await sdk.responses.create(model="weak", input="a", stream=True)
        kinds = [event.type async for event in stream]
    async with start(script) as running:
        body = {"model": "weak", "input": "a", "stream": True}
        reply = await running.http.post("/v1/responses", json=body)
        row = await running.decision(reply.headers["x-router-decision"])
    assert kinds[-2:] == ["error", "response.failed"]
    assert "response.completed" not in kinds
    assert row.status == 502


async def test_feedback_names_a_response_by_its_id(start):
    async with start() as running:
        reply = await running.http.post("/v1/responses", json={"model": "weak", "input": "a"})
        scored = await running.feedback(completion_id=reply.json()["id"], score=1)
        row = await running.decision(reply.headers["x-router-decision"])
    assert scored.status_code == 200
    assert (row.chosen, row.cost_usd) == ("weak", pytest.approx(15e-6))
