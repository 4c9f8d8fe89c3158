"""What `router-bench load` found: the figures of each round and their summary, as `--out` writes them.

A figure that cannot be known is null. Latencies are milliseconds, memory MiB; CPU and memory are of a gateway's whole
process tree. A summary's percentiles are over the requests of all rounds; its other figures are medians over rounds.
"""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.load.drive import Load

SCHEMA_VERSION: Literal[1] = 1
CONTENDED = 0.05  # of the machine's cores, used by others: from here on times are not ours alone
PERCENTILES = ("p50", "p95", "p99")
GATEWAY, VERSUS = "gateway", "versus"


class Entry(BaseModel):
    """No unknown key, nothing changed after it was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(Entry):
    """Percentiles over requests."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


class Round(Entry):
    """One round of one scenario: the mock alone, or a gateway before it."""

    ok: int
    errors: dict[str, int] = Field(description="failed requests by kind")
    elapsed_s: float = Field(description="from the first request to the last answer")
    requests_per_s: float = Field(description="answered ones")
    latency_ms: Spread | None
    first_token_ms: Spread | None = Field(description="when streaming")
    late_ms: Spread | None = Field(
        description="open loop: how long after it was due the generator sent a request; part of the latency"
    )
    cpu_ms: float | None = Field(description="of the gateway, each answered request")
    requests_per_core_s: float | None = Field(description="answered requests per CPU second of the gateway")
    peak_mib: float | None = Field(description="largest resident memory seen while it ran")
    cpu_load_ms: float | None = Field(description="of the generator, each answered request")
    cpu_mock_ms: float | None = Field(description="of the mock, each answered request")
    other_cores: float | None = Field(description="used meanwhile by processes that have no part in this")
    reached_mock: int | None = Field(description="chats that the mock answered meanwhile, warm-up included")
    sent: int = Field(description="chats that were asked for, warm-up included")


class Measured(Entry):
    """The rounds of one target in one scenario, and their summary."""

    rounds: list[Round]
    ok: int
    errors: dict[str, int]
    requests_per_s: float
    latency_ms: Spread | None
    first_token_ms: Spread | None
    late_ms: Spread | None
    added_ms: dict[str, float] | None = Field(
        description="latency percentiles less those of the mock alone: {p50, p95, p99}"
    )
    added_first_token_ms: dict[str, float] | None
    cpu_ms: float | None
    requests_per_core_s: float | None
    peak_mib: float | None = Field(description="largest of the rounds")
    other_cores: float | None = Field(description="largest of the rounds")
    contended: bool = Field(description="others used more than a twentieth of the machine in some round")


class Ratio(Entry):
    """The gateway's figure divided by the other's, each round by itself."""

    median: float
    low: float = Field(description="smallest of the rounds")
    high: float
    rounds: list[float]


class Scenario(Entry):
    """One way of asking."""

    title: str
    loop: Literal["closed", "open"]
    concurrency: int | None
    rate: float | None = Field(description="requests a second")
    stream: bool
    direct: Measured = Field(description="the mock without a gateway")
    gateways: dict[str, Measured] = Field(description="`gateway` and, if there are two, `versus`")
    ratios: dict[str, Ratio] = Field(description="by figure, gateway / versus")


class GatewayEntry(Entry):
    """What was measured, how it started, and what it holds when idle."""

    command: str | None = Field(description="as it was given, placeholders unfilled; null with --url")
    url: str | None
    model: str
    cold_start_s: list[float] = Field(description="process start to the first 200 of a chat, each start")
    cold_start_other_cores: list[float | None]
    ready_s: list[float] = Field(
        default=[], description="process start to V0 loaded, each start; our own gateway only"
    )
    idle_mib: float | None = Field(
        description="resident memory after the first answer, and after V0 is loaded"
    )
    context_rows: int | None = Field(description="outcomes in each model's context; our own gateway only")


class Upstream(Entry):
    """How the mock answered."""

    tokens: int
    first_byte_ms: float
    chunk_ms: float


