"""results.json: what a sweep found, as a versioned schema.

Figures that do not exist (a model with one class only, no cost) are null. An interval is [low, high], the 95%
percentile bootstrap over prompts and seeds. `docs/benchmarks.md` has the formulas and their sources.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.outcomes import OutcomesError

SCHEMA_VERSION: Literal[1] = 1
RESULTS = "results.json"
DECISIONS = "decisions.parquet"

Interval = tuple[float, float]


class Entry(BaseModel):
    """No unknown key, nothing changed after it was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Excluded(Entry):
    """What was left out, filled in or estimated, and why."""

    what: str
    why: str
    count: int


class Point(Entry):
    """One operating point: means over the test prompts, then over the seeds."""

    beta: float | None = Field(description="β in [0, 1]; null where the line has no such knob")
    accuracy: float
    accuracy_interval: Interval | None
    cost: float = Field(description="realised, mean of a prompt, in the part's cost_unit")
    cost_interval: Interval | None
    regret: float | None = Field(description="mean of max r_β − r_β of the choice")
    share: dict[str, float] = Field(description="of the prompts that each model got")


class Bin(Entry):
    """Calibration: the pairs whose predicted success fell into one bin."""

    predicted: float
    observed: float
    count: int


class NewModels(Entry):
    """What it took to bring in the left-out models together."""

    seconds: float
    outcomes: int = Field(description="of each left-out model that the router was given")
    refitted: bool = Field(description="the router had to be fitted again from nothing")


class Peak(Entry):
    """As published elsewhere: the operating point chosen on the test set itself. Not for claims."""

    perf_gain: float | None
    cost_save: float | None


class RouterResult(Entry):
    """One router, or one line without learning, on one fleet."""

    learns: bool
    takes_new_models: bool | None = None
    sees_test: bool = Field(
        default=False, description="an oracle: chosen with the test scores, no router can be held to it"
    )
    points: list[Point]
    accuracy: float = Field(description="at the largest β")
    cost: float = Field(description="at the largest β")
    aiq: float | None
    hypervolume: float | None
    pareto_dist: float | None = None
    perf_gain: float | None = Field(default=None, description="β chosen on validation")
    cost_save: float | None = Field(default=None, description="β chosen on validation; null: none is as good")
    cost_save_accuracy: float | None = Field(
        default=None, description="test accuracy at that β less the best single's: whether the promise held"
    )
    gap_closed: float | None = Field(default=None, description="at the β of perf_gain")
    regret: float | None = Field(default=None, description="mean over β")
    model_recall: float | None = Field(default=None, description="at the largest β")
    auc: float | None = None
    pairwise: float | None = None
    mse: float | None = None
    ece: float | None = None
    decide_us: float | None = Field(
        default=None, description="microseconds a prompt in one batch, without its embedding"
    )
    fit_s: float | None = None
    peak_mb: float | None = Field(default=None, description="largest resident memory while the cell ran")
    new_models: NewModels | None = None
    intervals: dict[str, Interval] = Field(default_factory=dict, description="of the figures above, by name")
    to_v0: dict[str, tuple[float, float, float]] = Field(
        default_factory=dict, description="this less V0, paired: mean, low, high, by figure"
    )
    by_seed: dict[str, list[float | None]] = Field(
        default_factory=dict, description="figures in order of seeds"
    )
    peak: Peak | None = None
    by_dataset: dict[str, float] = Field(default_factory=dict, description="accuracy at the largest β")
    calibration: list[Bin] = Field(default_factory=list)
    seeds: list[int] = Field(description="those that are finished")


class Part(Entry):
    """Every router on one fleet and one set of prompts, and beside them the lines that need no learning."""

    title: str
    fleet: list[str]
    cost_kind: str
    cost_unit: str
    cost_range: Interval = Field(
        description="of the single models' mean costs: the range of AIQ and hypervolume"
    )
    test_prompts: list[int] = Field(
        description="of each seed, those with an outcome of every model of the fleet"
    )
    few_solve: list[int] = Field(
        description="of each seed, those that few models solve: where recall is measured"
    )
    v0: str | None = Field(description="the router that to_v0 refers to")
    routers: dict[str, RouterResult]
    references: dict[str, RouterResult]
    exclusions: list[Excluded] = Field(default_factory=list)


