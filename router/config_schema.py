"""What router.yaml may say, one pydantic model a section, and its mistakes in words with their lines."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from router.yaml_tree import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from router.yaml_tree import Location, Tree

Share = Annotated[float, Field(ge=0, le=1)]
Price = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Positive = Annotated[float, Field(gt=0)]
Success = Annotated[float, Field(gt=0, le=1)]
Tags = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Ability = Literal["tools", "vision", "json", "logprobs", "audio", "reasoning", "completions", "embeddings"]


def visible_name(text: str) -> str:
    """A name that callers send and headers carry. Raises ValueError for one that is none."""
    if not text or not text.isascii() or not text.isprintable() or " " in text or len(text) > 128:
        raise ValueError("should be 1 to 128 visible ASCII characters: it stands in a header")
    if text == "auto":
        raise ValueError("'auto' is the name that callers use to be routed; choose another")
    return text


def _target(text: str) -> str:
    provider, _, name = text.partition("/")
    if not provider or not name:
        raise ValueError("should be PROVIDER/MODEL, like openai/gpt-4o or ollama/llama3.2")
    return text


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("should be an address like http://localhost:8000/v1")
    if parts.username or parts.password:
        raise ValueError("should carry no user or password: name a variable with api_key_env")
    return text


def _variable(text: str) -> str:
    # The text is not repeated: it may be the key itself.
    if not text.replace("_", "").isalnum() or not text.isascii() or text != text.upper() or text[0].isdigit():
        raise ValueError("should be the NAME of an environment variable, in capitals; never the key itself")
    return text


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if text != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path):
        raise ValueError("should be an origin like https://app.example.com, or '*' for every page")
    return text


def _store_url(text: str) -> str:
    scheme = text.partition("://")[0].partition("+")[0]
    if "://" not in text or scheme not in ("sqlite", "postgresql", "postgres"):
        raise ValueError("should be like sqlite:///router.db or postgresql://user@host/name")
    return text


class Section(BaseModel):
    """No unknown key, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PricesSection(Section):
    """USD per million tokens; a kind that is left out costs as `input` or `output` does."""

    input: Price
    output: Price
    cached_input: Price | None = None
    cache_write: Price | None = None
    reasoning: Price | None = None
    audio_input: Price | None = None
    audio_output: Price | None = None


class FleetSection(Section):
    """One entry of the fleet."""

    name: Annotated[str, AfterValidator(visible_name)]
    target: Annotated[str, AfterValidator(_target)]
    api_base: Annotated[str, AfterValidator(_address)] | None = None
    api_key_env: Annotated[str, Field(min_length=1), AfterValidator(_variable)] | None = None
    api_key_file: Annotated[str, Field(min_length=1)] | None = None
    prices: PricesSection | None = None
    parameter_ratio: Annotated[float, Field(gt=0)] | None = None
    context_window: Annotated[int, Field(gt=0)] | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    abilities: list[Ability] | None = None
    regions: Tags | None = None
    timeouts: ModelTimeoutsSection | None = None


class ServerSection(Section):
    """Where the gateway listens."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    max_body_mb: Annotated[float, Field(gt=0, le=1024)] = 32
    require_key: bool | None = None
    log: Literal["text", "json"] = "text"
    drain_s: Annotated[int, Field(ge=0, le=3600)] = 30
    cors_origins: list[Annotated[str, AfterValidator(_origin)]] = []


class StoreSection(Section):
    """Where decisions and outcomes are kept."""

    url: Annotated[str, AfterValidator(_store_url)] = "sqlite:///router.db"
    store_prompts: bool = False


class TabpfnSection(Section):
    """TabPFN for a head: its weights, the licence that is accepted for them, and how they are used."""

    weights: Annotated[str, Field(min_length=1)] | None = None
    accept_licence: (
        Literal[
            "tabpfn-v2.5-non-commercial",
            "tabpfn-v2.6-non-commercial",
            "tabpfn-v3-non-commercial",
            "tabpfn-v3.5-non-commercial",
        ]
        | None
    ) = None
    estimators: Annotated[int, Field(ge=1, le=32)] = 4
    labels: Literal["levels", "hard"] = "levels"
    cache_gb: Annotated[float, Field(gt=0)] = 8


class ValueSection(Section):
    """Which V0 predicts, and on what."""

    head: Literal["icl", "tabpfn", "none"] = "icl"
    weights: Annotated[str, Field(min_length=1)] | None = None
    backbone: Annotated[str, Field(min_length=1)] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    tabpfn: TabpfnSection | None = None


class TimeoutsSection(Section):
    """Seconds to wait for upstreams."""

    connect: Seconds = 5.0
    read: Seconds = 600.0
    first_byte: Seconds = 600.0
    total: Seconds = 3600.0


class ModelTimeoutsSection(Section):
    """The same for one model; what is left out is the file's."""

    connect: Seconds | None = None
    read: Seconds | None = None
    first_byte: Seconds | None = None
    total: Seconds | None = None


