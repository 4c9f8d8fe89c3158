"""The official openai SDK for Python."""

from __future__ import annotations

import time

import openai
from pydantic import BaseModel

from tests.sdks.harness import PIXEL, SAW, WEATHER, Program, main, raises

openai_python = Program("openai (Python)", absent={"messages": "another protocol"})
cell = openai_python.cell

ASK = [{"role": "user", "content": "two and two?"}]
BOTH = [{"role": "user", "content": "the weather in both"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}


class Answer(BaseModel):
    """What a schema asks for."""

    value: int


def sdk(place, key=None, retries=0):
    return openai.OpenAI(
        base_url=f"{place.url}/v1", api_key=key or place.key, max_retries=retries, timeout=30
    )


@cell("chat")
def chat(place):
    reply = sdk(place).chat.completions.create(
        model="able", messages=ASK, n=1, seed=7, stop=["end"], extra_body={"unknown_field": {"kept": True}}
    )
    assert reply.choices[0].message.content == "it is four"
    assert (reply.usage.prompt_tokens, reply.usage.prompt_tokens_details.cached_tokens) == (10, 2)
    sent = place.seen("able")["body"]
    assert (sent["seed"], sent["stop"], sent["unknown_field"]) == (7, ["end"], {"kept": True})
    text = sdk(place).completions.create(model="able", prompt="two and two?")
    assert text.choices[0].text == "it is four"


@cell("auto")
def auto(place):
    for alias in ("auto", "auto-best"):
        raw = sdk(place).chat.completions.with_raw_response.create(model=alias, messages=ASK)
        assert raw.headers["x-router-model"] == "able"
        assert float(raw.headers["x-router-cost-usd"]) > 0
        assert raw.request_id
        scored = sdk(place).post("/feedback", cast_to=object, body={"id": raw.parse().id, "score": 1})
        assert scored["model"] == "able"


@cell("stream")
def stream(place):
    chunks = list(sdk(place).chat.completions.create(model="able", messages=ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "it is four"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    text = sdk(place).completions.create(model="able", prompt="two?", stream=True)
    assert "".join(chunk.choices[0].text for chunk in text) == "it is four"


@cell("stream usage")
def stream_usage(place):
    options = {"include_usage": True}
    stream = sdk(place).chat.completions.create(
        model="able", messages=ASK, stream=True, stream_options=options
    )
    *_, last = stream
    assert (last.choices, last.usage.prompt_tokens, last.usage.completion_tokens) == ([], 10, 5)
    assert last.usage.cost_usd > 0


@cell("tools")
def tools(place):
    reply = sdk(place).chat.completions.create(model="auto", messages=ASK, tools=[TOOL])
    [call] = reply.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Paris"}')
    turns = [*ASK, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sun"}]
    again = sdk(place).chat.completions.create(model="auto", messages=turns, tools=[TOOL])
    assert again.choices[0].message.content == "the tools said sun"


@cell("parallel tools")
def parallel(place):
    def names(**fields):
        reply = sdk(place).chat.completions.create(model="able", messages=BOTH, tools=[TOOL], **fields)
        return [call.function.arguments for call in reply.choices[0].message.tool_calls]

    assert names() == ['{"city":"Paris"}', '{"city":"Oslo"}']
    assert names(parallel_tool_calls=False) == ['{"city":"Paris"}']


@cell("tools in a stream")
def streamed_tools(place):
    with sdk(place).chat.completions.stream(model="able", messages=BOTH, tools=[TOOL]) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [event.arguments for event in done] == ['{"city":"Paris"}', '{"city":"Oslo"}']
    assert [call.id for call in final.choices[0].message.tool_calls] == ["call_0", "call_1"]


@cell("schema")
def schema(place):
    reply = sdk(place).chat.completions.parse(model="auto", messages=ASK, response_format=Answer)
    assert reply.choices[0].message.parsed == Answer(value=4)


@cell("vision")
def vision(place):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}
    parts = [{"type": "text", "text": "what is this?"}, image]
    reply = sdk(place).chat.completions.create(model="auto", messages=[{"role": "user", "content": parts}])
    assert reply.choices[0].message.content == SAW


@cell("embeddings")
def embeddings(place):
    reply = sdk(place).embeddings.create(model="auto", input=["a", "b"], dimensions=2)
    assert [row.embedding for row in reply.data] == [[0.5, -0.25]] * 2
    assert place.seen("vectors")["body"]["encoding_format"] == "base64"


@cell("models")
def models(place):
    names = [model.id for model in sdk(place).models.list()]
    assert names[:3] == ["auto", "auto-best", "able"]
    assert sdk(place).models.retrieve("able").id == "able"


@cell("responses")
def responses(place):
    client = sdk(place)
    whole = client.responses.create(model="auto", input="two and two?", instructions="be brief")
    assert (whole.output_text, whole.status, whole.usage.input_tokens) == ("it is four", "completed", 10)
    with client.responses.stream(model="able", input="two and two?") as stream:
        words = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert ("".join(words), final.output_text, final.usage.output_tokens) == ("it is four", "it is four", 5)
    tool = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
    asked = client.responses.create(model="auto", input="both", tools=[tool])
    assert [call.arguments for call in asked.output] == ['{"city":"Paris"}', '{"city":"Oslo"}']
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in asked.output
    ]
    turns = [{"role": "user", "content": "both"}, *asked.output, *results]
    again = client.responses.create(model="able", input=turns, tools=[tool])
    assert again.output_text == "the tools said sun and sun"
    assert client.responses.parse(model="auto", input="2?", text_format=Answer).output_parsed.value == 4
    raises(openai.RateLimitError, lambda: limited(place).responses.create(model="able", input="a"))
    kinds = [event.type for event in client.responses.create(model="cut", input="a", stream=True)]
    assert kinds[-2:] == ["error", "response.failed"]


@cell("400")
def refused(place):
    raises(
        openai.BadRequestError,
        lambda: sdk(place).chat.completions.create(model="refuses", messages=ASK, temperature=9),
        param="temperature",
        code="invalid_value",
        status_code=400,
    )
    raises(
        openai.BadRequestError,
        lambda: sdk(place).chat.completions.create(model="auto", messages=[]),
        param="messages",
    )


@cell("401")
def unknown_key(place):
    client = sdk(place, "sk-v0-wrong")
    raises(
        openai.AuthenticationError,
        lambda: client.chat.completions.create(model="able", messages=ASK),
        code="invalid_api_key",
    )


@cell("404")
def unknown_model(place):
    raises(
        openai.NotFoundError,
        lambda: sdk(place).chat.completions.create(model="none", messages=ASK),
        code="model_not_found",
        param="model",
    )


def limited(place):
    """A client whose key may ask no more this minute."""
    client = sdk(place, place.narrow)
    for _ in range(2):
        try:
            client.chat.completions.create(model="able", messages=ASK)
        except openai.RateLimitError:
            break
    return client


@cell("429")
def limits(place):
    client = limited(place)
    error = raises(
        openai.RateLimitError,
        lambda: client.chat.completions.create(model="able", messages=ASK),
        code="rate_limit_exceeded",
    )
    assert 0 < int(error.response.headers["retry-after"]) <= 60
    stream = {"stream": True, "model": "able", "messages": ASK}
    raises(openai.RateLimitError, lambda: client.chat.completions.create(**stream))


@cell("repeats")
def repeats(place):
    before, began = place.seen("limited")["calls"], time.monotonic()
    reply = sdk(place, retries=2).chat.completions.create(model="limited", messages=ASK)
    assert reply.choices[0].message.content == "it is four"
    assert place.seen("limited")["calls"] - before == 2
    assert time.monotonic() - began >= 1


@cell("cut")
def cut(place):
    words = []

    def collect():
        for chunk in sdk(place).chat.completions.create(model="cut", messages=ASK, stream=True):
            words.append(chunk.choices[0].delta.content)  # noqa: PERF401  (kept up to the error)

    raises(openai.APIError, collect)
    assert words == ["", "it", " is"]


@cell("abort")
def abort(place):
    before = place.seen("slow")["left"]
    stream = sdk(place).chat.completions.create(model="slow", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    place.left(before)
    impatient = sdk(place).with_options(timeout=0.5)
    raises(openai.APITimeoutError, lambda: impatient.chat.completions.create(model="slow", messages=ASK))
    place.left(before + 1)


if __name__ == "__main__":
    main(openai_python)