class ModelEntry(Entry):
    """One model of the data. Prices in USD per million tokens, parameters in billions."""

    name: str
    input_price: float | None
    output_price: float | None
    parameters: float | None
    outcomes: int
    mean_score: float | None
    mean_cost: float | None


class DataEntry(Entry):
    """One dataset as it was read."""

    name: str
    path: str
    digest: str = Field(description="sha256 of prompts, models, scores and costs, shortened")
    prompts: int
    datasets: dict[str, int] = Field(description="prompts of each")
    models: list[ModelEntry]
    cost_kind: str
    exclusions: list[Excluded]


class Provenance(Entry):
    """Where the figures come from."""

    created: str = Field(description="ISO 8601, UTC")
    command: str
    git_commit: str | None
    versions: dict[str, str]
    machine: dict[str, str]
    wall_s: float = Field(
        description="of the runs that this result took together, this one and those before it"
    )
    peak_mb: float


class Failure(Entry):
    """A cell that could not be finished."""

    data: str
    router: str
    seed: int
    error: str


class OffPolicy(Entry):
    """One policy on logged traffic: mean, low and high by estimator, or why there is no estimate."""

    policy: str
    success: dict[str, tuple[float, float, float]] | None
    cost: dict[str, tuple[float, float, float]] | None = Field(description="USD a request")
    effective_rows: float | None = Field(
        description="N² / Σ_x Σ_a π² / p: so many rows of its own would say as much"
    )
    drawn_rows: float | None = Field(description="(Σ w)² / Σ w² of the weights that were drawn")
    rows: int | None
    unsupported: float | None = Field(
        description="share of the requests on which the log could not do the same"
    )
    refused: str | None


class LoggedModel(Entry):
    """One model in the routed decisions of a store."""

    candidate: int
    chosen: int
    scored: int = Field(description="of the chosen: an outcome came in")


class LoggedTraffic(Entry):
    """One store of the gateway."""

    store: str = Field(description="its file, or its URL without the password")
    decisions: int
    rows: int = Field(description="decisions that were the router's own and have an outcome")
    begin: str = Field(description="of these, ISO 8601, UTC")
    end: str
    exploration: float = Field(description="share of these that went to any candidate alike")
    models: dict[str, LoggedModel]
    policies: list[OffPolicy]
    exclusions: list[Excluded]


class Results(Part):
    """results.json. `routers` and `references` are those of the only dataset, or means over several."""

    schema_version: Literal[1] = SCHEMA_VERSION
    complete: bool = Field(description="every cell is finished")
    provenance: Provenance
    data: list[DataEntry]
    split: str
    seeds: list[int]
    betas: list[float]
    test_size: float
    context_size: int
    parts: dict[str, Part] = Field(
        default_factory=dict, description="each dataset where there are several; the left-out models alone"
    )
    failures: list[Failure] = Field(default_factory=list)
    off_policy: dict[str, LoggedTraffic] = Field(default_factory=dict, description="by gateway store")


def known(value: float) -> float | None:
    """A figure as JSON can hold it: None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


def known_interval(ends: Interval) -> Interval | None:
    """An interval as JSON can hold it."""
    return ends if all(map(math.isfinite, ends)) else None


def write(results: Results, folder: Path) -> Path:
    """Write results.json; a reader never sees half of one."""
    path = folder / RESULTS
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def read(path: Path) -> Results:
    """Read results.json, or the one in a folder. Raises `OutcomesError`."""
    file = path / RESULTS if path.is_dir() else path
    try:
        content: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise OutcomesError(f"cannot be read: {error.strerror or error}", file) from error
    except ValueError as error:
        raise OutcomesError(f"is not JSON: {error}", file) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise OutcomesError(f"has schema version {version!r}, this program reads {SCHEMA_VERSION}", file)
    try:
        return Results.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise OutcomesError(f"{where}: {first['msg']}", file) from error
