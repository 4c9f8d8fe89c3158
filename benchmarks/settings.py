"""What a sweep is told: the command line's options, the same in a YAML file, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field

from benchmarks.splits import Kind
from router import yaml_tree
from router.config_schema import Section, check, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from router.yaml_tree import Problem

Device = Literal["auto", "cpu", "cuda"]
DEVICES = get_args(Device)
BETAS = 21
SEEDS = 3
OUT = Path("bench-results")
REFERENCES = ("random", "cheapest", "best-single", "per-dataset-best")
"""Routers that do not learn from the prompt. They are in every result, asked for or not."""


class SettingsError(ValueError):
    """Settings that cannot be used; each line of the message says what and where."""


class SweepSection(Section):
    """The keys of a sweep's YAML file, which are the options of `router-bench sweep`."""

    data: list[str] | str | None = None
    out: str | None = None
    routers: list[str] | str | None = None
    models: list[str] | str | None = None
    betas: int | float | list[float] | None = None
    split: Kind | None = None
    context_size: Annotated[int, Field(ge=1)] | None = None
    seeds: int | list[int] | None = None
    test_size: Annotated[float, Field(gt=0, lt=0.9)] | None = None
    device: Device | None = None
    jobs: Annotated[int, Field(ge=1)] | None = None
    tabpfn: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that decides a sweep's figures, and where they go."""

    data: tuple[str, ...] = ("nano",)
    out: Path = OUT
    routers: tuple[str, ...] = ("all",)  # names or patterns such as "v0-*"
    models: tuple[str, ...] = ()  # names or patterns; none: every model
    betas: tuple[float, ...] = tuple(float(beta) for beta in np.linspace(0, 1, BETAS))
    split: Kind = "prompts"
    context_size: int = 256  # outcomes of each left-out model that routers are given
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    test_size: float = 0.2
    device: Device = "auto"
    jobs: int = 1
    tabpfn: Path | None = None
    weights: Path | None = None  # V0's; None: the shipped ones


def settings(options: Mapping[str, Any], config: Path | None = None) -> Settings:
    """
    The settings of some options (None: not given) over those of a file over the defaults.

    Values may be words of the command line or values of YAML. Raises `SettingsError`.
    """
    told: dict[str, Any] = {} if config is None else read_config(config)
    told.update({name: value for name, value in options.items() if value is not None})
    parse: dict[str, Callable[[Any], Any]] = {
        "data": lambda value: tuple(_words(value, split=False)),
        "out": Path,
        "routers": lambda value: tuple(_words(value)),
        "models": lambda value: tuple(_words(value)),
        "betas": parse_betas,
        "seeds": parse_seeds,
        "tabpfn": Path,
        "weights": Path,
    }
    made = Settings(**{name: parse[name](value) if name in parse else value for name, value in told.items()})
    for name, allowed in (("split", get_args(Kind)), ("device", DEVICES)):
        if getattr(made, name) not in allowed:
            raise SettingsError(f"{name}: {getattr(made, name)!r} is none of {', '.join(allowed)}")
    if not made.data:
        raise SettingsError("data: name one dataset at least")
    if not 0 < made.test_size < 0.9:
        raise SettingsError(f"test size: {made.test_size:g} is not between 0 and 0.9")
    for name, path in (("tabpfn", made.tabpfn), ("weights", made.weights)):
        if path is not None and not path.is_file():
            raise SettingsError(f"{name}: {path} does not exist")
    return made


def read_config(path: Path) -> dict[str, Any]:
    """The keys that a YAML file sets. Raises `SettingsError` with every problem, each as file:line."""
    tree, problems = yaml_tree.read(path)
    section, sound = check(SweepSection, tree, str(path), (), problems)
    for name, parse in (("betas", parse_betas), ("seeds", parse_seeds)):
        try:
            if sound.get(name) is not None:
                parse(sound[name])
        except SettingsError as error:
            problems.append(yaml_tree.Problem(str(path), tree.line((name,)), str(error)))
    if problems or section is None:
        raise SettingsError(_said(problems))
    return {name: value for name, value in section.model_dump().items() if value is not None}


def parse_betas(value: str | float | Sequence[float]) -> tuple[float, ...]:
    """
    "21" is 21 values from 0 to 1, "0,0.5,1" are three, "0.5" is one. Ascending, each once.

    1 is β = 1; 0 is β = 0.
    """
    numbers = _numbers("betas", value)
    if len(numbers) == 1 and numbers[0] > 1:
        if numbers[0] != int(numbers[0]):
            raise SettingsError(f"betas: {numbers[0]:g} is neither a count nor a β in [0, 1]")
        return tuple(float(beta) for beta in np.linspace(0, 1, int(numbers[0])))
    outside = [number for number in numbers if not 0 <= number <= 1]
    if outside:
        raise SettingsError(f"betas: {outside[0]:g} is not in [0, 1]")
    return tuple(sorted(set(numbers)))


def parse_seeds(value: str | int | Sequence[int]) -> tuple[int, ...]:
    """A single number is a count: "3" is 0, 1, 2. A list is taken as it is: "42,999", and "7," is 7 alone."""
    is_list = "," in value if isinstance(value, str) else not isinstance(value, int)
    numbers = _numbers("seeds", value)
    if any(number != int(number) or number < 0 for number in numbers):
        raise SettingsError("seeds: whole numbers from 0 on are needed")
    if is_list:
        return tuple(dict.fromkeys(int(number) for number in numbers))
    if numbers[0] < 1:
        raise SettingsError("seeds: one at least is needed")
    return tuple(range(int(numbers[0])))


def pick(patterns: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """The known names that match the patterns, in their known order. Raises `SettingsError` for one without match."""
    from fnmatch import fnmatchcase

    wanted: set[str] = set()
    for pattern in patterns:
        matching = {name for name in known if pattern in ("all", name) or fnmatchcase(name, pattern)}
        if not matching:
            meant = suggest(pattern, tuple(known))
            hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(known)}"
            raise SettingsError(f"no {what} is called {pattern!r}; {hint}")
        wanted |= matching
    return [name for name in known if name in wanted]


def _words(value: str | Sequence[str], split: bool = True) -> list[str]:
    values = [value] if isinstance(value, str) else list(value)
    words = [word.strip() for entry in values for word in (entry.split(",") if split else [entry])]
    return [word for word in words if word]


def _numbers(name: str, value: str | float | Sequence[float]) -> list[float]:
    if isinstance(value, (int, float)):
        return [float(value)]
    words = [word for word in value.split(",") if word.strip()] if isinstance(value, str) else list(value)
    try:
        numbers = [float(word) for word in words]
    except (TypeError, ValueError):
        raise SettingsError(f"{name}: {value!r} is neither a number nor a list of numbers") from None
    if not numbers or not np.isfinite(numbers).all():
        raise SettingsError(f"{name}: one finite number at least is needed")
    return numbers


def _said(problems: Sequence[Problem]) -> str:
    return "\n".join(str(problem) for problem in sorted(problems))
