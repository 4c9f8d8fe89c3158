# ruff: noqa: N818  (the names say what went wrong; "Error" would add nothing)
"""OpenAI's chat completions on the wire: what a request may say, what replies and refusals look like.

    * Refusal
      - Invalid            400  a field is missing, malformed or more than these models can do; `param` names it
      - ContextOverflow    400  code context_length_exceeded
      - NoSuchModel        404  code model_not_found
      - Overloaded         503  the engine broke or is closing

Fields that change nothing here (`user`, `metadata`, `store`…) are ignored; fields that would change the reply and
cannot be honoured (tools, penalties, a JSON schema…) are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fleet.nano.sampling import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.nano.batching import Piece
    from fleet.nano.sampling import Scored

MOST_CHOICES, MOST_STOPS, MOST_ALTERNATIVES = 16, 4, 20
FINGERPRINT = "nano"
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
}
"""Fields that these models cannot honour, and the values that ask for nothing."""


class Refusal(Exception):
    """An answer that is an error, in OpenAI's envelope."""

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code

    def body(self) -> bytes:
        """The envelope as JSON."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


class Invalid(Refusal):
    """The request cannot be honoured; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class ContextOverflow(Invalid):
    """The prompt leaves no room for a reply."""

    code = "context_length_exceeded"

    def __init__(self, window: int, tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {window} tokens. However, your messages resulted in {tokens} "
            "tokens. Please reduce the length of the messages.",
            "messages",
        )


class NoSuchModel(Refusal):
    """The fleet has no model of this name."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model `{name}` does not exist; see GET /v1/models.", "model")


class NotFound(Refusal):
    """Nothing is served at this address, or not with this method."""

    type = "invalid_request_error"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Overloaded(Refusal):
    """The engine broke or is closing."""

    status = 503
    code = "engine_unavailable"


class Part(BaseModel):
    """One part of a message; only text is read."""

    model_config = ConfigDict(strict=True)
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """Its text."""
        return self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content)


class StreamOptions(BaseModel):
    """What a stream carries beside the reply."""

    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """The fields that we read."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and len(stop) > MOST_STOPS:
            raise ValueError(f"at most {MOST_STOPS} stop strings")
        return stop

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of every message."""
        return [(message.role, message.text) for message in self.messages]

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def most(self) -> int | None:
        """The most tokens a reply may have; None: as many as the window holds."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def sampling(self, temperature: float) -> Sampling:
        """How tokens are drawn: at `temperature` where nothing is said, else by OpenAI's defaults."""
        return Sampling(
            temperature=temperature if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            alternatives=(self.top_logprobs or 0) if self.logprobs else None,
        )


def read(body: bytes) -> ChatRequest:
    """The request in a body. Raises Invalid."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(raw, dict):
        raise Invalid("The body of your request should be a JSON object.")
    for name, neutral in NEUTRAL.items():
        if raw.get(name) not in neutral:
            raise Invalid(f"These models do not support {name}.", name, "unsupported_parameter")
    try:
        request = ChatRequest.model_validate(raw)
    except ValidationError as error:
        raise _invalid(error) from error
    if request.top_logprobs is not None and not request.logprobs:
        raise Invalid("top_logprobs needs logprobs to be true.", "top_logprobs")
    if request.stream_options is not None and not request.stream:
        raise Invalid("stream_options needs stream to be true.", "stream_options")
    return request


def _invalid(error: ValidationError) -> Invalid:
    wrong = error.errors(include_url=False, include_input=False)[0]
    place = [step for step in wrong["loc"] if step not in ("str", "list[Part]", "list[str]")]
    param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
    code = "missing_required_parameter" if wrong["type"] == "missing" else "invalid_value"
    return Invalid(f"Invalid value for '{param}': {wrong['msg']}.", param, code)


# Replies


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Tokens of a whole request."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def completion(head: dict[str, Any], choices: Sequence[dict[str, Any]], used: dict[str, int]) -> bytes:
    """A whole reply."""
    return orjson.dumps({**head, "object": "chat.completion", "choices": choices, "usage": used})


def choice(index: int, piece: Piece, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    """One choice of a whole reply."""
    message = {"role": "assistant", "content": piece.text, "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": piece.finish}


def event(payload: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def logprobs(scored: Sequence[Scored], pieces: Sequence[bytes]) -> dict[str, Any]:
    """Tokens with their log-probabilities and the likeliest alternatives."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        piece = pieces[token]
        return {"token": piece.decode(errors="replace"), "logprob": logprob, "bytes": list(piece)}

    content = [
        {**entry(one.token, one.logprob), "top_logprobs": [entry(*other) for other in one.top]}
        for one in scored
    ]
    return {"content": content, "refusal": None}