class LoadReport(Entry):
    """Everything that `--out` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    versions: dict[str, str]
    system: str
    cores: int
    prompt_tokens: int
    same_prompt: bool
    upstream: Upstream
    gateways: dict[str, GatewayEntry]
    scenarios: list[Scenario]


def spread(values: Sequence[float]) -> Spread | None:
    """None of nothing."""
    if not values:
        return None
    p50, p95, p99 = (float(value) for value in np.quantile(np.asarray(values), (0.5, 0.95, 0.99)))
    return Spread(count=len(values), mean=statistics.fmean(values), p50=p50, p95=p95, p99=p99)


def a_round(load: Load, peak_mib: float | None, reached_mock: int | None, warm_up: int) -> Round:
    """A load as figures."""
    ok = len(load.latency_ms)

    def each_ms(seconds: float | None) -> float | None:
        return None if seconds is None or not ok else seconds * 1e3 / ok

    return Round(
        ok=ok,
        errors=load.errors,
        elapsed_s=load.elapsed_s,
        requests_per_s=ok / load.elapsed_s,
        latency_ms=spread(load.latency_ms),
        first_token_ms=spread(load.first_token_ms),
        late_ms=spread(load.late_ms),
        cpu_ms=each_ms(load.cpu_gateway_s),
        requests_per_core_s=ok / load.cpu_gateway_s if load.cpu_gateway_s else None,
        peak_mib=peak_mib,
        cpu_load_ms=each_ms(load.cpu_load_s),
        cpu_mock_ms=each_ms(load.cpu_mock_s),
        other_cores=load.other_cores,
        reached_mock=reached_mock,
        sent=load.sent + warm_up,
    )


def measured(loads: Sequence[Load], rounds: Sequence[Round], direct: Measured | None = None) -> Measured:
    """The summary of some rounds; `direct` is that of the mock alone, None where this is it."""
    latency = spread([ms for load in loads for ms in load.latency_ms])
    first_token = spread([ms for load in loads for ms in load.first_token_ms])
    others = [each.other_cores for each in rounds if each.other_cores is not None]
    peaks = [each.peak_mib for each in rounds if each.peak_mib is not None]
    errors: dict[str, int] = {}
    for each in rounds:
        for kind, count in each.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    return Measured(
        rounds=list(rounds),
        ok=sum(each.ok for each in rounds),
        errors=errors,
        requests_per_s=statistics.median(each.requests_per_s for each in rounds),
        latency_ms=latency,
        first_token_ms=first_token,
        late_ms=spread([ms for load in loads for ms in load.late_ms]),
        added_ms=added(latency, direct.latency_ms if direct else None),
        added_first_token_ms=added(first_token, direct.first_token_ms if direct else None),
        cpu_ms=median([each.cpu_ms for each in rounds]),
        requests_per_core_s=median([each.requests_per_core_s for each in rounds]),
        peak_mib=max(peaks, default=None),
        other_cores=max(others, default=None),
        contended=contended(max(others, default=None)),
    )


def contended(other_cores: float | None) -> bool:
    """Whether others kept so much of this machine busy that times are not the gateway's alone."""
    return other_cores is not None and other_cores > CONTENDED * (os.cpu_count() or 1)


def added(through: Spread | None, direct: Spread | None) -> dict[str, float] | None:
    """The difference of the percentiles, which is not the percentile of the difference."""
    if through is None or direct is None:
        return None
    return {name: getattr(through, name) - getattr(direct, name) for name in PERCENTILES}


def figures(each: Round, direct: Round) -> dict[str, float]:
    """A round's figures by the names that tables have for them, those that are known."""
    found: dict[str, float | None] = {
        "requests/s": each.requests_per_s,
        "requests/s per core": each.requests_per_core_s,
        "CPU ms/request": each.cpu_ms,
        "peak MiB": each.peak_mib,
    }
    for title, through, alone in (
        ("latency", each.latency_ms, direct.latency_ms),
        ("first token", each.first_token_ms, direct.first_token_ms),
    ):
        found |= {f"{title} {name}": getattr(through, name, None) for name in PERCENTILES}
        found |= {f"added {title} {name}": value for name, value in (added(through, alone) or {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def ratios(ours: Measured, theirs: Measured, direct: Measured) -> dict[str, Ratio]:
    """Gateway / versus by figure; only figures that both have, above 0, in every round."""
    pairs = [
        (figures(a, alone), figures(b, alone))
        for a, b, alone in zip(ours.rounds, theirs.rounds, direct.rounds, strict=True)
    ]
    return {
        name: ratio([a[name] / b[name] for a, b in pairs])
        for name in pairs[0][0]
        if all(a.get(name, 0) > 0 and b.get(name, 0) > 0 for a, b in pairs)
    }


def ratio(by_round: Sequence[float]) -> Ratio:
    """The median and how far the rounds lie apart."""
    return Ratio(
        median=statistics.median(by_round), low=min(by_round), high=max(by_round), rounds=list(by_round)
    )


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None of nothing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
