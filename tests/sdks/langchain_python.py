"""LangChain for Python: the same cells through its models for chat, responses and messages."""

from __future__ import annotations

import time
from contextlib import suppress

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.sdks.harness import PIXEL, SAW, Program, main, raises

ASK = "two and two?"
BOTH = "the weather in both"


class Answer(BaseModel):
    """What a schema asks for."""

    value: int


@tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"sun in {city}"


def chat_model(place, model="able", key=None, retries=0, timeout=30, **fields):
    return ChatOpenAI(
        base_url=f"{place.url}/v1",
        api_key=key or place.key,
        model=model,
        max_retries=retries,
        timeout=timeout,
        stream_usage=True,
        include_response_headers=True,
        **fields,
    )


def responses_model(place, model="able", key=None, retries=0, **fields):
    return chat_model(place, model, key, retries, use_responses_api=True, **fields)


def messages_model(place, model="able", key=None, retries=0, timeout=30, **fields):
    return ChatAnthropic(
        base_url=place.url,
        api_key=key or place.key,
        model=model,
        max_tokens=2000,
        max_retries=retries,
        timeout=timeout,
        **fields,
    )


def program_of(column, model, errors, absent):
    """A program of one of LangChain's models, whose SDK's errors are in the module `errors`."""
    program = Program(column, absent={"models": "not in this SDK", **absent})
    cell = program.cell

    def text(message):
        return message.text if isinstance(message.text, str) else message.text()

    @cell("chat")
    def chat(place):
        reply = model(place).invoke([("system", "be brief"), ("user", ASK)])
        assert text(reply) == "it is four"
        assert (reply.usage_metadata["input_tokens"], reply.usage_metadata["output_tokens"]) == (10, 5)
        assert reply.usage_metadata["input_token_details"]["cache_read"] == 2
        assert place.seen("able")["body"]["messages"][0]["role"] == "system"

    @cell("auto")
    def auto(place):
        before = place.seen("able")["calls"]
        reply = model(place, "auto").invoke(ASK)
        assert place.seen("able")["calls"] == before + 1
        headers = reply.response_metadata.get("headers")
        assert headers is None or headers["x-router-model"] == "able"
        assert headers is not None or errors is anthropic  # whose model keeps no headers

    @cell("stream")
    def stream(place):
        assert "".join(text(chunk) for chunk in model(place).stream(ASK)) == "it is four"

    @cell("stream usage")
    def stream_usage(place):
        whole = sum_of(model(place).stream(ASK))
        assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (10, 5)

    @cell("tools")
    def tools(place):
        able = model(place, "auto").bind_tools([weather])
        asked = able.invoke(ASK)
        [call] = asked.tool_calls
        assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})
        result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        assert text(able.invoke([HumanMessage(ASK), asked, result])) == "the tools said sun in Paris"
        forced = model(place).bind_tools([weather], tool_choice="weather").invoke(ASK)
        assert forced.tool_calls[0]["name"] == "weather"

    @cell("parallel tools")
    def parallel(place):
        def cities(**fields):
            calls = model(place).bind_tools([weather], **fields).invoke(BOTH).tool_calls
            return [call["args"]["city"] for call in calls]

        assert cities() == ["Paris", "Oslo"]
        assert cities(parallel_tool_calls=False) == ["Paris"]

    @cell("tools in a stream")
    def streamed_tools(place):
        whole = sum_of(model(place).bind_tools([weather]).stream(BOTH))
        assert [call["args"]["city"] for call in whole.tool_calls] == ["Paris", "Oslo"]

    @cell("schema")
    def schema(place):
        asking = model(place, "auto").with_structured_output(Answer, method="json_schema")
        assert asking.invoke(ASK) == Answer(value=4)

    @cell("vision")
    def vision(place):
        image = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
        message = HumanMessage(content=[{"type": "text", "text": "what is this?"}, image])
        assert text(model(place, "auto").invoke([message])) == SAW

    @cell("400")
    def refused(place):
        raises(errors.BadRequestError, lambda: model(place, "refuses").invoke(ASK), status_code=400)

    @cell("401")
    def unknown_key(place):
        raises(errors.AuthenticationError, lambda: model(place, key="sk-v0-wrong").invoke(ASK))

    @cell("404")
    def unknown_model(place):
        raises(errors.NotFoundError, lambda: model(place, "none").invoke(ASK))

    @cell("429")
    def limits(place):
        client = model(place, key=place.narrow)
        with suppress(errors.RateLimitError):  # the column before may have asked already
            client.invoke(ASK)
        error = raises(errors.RateLimitError, lambda: client.invoke(ASK))
        assert 0 < int(error.response.headers["retry-after"]) <= 60
        raises(errors.RateLimitError, lambda: list(client.stream(ASK)))

    @cell("repeats")
    def repeats(place):
        before, began = place.seen("limited")["calls"], time.monotonic()
        assert text(model(place, "limited", retries=2).invoke(ASK)) == "it is four"
        assert place.seen("limited")["calls"] - before == 2
        assert time.monotonic() - began >= 1

    @cell("cut")
    def cut(place):
        words = []

        def collect():
            words.extend(map(text, model(place, "cut").stream(ASK)))

        # where LangChain itself reads the error event, it raises a ValueError
        error = raises((errors.APIError, ValueError), collect)
        assert "broke off" in str(error)
        assert "".join(words) == "it is"

    @cell("abort")
    def abort(place):
        before = place.seen("slow")["left"]
        stream = model(place, "slow").stream(ASK)
        while not text(next(stream)):
            pass
        stream.close()
        place.left(before)
        impatient = model(place, "slow", timeout=0.5)
        raises(errors.APITimeoutError, lambda: impatient.invoke(ASK))
        place.left(before + 1)

    return program


def sum_of(chunks):
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


chat_program = program_of(
    "LangChain, chat", chat_model, openai, {"responses": "a column apart", "messages": "a column apart"}
)
responses_program = program_of(
    "LangChain, responses",
    responses_model,
    openai,
    {"embeddings": "as in chat's column", "messages": "a column apart"},
)
messages_program = program_of(
    "LangChain, messages",
    messages_model,
    anthropic,
    {"embeddings": "not at Anthropic", "responses": "a column apart"},
)


@chat_program.cell("embeddings")
def embeddings(place):
    # texts as they are, not as the tokens of OpenAI's own models
    maker = OpenAIEmbeddings(
        base_url=f"{place.url}/v1", api_key=place.key, model="vectors", check_embedding_ctx_length=False
    )
    assert maker.embed_documents(["a", "b"]) == [[0.5, -0.25, 0.125]] * 2
    assert maker.embed_query("a") == [0.5, -0.25, 0.125]


@responses_program.cell("responses")
def responses(place):
    reply = responses_model(place).invoke(ASK)
    assert reply.response_metadata["object"] == "response"
    assert reply.response_metadata["status"] == "completed"


@messages_program.cell("messages")
def messages(place):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    reply = messages_model(place, thinking=thinking).invoke(ASK)
    assert reply.response_metadata["stop_reason"] == "end_turn"
    assert place.seen("able")["body"]["reasoning_effort"] == "low"


if __name__ == "__main__":
    main(chat_program, responses_program, messages_program)
