"""LlamaIndex's models for servers with OpenAI's API."""

from __future__ import annotations

import time

import openai
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from tests.sdks.harness import PIXEL, SAW, Program, main, raises

llama_index = Program(
    "LlamaIndex",
    absent={
        "models": "not in this SDK",
        "responses": "only for names of OpenAI's models",
        "messages": "another package",
    },
)
cell = llama_index.cell
ASK = [ChatMessage(role=MessageRole.USER, content="two and two?")]
BOTH = ChatMessage(role=MessageRole.USER, content="the weather in both")


class Answer(BaseModel):
    """What a schema asks for."""

    value: int


def weather(city: str) -> str:
    """Tells the weather."""
    return f"sun in {city}"


TOOL = FunctionTool.from_defaults(fn=weather)


def sdk(place, model="able", key=None, retries=0, **fields):
    return OpenAILike(
        api_base=f"{place.url}/v1",
        api_key=key or place.key,
        model=model,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=retries,
        **{"timeout": 30, **fields},
    )


def text(message):
    return "".join(block.text for block in message.blocks if isinstance(block, TextBlock))


@cell("chat")
def chat(place):
    reply = sdk(place).chat(ASK)
    assert text(reply.message) == "it is four"
    assert reply.raw.usage.prompt_tokens == 10


@cell("auto")
def auto(place):
    before = place.seen("able")["calls"]
    reply = sdk(place, "auto").chat(ASK)
    assert reply.raw.model == "able"  # the body says it: LlamaIndex shows no headers
    assert place.seen("able")["calls"] == before + 1


@cell("stream")
def stream(place):
    assert "".join(step.delta or "" for step in sdk(place).stream_chat(ASK)) == "it is four"


@cell("stream usage")
def stream_usage(place):
    asked = sdk(place, additional_kwargs={"stream_options": {"include_usage": True}})
    *_, last = asked.stream_chat(ASK)
    assert (last.raw.usage.prompt_tokens, last.raw.usage.completion_tokens) == (10, 5)


@cell("tools")
def tools(place):
    client = sdk(place, "auto")
    asked = client.chat_with_tools([TOOL], chat_history=ASK)
    [call] = client.get_tool_calls_from_response(asked)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Paris"})
    result = ChatMessage(
        role=MessageRole.TOOL,
        content=TOOL(**call.tool_kwargs).content,
        additional_kwargs={"tool_call_id": call.tool_id},
    )
    again = client.chat_with_tools([TOOL], chat_history=[*ASK, asked.message, result])
    assert text(again.message) == "the tools said sun in Paris"


@cell("parallel tools")
def parallel(place):
    def cities(several):
        client = sdk(place)
        asked = client.chat_with_tools([TOOL], chat_history=[BOTH], allow_parallel_tool_calls=several)
        calls = client.get_tool_calls_from_response(asked, error_on_no_tool_call=False)
        return [call.tool_kwargs["city"] for call in calls]

    assert cities(True) == ["Paris", "Oslo"]
    assert cities(False) == ["Paris"]


@cell("tools in a stream")
def streamed_tools(place):
    client = sdk(place)
    *_, last = client.stream_chat_with_tools([TOOL], chat_history=[BOTH], allow_parallel_tool_calls=True)
    calls = client.get_tool_calls_from_response(last)
    assert [call.tool_kwargs["city"] for call in calls] == ["Paris", "Oslo"]


@cell("schema")
def schema(place):
    asking = sdk(place, "auto", should_use_structured_outputs=True).as_structured_llm(Answer)
    assert asking.chat(ASK).raw == Answer(value=4)
    assert place.seen("able")["body"]["response_format"]["type"] == "json_schema"


@cell("vision")
def vision(place):
    image = ImageBlock(url=f"data:image/png;base64,{PIXEL}")
    message = ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text="what is this?"), image])
    assert text(sdk(place, "auto").chat([message]).message) == SAW


@cell("embeddings")
def embeddings(place):
    maker = OpenAILikeEmbedding(
        api_base=f"{place.url}/v1", api_key=place.key, model_name="vectors", max_retries=0
    )
    assert maker.get_text_embedding_batch(["a", "b"]) == [[0.5, -0.25, 0.125]] * 2


@cell("400")
def refused(place):
    raises(
        openai.BadRequestError,
        lambda: sdk(place, "refuses").chat(ASK),
        param="temperature",
        code="invalid_value",
    )


@cell("401")
def unknown_key(place):
    raises(openai.AuthenticationError, lambda: sdk(place, key="sk-v0-wrong").chat(ASK))


@cell("404")
def unknown_model(place):
    raises(openai.NotFoundError, lambda: sdk(place, "none").chat(ASK), code="model_not_found")


@cell("429")
def limits(place):
    client = sdk(place, key=place.narrow)
    client.chat(ASK)
    error = raises(openai.RateLimitError, lambda: client.chat(ASK))
    assert 0 < int(error.response.headers["retry-after"]) <= 60


@cell("repeats")
def repeats(place):
    before, began = place.seen("limited")["calls"], time.monotonic()
    assert text(sdk(place, "limited", retries=2).chat(ASK).message) == "it is four"
    assert place.seen("limited")["calls"] - before == 2
    assert time.monotonic() - began >= 1


@cell("cut")
def cut(place):
    words = []

    def collect():
        words.extend(step.delta for step in sdk(place, "cut").stream_chat(ASK))

    raises(openai.APIError, collect)
    assert "".join(filter(None, words)) == "it is"


@cell("abort")
def abort(place):
    before = place.seen("slow")["left"]
    impatient = sdk(place, "slow", timeout=0.5)  # its streams cannot be closed
    raises(openai.APITimeoutError, lambda: impatient.chat(ASK))
    place.left(before)


if __name__ == "__main__":
    main(llama_index)
