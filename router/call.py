"""One request, read and checked: only what the gateway itself uses; every other field passes untouched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from router.eligibility import Rule
from router.errors import BadRequest
from router.sessions import session_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleet.upstream import Operation
    from router.wire.stream import Wire

AUTO = "auto"
OPTIONS = ("beta", "min_success", "max_cost_usd", "models", "exclude", "regions")
WRITABLE_DEPTH = 250  # what orjson can write again at the least


@dataclass(frozen=True)
class Call:
    """
    What a caller asked for; `model` is auto, a preset or a model.

    `body` is what goes upstream: the caller's JSON without our `router` field. `wire` is the caller's protocol where
    that is not OpenAI's own, and `body` then its translation. `beta` is None where the caller left it to the preset
    or the settings, and so is `min_success`; `only` is the caller's allow-list, None for all. `rules` are what the
    caller's key (`caller`, its number) says besides; so are `beta_bounds`, `key_min_success`, which goes before the
    settings', whether it is `paced`, and `paced_beta`, which goes before the preset's and the settings' β.
    `repeated`: the caller's SDK has asked before and counts itself. `session`: what headers call the conversation.
    `keep`: the reply's bytes are wanted once more, for the cache.
    """

    body: Mapping[str, Any]
    model: str
    stream: bool
    hide_usage: bool
    beta: float | None
    only: tuple[str, ...] | None
    operation: Operation = "chat"
    wire: Wire | None = None
    min_success: float | None = None
    max_cost_usd: float | None = None
    exclude: tuple[str, ...] = ()
    regions: tuple[str, ...] | None = None
    rules: tuple[Rule, ...] = ()
    caller: int | None = None
    repeated: bool = False
    session: str | None = None
    beta_bounds: tuple[float, float] = (0.0, 1.0)
    paced_beta: float | None = None
    key_min_success: float | None = None
    paced: bool = False
    keep: bool = False

    @property
    def scope(self) -> tuple[str, int | None]:
        """Whose traffic this is part of, when something is kept over traffic."""
        return self.model, self.caller

    @property
    def rule(self) -> Rule:
        """What the request itself says about who may answer."""
        return Rule("router", self.only, self.exclude, self.regions, self.max_cost_usd)

    def told_by(self, wire: Wire) -> Call:
        """The same call, its reply to be told in another protocol, which takes the usage out of the stream."""
        return replace(self, wire=wire, hide_usage=False)

    @property
    def one_choice(self) -> bool:
        """True when the reply has one choice, so that its finish reason is the reply's end."""
        prompts = self.body.get("prompt")
        several = isinstance(prompts, list) and len(prompts) > 1 and not isinstance(prompts[0], int)
        return self.body.get("n") in (None, 1) and not several


def parse(raw: bytes) -> dict[str, Any]:
    """A request body as a JSON object. Raises `BadRequest`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"the body is not valid JSON: {error.msg} at character {error.pos}", code="invalid_json"
        ) from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    if raw.count(b"{") + raw.count(b"[") > WRITABLE_DEPTH:
        try:
            orjson.dumps(body)
        except TypeError:  # it reads deeper than it writes
            raise BadRequest("the body is nested too deeply", code="invalid_json") from None
    return body


def read(raw: bytes, beta_header: str | None = None, operation: Operation = "chat") -> Call:
    """The call in a request's bytes and its x-router-beta header. Raises `BadRequest` naming the field."""
    return understand(parse(raw), beta_header, operation)


def understand(body: dict[str, Any], beta_header: str | None, operation: Operation = "chat") -> Call:
    """The call in a body of OpenAI's shape, which it takes over. Raises `BadRequest` naming the field."""
    options = body.pop("router", None)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model must be a string: auto, a preset or a model of the fleet", param="model")
    _CHECKS[operation](body)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("stream must be true or false", param="stream")
    if options is not None and not isinstance(options, dict):
        raise BadRequest("router must be an object", param="router")
    unknown = next((name for name in options or () if name not in OPTIONS), None)
    if unknown is not None:
        raise BadRequest(
            f"router has no option {unknown!r}; it has {', '.join(OPTIONS)}", param=f"router.{unknown}"
        )
    options = options or {}
    return Call(
        body=body,
        model=model,
        stream=bool(stream),
        hide_usage=not _asks_for_usage(body),
        beta=_beta(options, beta_header),
        only=_words(options, "models"),
        operation=operation,
        min_success=_number(options, "min_success", 1.0),
        max_cost_usd=_number(options, "max_cost_usd", None),
        exclude=_words(options, "exclude") or (),
        regions=_words(options, "regions"),
    )


def with_headers(call: Call, headers: Sequence[tuple[bytes, bytes]]) -> Call:
    """The call with what its headers (raw, as ASGI has them) say besides."""
    count = next((value for name, value in headers if name == b"x-stainless-retry-count"), b"0")
    repeated, session = count.isdigit() and int(count) > 0, session_name(headers)
    return replace(call, repeated=repeated, session=session) if repeated or session else call


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", param="messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRequest(f"messages[{i}] must be an object", param=f"messages[{i}]")


def _check_prompt(body: Mapping[str, Any]) -> None:
    _check_texts(body.get("prompt"), "prompt")


def _check_input(body: Mapping[str, Any]) -> None:
    _check_texts(body.get("input"), "input")
    if body.get("stream"):
        raise BadRequest("embeddings are not streamed", param="stream")


def _check_texts(texts: object, field: str) -> None:
    """One text or several, each a string or a list of token numbers."""
    several = texts if isinstance(texts, list) else [texts]
    tokens = isinstance(texts, list) and all(map(_is_number, texts))
    if several and (tokens or all(map(_is_text, several))):
        return
    raise BadRequest(f"{field} must be a text, a list of tokens, or a list of either", param=field)


def _is_number(value: object) -> bool:
    return type(value) is int


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and all(map(_is_number, value)))


_CHECKS: Mapping[Operation, Callable[[Mapping[str, Any]], None]] = {
    "chat": _check_messages,
    "completions": _check_prompt,
    "embeddings": _check_input,
}


def _beta(options: Mapping[str, Any], header: str | None) -> float | None:
    """β of this request: the body's before the header's. Both are checked."""
    told: float | None = None
    if header is not None:
        try:
            told = float(header)
        except ValueError:
            told = -1.0
        if not 0 <= told <= 1:
            raise BadRequest("x-router-beta must be a number between 0 and 1", param="x-router-beta")
    value = options.get("beta")
    if value is None:
        return told
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadRequest("router.beta must be a number between 0 and 1", param="router.beta")
    return float(value)


def _number(options: Mapping[str, Any], name: str, most: float | None) -> float | None:
    """An option above 0, and at most `most`."""
    value = options.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= (most or float("inf"))
    ):
        span = "above 0" if most is None else f"above 0 and at most {most:g}"
        raise BadRequest(f"router.{name} must be a number {span}", param=f"router.{name}")
    return float(value)


def _words(options: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    words = options.get(name)
    if words is None:
        return None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise BadRequest(f"router.{name} must be a list of at least one name", param=f"router.{name}")
    return tuple(words)


def _asks_for_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