class RetriesSection(Section):
    """Whether to ask again, and whether to ask a second model beside a slow one."""

    rounds: Annotated[int, Field(ge=0, le=10)] = 2
    pause_s: Seconds = 0.25
    longest_pause_s: Seconds = 8.0
    hedge_after_s: Seconds | None = None


class SessionsSection(Section):
    """How firmly a conversation stays with its model, and for how long it is remembered."""

    hysteresis: Share = 0.05
    keep_s: Annotated[float, Field(ge=0)] = 600.0


class BreakerSection(Section):
    """When a model that fails is left alone, and for how long."""

    failures: Annotated[int, Field(ge=0)] = 5
    rest_s: Seconds = 5.0
    longest_rest_s: Seconds = 300.0


class PresetSection(Section):
    """What a name beside `auto` stands for."""

    beta: Share | None = None
    models: Annotated[list[str], Field(min_length=1)] | None = None
    exclude: list[str] = []
    regions: Tags | None = None
    min_success: Success | None = None
    max_cost_usd: Positive | None = None


class Root(Section):
    """The whole file. The sections are validated one by one, so that all their problems are found."""

    fleet: Any = None
    beta: Share = 0.8
    min_success: Success | None = None
    max_cost_usd: Positive | None = None
    regions: Tags | None = None
    presets: Any = None
    exploration: Share = 0.0
    combine: Literal["separate", "weighted"] = "separate"
    context_size: Annotated[int, Field(ge=1, le=4096)] = 1024
    server: Any = None
    store: Any = None
    value: Any = None
    timeouts: Any = None
    retries: Any = None
    breaker: Any = None
    sessions: Any = None
    prices: Annotated[str, Field(min_length=1)] | None = None


S = TypeVar("S", bound=Section)


def check(
    schema: type[S], tree: Tree, file: str, location: Location, problems: list[Problem]
) -> tuple[S | None, Mapping[str, Any]]:
    """
    The part of a tree at `location` as its schema, and those of its keys whose values are sound as they stand.

    Where it does not fit, the problems are added and the first is None; the second lets further checks go on.
    A section without content (every key commented out) has its defaults.
    """
    value = tree.value
    for step in location:
        value = value.get(step) if isinstance(step, str) else value[step]
    if value is None:
        value = {}
    sound = dict(value) if isinstance(value, dict) else {}
    try:
        return schema.model_validate(value), sound
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            place = (*location, *detail["loc"])
            problems.append(Problem(file, tree.line(place), _say(schema, place, detail)))
            sound.pop(str(detail["loc"][0]) if detail["loc"] else "", None)
        return None, sound


def spell(location: Location) -> str:
    """("fleet", 2, "prices") as fleet[2].prices."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".") or "the file"


def suggest(word: str, known: tuple[str, ...], cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant."""
    close = get_close_matches(word, known, n=1, cutoff=cutoff)
    return close[0] if close else None


def _say(schema: type[Section], place: Location, detail: ErrorDetails) -> str:
    kind, message = detail["type"], detail["msg"]
    if kind == "missing":
        return f"{spell(place)} is missing"
    if kind == "extra_forbidden":
        known = _keys(schema, detail["loc"][:-1])
        meant = suggest(str(place[-1]), known)
        if meant is None and place[-1] != "?":
            return f"unknown key {place[-1]!r}; the keys here are {', '.join(known)}"
        return f"unknown key {place[-1]!r}; did you mean {meant!r}?"
    if kind == "model_type":
        return f"{spell(place)} should be a mapping with the keys {', '.join(_keys(schema, detail['loc']))}"
    return f"{spell(place)} {message.removeprefix('Value error, ').replace('Input should', 'should')}"


def _keys(schema: type[Section], location: Location) -> tuple[str, ...]:
    """The keys that a section, or the section at `location` inside it, may have."""
    for step in location:
        if isinstance(step, str):
            annotation = schema.model_fields[step].annotation
            kinds = (annotation, *get_args(annotation))
            schema = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
    return tuple(schema.model_fields)
