"""What `router-bench load` is told: which gateways, how they are asked, how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args
from urllib.parse import urlsplit

from benchmarks.load import gateways, processes
from benchmarks.load.drive import Arrivals
from benchmarks.load.report import GATEWAY, VERSUS, Upstream
from benchmarks.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Number = TypeVar("Number", int, float)

CONCURRENCY = "1,8"
DURATION_S = 5.0


@dataclass(frozen=True)
class Target:
    """One gateway to measure: by its command, by the address at which it already runs, or else our own."""

    name: str
    command: str | None
    url: str | None
    pid: int | None  # of the one at `url`, where it is known
    model: str
    key: str | None


@dataclass(frozen=True)
class Loop:
    """One way of asking: a closed loop of so many clients, or an open one of so many requests a second."""

    concurrency: int | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that decides what is measured; one of `requests` and `duration_s` is set."""

    targets: tuple[Target, ...]
    loops: tuple[Loop, ...]
    arrivals: Arrivals
    requests: int | None
    duration_s: float | None
    stream: bool
    prompt_tokens: int
    same_prompt: bool
    rounds: int
    starts: int
    contexts: int  # outcomes for each model of our own gateway
    warm_up: int
    timeout_s: float
    start_timeout_s: float
    mock_port: int | None
    upstream: Upstream
    pin: bool = False  # each gateway alone on the last core


def settings(options: Mapping[str, Any]) -> Settings:
    """The command line's options (None: not given) as settings. Raises `SettingsError`."""
    given = {name: value for name, value in options.items() if value is not None}
    _agree(given)
    if "rate" in given:
        loops = tuple(Loop(rate=rate) for rate in _numbers("--rate", given["rate"], float))
    else:
        counts = _numbers("--concurrency", given.get("concurrency", CONCURRENCY), int)
        loops = tuple(Loop(concurrency=count) for count in counts)
    return Settings(
        targets=_targets(given),
        loops=loops,
        arrivals=given["arrivals"],
        requests=given.get("requests"),
        duration_s=None if "requests" in given else given.get("duration", DURATION_S),
        stream=given["stream"],
        prompt_tokens=given["prompt_tokens"],
        same_prompt=given["same_prompt"],
        rounds=given["rounds"],
        starts=given["starts"],
        contexts=given["contexts"],
        warm_up=given["warm_up"],
        timeout_s=given["timeout"],
        start_timeout_s=given["start_timeout"],
        mock_port=given.get("mock_port"),
        upstream=Upstream(
            tokens=given["tokens"], first_byte_ms=given["first_byte_ms"], chunk_ms=given["chunk_ms"]
        ),
        pin=given.get("pin", False),
    )


def _agree(given: Mapping[str, Any]) -> None:
    """Raises `SettingsError` where two options contradict each other, or one has no use."""
    for one, other in (("gateway", "url"), ("requests", "duration"), ("rate", "concurrency")):
        if one in given and other in given:
            raise SettingsError(f"--{one} and --{other}: one of them, not both")
    if given.get("pin") and not processes.can_pin():
        raise SettingsError("--pin: it takes Linux and two cores at the least")
    if "pid" in given and "url" not in given:
        raise SettingsError("--pid: it is the process behind --url; without --url it is known")
    if given["contexts"] and ("gateway" in given or "url" in given):
        raise SettingsError("--contexts: it fills those of our own gateway, not of another one")
    if "url" in given and "mock_port" not in given:
        raise SettingsError("--url: --mock-port is needed, the port at which that gateway will find the mock")
    for option in ("versus_model", "versus_key"):
        if option in given and "versus" not in given:
            raise SettingsError(f"--{option.replace('_', '-')}: there is no --versus")
    if given["arrivals"] not in get_args(Arrivals):
        raise SettingsError(f"--arrivals: {given['arrivals']!r} is none of {', '.join(get_args(Arrivals))}")


def _targets(given: Mapping[str, Any]) -> tuple[Target, ...]:
    for option in ("gateway", "versus"):
        if option in given:
            try:
                gateways.split(given[option])
            except ValueError as error:
                raise SettingsError(f"--{option}: {error}") from None
    model, key = given["model"], given.get("key")
    url = _base(given["url"]) if "url" in given else None
    first = Target(GATEWAY, given.get("gateway"), url, given.get("pid"), model, key)
    if "versus" not in given:
        return (first,)
    theirs = given.get("versus_model", model), given.get("versus_key", key)
    return first, Target(VERSUS, given["versus"], None, None, *theirs)


def _base(url: str) -> str:
    """A gateway's address without the paths that people copy along with it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(f"--url: {url!r} is no http address, such as http://127.0.0.1:8000")
    return url.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1").rstrip("/")


def _numbers(option: str, told: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    """ "1,8" is two numbers."""
    try:
        numbers = tuple(dict.fromkeys(kind(part) for part in told.split(",") if part.strip()))
    except ValueError:
        raise SettingsError(f"{option}: {told!r} is no list of numbers, such as 1,8") from None
    if not numbers or not all(0 < number < float("inf") for number in numbers):
        raise SettingsError(f"{option}: {told!r}: numbers above 0 are needed")
    return numbers
