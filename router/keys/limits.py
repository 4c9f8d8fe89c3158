"""What a key may do. Pure; the store keeps it as JSON, `router keys` and the HTTP API read it strictly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Success = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class BadLimits(ValueError):  # noqa: N818
    """Limits that cannot be; `field` names the one that is wrong."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


@dataclass(frozen=True)
class Limits:
    """
    What a key may do; None and empty: no limit.

    Budgets are USD a day, a month (both of the calendar, UTC) and in all. Rates hold over any 60 seconds; `concurrent`
    is of requests under way. `models` and `deny` are names of the fleet, with * and ? as in file names. `beta_min` and
    `beta_max` bound every request's β. `min_success` is the target of requests that bring neither one nor a β, and name
    no preset with either. `max_cost_usd` is of one request. `pace` moves β so that the month's spend lands on its
    budget. `expires_at` is in Unix seconds. `cache_ttl_s` is how long a reply may answer the same request of this key
    again.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    day_usd: Usd | None = None
    month_usd: Usd | None = None
    total_usd: Usd | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None
    models: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    deny: tuple[Name, ...] = ()
    beta_min: Share = 0.0
    beta_max: Share = 1.0
    min_success: Success | None = None
    max_cost_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    pace: bool = False
    expires_at: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    cache_ttl_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def __post_init__(self) -> None:
        if self.beta_min > self.beta_max:
            raise ValueError("beta_min should not be above beta_max")
        if self.pace and self.month_usd is None:
            raise ValueError("pace needs month_usd, the budget to land on")
        if self.pace and self.min_success is not None:
            raise ValueError("pace moves β, before which min_success goes: a key has one of them")

    def allowed(self, fleet: Iterable[str]) -> tuple[str, ...] | None:
        """Which of these models the key may ask; None: all."""
        if self.models is None and not self.deny:
            return None
        return tuple(name for name in fleet if self.allows(name))

    def allows(self, model: str) -> bool:
        """Whether the key may ask this model."""
        listed = self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)
        return listed and not any(fnmatchcase(model, pattern) for pattern in self.deny)

    def bounded(self, beta: float) -> float:
        """β within the key's bounds."""
        return min(self.beta_max, max(self.beta_min, beta))

    def expired(self, now: float) -> bool:
        """Whether the key's time is over at `now`, in Unix seconds."""
        return self.expires_at is not None and self.expires_at <= now

    def to_json(self) -> dict[str, Any]:
        """Those that are set."""
        return {name: value for name, value in asdict(self).items() if value != getattr(NONE, name)}


NONE = Limits()
NAMES = tuple(field.name for field in fields(Limits))


def read_limits(given: Mapping[str, Any]) -> Limits:
    """The limits that a JSON object says. Raises `BadLimits`, which names the field."""
    try:
        return _adapter().validate_json(
            orjson.dumps(given)
        )  # JSON, since strict Python would want Limits itself
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "unexpected_keyword_argument":
            message = f"there is no such limit; there are {', '.join(NAMES)}"
        raise BadLimits(field, message) from None


def check_name(name: str) -> str:
    """A name that a new key may have. Raises `BadLimits`."""
    if not name or len(name) > 128 or not name.isascii() or not name.isprintable() or set(name) & set("/ "):
        raise BadLimits("name", "should be 1 to 128 visible ASCII characters without / or space")
    return name


def schema() -> dict[str, Any]:
    """The JSON schema of limits, for the OpenAPI document."""
    return _adapter().json_schema()


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Limits]:
    return TypeAdapter(Limits)
