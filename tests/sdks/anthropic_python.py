"""The official anthropic SDK for Python, before models that speak OpenAI's chat."""

from __future__ import annotations

import time

import anthropic
from pydantic import BaseModel

from tests.sdks.harness import PIXEL, WEATHER, Program, main, raises

anthropic_python = Program(
    "anthropic (Python)",
    absent={"embeddings": "not in this SDK", "responses": "another protocol"},
)
cell = anthropic_python.cell

ASK = [{"role": "user", "content": "two and two?"}]
BOTH = [{"role": "user", "content": "the weather in both"}]
TOOL = {"name": "weather", "description": "tells the weather", "input_schema": WEATHER}


class Answer(BaseModel):
    """What a schema asks for."""

    value: int


def sdk(place, key=None, retries=0):
    return anthropic.Anthropic(base_url=place.url, api_key=key or place.key, max_retries=retries, timeout=30)


def ask(client, **fields):
    return client.messages.create(**{"model": "able", "max_tokens": 50, "messages": ASK, **fields})


@cell("chat")
def chat(place):
    reply = ask(sdk(place), system="be brief", stop_sequences=["end"], metadata={"user_id": "me"})
    assert (reply.content[0].text, reply.stop_reason) == ("it is four", "end_turn")
    assert (reply.usage.input_tokens, reply.usage.cache_read_input_tokens) == (8, 2)
    sent = place.seen("able")["body"]
    assert (sent["messages"][0]["role"], sent["stop"], sent["user"]) == ("system", ["end"], "me")


@cell("auto")
def auto(place):
    raw = sdk(place).messages.with_raw_response.create(model="auto", max_tokens=50, messages=ASK)
    assert raw.headers["x-router-model"] == "able"
    assert float(raw.headers["x-router-cost-usd"]) > 0
    assert raw.parse()._request_id


@cell("stream")
def stream(place):
    with sdk(place).messages.stream(model="able", max_tokens=50, messages=ASK) as stream:
        assert "".join(stream.text_stream) == "it is four"
        assert stream.get_final_message().stop_reason == "end_turn"
    kinds = [event.type for event in ask(sdk(place), stream=True)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


@cell("stream usage")
def stream_usage(place):
    with sdk(place).messages.stream(model="able", max_tokens=50, messages=ASK) as stream:
        usage = stream.get_final_message().usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (8, 2, 5)


@cell("tools")
def tools(place):
    reply = ask(sdk(place), model="auto", tools=[TOOL])
    [call] = reply.content
    assert (call.name, call.input, reply.stop_reason) == ("weather", {"city": "Paris"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sun"}
    turns = [*ASK, {"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
    assert ask(sdk(place), model="auto", messages=turns, tools=[TOOL]).content[0].text == "the tools said sun"
    forced = ask(sdk(place), tools=[TOOL], tool_choice={"type": "tool", "name": "weather"})
    assert forced.content[0].name == "weather"


@cell("parallel tools")
def parallel(place):
    def inputs(**fields):
        return [block.input for block in ask(sdk(place), messages=BOTH, tools=[TOOL], **fields).content]

    assert inputs() == [{"city": "Paris"}, {"city": "Oslo"}]
    assert inputs(tool_choice={"type": "auto", "disable_parallel_tool_use": True}) == [{"city": "Paris"}]


@cell("tools in a stream")
def streamed_tools(place):
    with sdk(place).messages.stream(model="able", max_tokens=50, messages=BOTH, tools=[TOOL]) as stream:
        final = stream.get_final_message()
    assert [block.input for block in final.content] == [{"city": "Paris"}, {"city": "Oslo"}]
    assert final.stop_reason == "tool_use"


@cell("schema")
def schema(place):
    reply = sdk(place).messages.parse(model="auto", max_tokens=50, messages=ASK, output_format=Answer)
    assert reply.parsed_output == Answer(value=4)


@cell("vision")
def vision(place):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "what is this?"}]
    reply = ask(sdk(place), model="auto", messages=[{"role": "user", "content": parts}])
    assert reply.content[0].text == "data:image/png;base64 of 70 bytes"


@cell("models")
def models(place):
    names = [model.id for model in sdk(place).models.list()]
    assert names[:3] == ["auto", "auto-best", "able"]
    assert sdk(place).models.retrieve("able").id == "able"


@cell("messages")
def messages(place):
    assert sdk(place).messages.count_tokens(model="auto", messages=ASK).input_tokens == 3
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert ask(sdk(place), model="auto", max_tokens=2000, thinking=thinking).content[0].text == "it is four"
    assert place.seen("able")["body"]["reasoning_effort"] == "low"
    raises(anthropic.BadRequestError, lambda: ask(sdk(place), extra_body={"container": "c"}))


@cell("400")
def refused(place):
    error = raises(anthropic.BadRequestError, lambda: ask(sdk(place), model="refuses"), status_code=400)
    assert error.body["error"] == {"type": "invalid_request_error", "message": "temperature is too high"}
    assert error.request_id
    raises(anthropic.BadRequestError, lambda: ask(sdk(place), messages=[]))


@cell("401")
def unknown_key(place):
    raises(anthropic.AuthenticationError, lambda: ask(sdk(place, "sk-v0-wrong")))


@cell("404")
def unknown_model(place):
    raises(anthropic.NotFoundError, lambda: ask(sdk(place), model="none"))


@cell("429")
def limits(place):
    client = sdk(place, place.narrow)
    ask(client)
    error = raises(anthropic.RateLimitError, lambda: ask(client))
    assert 0 < int(error.response.headers["retry-after"]) <= 60
    assert error.body["error"]["type"] == "rate_limit_error"


@cell("repeats")
def repeats(place):
    before, began = place.seen("limited")["calls"], time.monotonic()
    assert ask(sdk(place, retries=2), model="limited").content[0].text == "it is four"
    assert place.seen("limited")["calls"] - before == 2
    assert time.monotonic() - began >= 1


@cell("cut")
def cut(place):
    words = []

    def collect():
        with sdk(place).messages.stream(model="cut", max_tokens=50, messages=ASK) as stream:
            words.extend(stream.text_stream)

    raises(anthropic.APIError, collect)
    assert words == ["it", " is"]


@cell("abort")
def abort(place):
    before = place.seen("slow")["left"]
    with sdk(place).messages.stream(model="slow", max_tokens=50, messages=ASK) as stream:
        next(iter(stream.text_stream))
    place.left(before)
    impatient = sdk(place).with_options(timeout=0.5)
    raises(anthropic.APITimeoutError, lambda: ask(impatient, model="slow"))
    place.left(before + 1)


if __name__ == "__main__":
    main(anthropic_python)
