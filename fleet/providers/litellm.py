"""Every provider with an API of its own (Anthropic, Gemini, Bedrock…), through litellm."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

import orjson

from fleet.errors import UpstreamError
from fleet.providers.keys import blank, read_key
from fleet.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from fleet.model import Model, Timeouts

    Complete = Callable[..., Awaitable[Any]]

# litellm takes its own settings (api_base, api_key, fallbacks, callbacks…) from the same keyword arguments as the
# request's fields. A caller who could set those could send our key anywhere, so only these fields go through
# (`metadata` is not one of them: litellm reads settings out of it).
FIELDS: Final = frozenset(
    """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort
    response_format safety_identifier seed service_tier stop stream stream_options temperature thinking tool_choice
    tools top_k top_logprobs top_p user verbosity web_search_options
    """.split()  # noqa: SIM905 (a table of words reads better than 33 lines)
)

EMBEDDING_FIELDS: Final = frozenset({"dimensions", "encoding_format", "input", "user"})

_MOST_BUFFERED: Final = 1000


class LiteLlm:
    """
    Upstream for providers that do not speak OpenAI's API.

    litellm is imported by the first call, in a thread: it takes seconds and 170 MB. Request fields that a
    provider does not know are left out rather than refused. `complete` and `embed` stand in for litellm's
    acompletion and aembedding.
    """

    def __init__(
        self, timeouts: Timeouts, complete: Complete | None = None, embed: Complete | None = None
    ) -> None:
        self._timeouts = timeouts
        self._complete = complete
        self._embed = embed
        self._importing = asyncio.Lock()
        self._imported = False

    async def chat(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """See Upstream.chat."""
        key = read_key(model)
        await self._ready()
        answer = await self._ask(self._complete, model, key, request_fields(body))
        if body.get("stream") is True:
            stream = _Stream(model, answer, key)
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            return Reply(200, headers, stream.events(), stream.aclose)
        return Reply(200, {"content-type": "application/json"}, _once(_completion(answer)))

    async def complete(self, model: Model, body: Mapping[str, Any]) -> Reply:  # noqa: ARG002
        """These providers have no text completions. Raises UpstreamError (400)."""
        message = f"{model.name} does not offer text completions; ask it at /v1/chat/completions."
        error = {"message": message, "type": "invalid_request_error", "param": "model", "code": None}
        raise UpstreamError(model.name, "status", 400, {}, orjson.dumps({"error": error}))

    async def embed(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """See Upstream.embed."""
        key = read_key(model)
        await self._ready()
        fields = {name: value for name, value in body.items() if name in EMBEDDING_FIELDS}
        answer = await self._ask(self._embed, model, key, fields)
        content = orjson.dumps(answer.model_dump(mode="json", exclude_none=True))
        return Reply(200, {"content-type": "application/json"}, _once(content))

    async def _ask(self, call: Complete | None, model: Model, key: str | None, fields: dict[str, Any]) -> Any:
        assert call is not None  # `_ready` has been awaited
        try:
            return await call(
                **fields,
                model=model.target,
                api_key=key,
                api_base=model.api_base,
                timeout=_silence(model.timeouts or self._timeouts),
                max_retries=0,
                num_retries=0,
                drop_params=True,
            )
        except Exception as error:
            raise _refusal(model, error, key) from None

    async def aclose(self) -> None:
        """Close litellm's clients, if it was ever imported."""
        if self._imported:
            import litellm

            await litellm.close_litellm_async_clients()

    async def _ready(self) -> None:
        if self._complete is None and self._embed is None:
            async with self._importing:
                if not self._imported:
                    self._complete, self._embed = await asyncio.to_thread(_import)
                    self._imported = True


def _silence(timeouts: Timeouts) -> float:
    return max(timeouts.read, timeouts.first_byte)


def request_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAI fields of a body; a stream also asks for usage."""
    fields = {name: value for name, value in body.items() if name in FIELDS}
    if fields.get("stream") is True:
        fields["stream_options"] = {"include_usage": True}
    return fields


def _import() -> tuple[Complete, Complete]:
    os.environ.setdefault(
        "LITELLM_LOCAL_MODEL_COST_MAP", "True"
    )  # else the import fetches it from the network
    import litellm

    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.telemetry = False
    return litellm.acompletion, litellm.aembedding


def _completion(answer: Any) -> bytes:
    message = answer.model_dump(mode="json", exclude_none=True)
    for choice in message.get("choices", ()):
        choice.get("message", {}).setdefault("content", None)
    return orjson.dumps(message)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


class _Stream:
    """litellm's chunks as server-sent events."""

    def __init__(self, model: Model, chunks: Any, key: str | None) -> None:
        self._model = model
        self._chunks = chunks
        self._key = key
        self._ended = False

    async def events(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                yield b"data: " + _chunk(chunk) + b"\n\n"
        except Exception as error:
            self._ended = True
            refusal = _refusal(self._model, error, self._key)
            raise UpstreamError(
                self._model.name, "cut", refusal.status, refusal.headers, refusal.body
            ) from None
        self._ended = True
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        """
        Close litellm's stream, and make sure of it.

        For some providers (Anthropic, in 1.106) litellm's aclose leaves the connection open and the provider
        generating. A read that is cancelled while it waits always closes it.
        """
        for _ in range(_MOST_BUFFERED):
            if self._ended:
                break
            reading = asyncio.ensure_future(anext(self._chunks))
            await asyncio.sleep(0)  # the read begins, and waits unless chunks are buffered
            reading.cancel()
            await asyncio.wait([reading])
            self._ended = reading.cancelled() or reading.exception() is not None
        await self._chunks.aclose()


def _chunk(chunk: Any) -> bytes:
    """One chunk in OpenAI's shape, which knows no choices beside usage and a finish reason in every choice."""
    message = chunk.model_dump(mode="json", exclude_none=True)
    choices = message.get("choices") or []
    for choice in choices:
        choice.setdefault("finish_reason", None)
    if message.get("usage") and not any(_says(choice) for choice in choices):
        message["choices"] = []
    return orjson.dumps(message)


def _says(choice: Mapping[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    return choice["finish_reason"] is not None or any(delta.values())


def _refusal(model: Model, error: Exception, key: str | None) -> UpstreamError:
    """litellm's exceptions are openai's: read their facts by name, so that nothing is imported for it."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "APITimeoutError" in kinds:
        return UpstreamError(model.name, "timeout")
    if "APIConnectionError" in kinds:
        return UpstreamError(model.name, "connect")
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        status = 500
    headers = getattr(error, "litellm_response_headers", None)
    if not headers:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    body = {
        "error": {
            "message": str(getattr(error, "message", "")) or type(error).__name__,
            "type": "upstream_error",
            "param": None,
            "code": _code(kinds, error),
        }
    }
    lower = {str(name).lower(): str(value) for name, value in headers.items()}
    return UpstreamError(model.name, "status", status, lower, blank(orjson.dumps(body), key))


def _code(kinds: set[str], error: Exception) -> str | None:
    if "ContextWindowExceededError" in kinds:
        return "context_length_exceeded"
    if "ContentPolicyViolationError" in kinds:
        return "content_policy_violation"
    code = getattr(error, "code", None)
    return str(code) if code is not None else None
