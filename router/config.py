"""
router.yaml as frozen, typed settings.

Reading a file finds everything that is wrong with it at once, each problem with its line. Nothing is opened,
called or imported that is slow: a file is read again whenever it changes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from fleet.breaker import BreakerSettings
from fleet.model import Model, Prices, Timeouts
from fleet.prices import (
    known_abilities,
    known_context_window,
    known_max_output_tokens,
    known_prices,
)
from fleet.providers.catalog import KNOWN_PROVIDERS, base_url, default_key_env, kind
from fleet.providers.keys import find_key, find_key_in
from fleet.replay import REPLAY_MODELS
from router import yaml_tree
from router.config_schema import (
    BreakerSection,
    FleetSection,
    PresetSection,
    PricesSection,
    RetriesSection,
    Root,
    ServerSection,
    SessionsSection,
    StoreSection,
    TimeoutsSection,
    ValueSection,
    check,
    spell,
    suggest,
    visible_name,
)
from router.failover import Retries
from router.sessions import SessionSettings
from router.value_settings import TabpfnSettings, tabpfn_problems, tabpfn_settings
from router.yaml_tree import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.config_schema import S
    from router.yaml_tree import Location, Tree

__all__ = [
    "ConfigError",
    "Preset",
    "Problem",
    "Reading",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "ValueSettings",
    "load",
    "read",
]

_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True)
class ServerSettings:
    """
    Where the gateway listens, how large a body it takes, whether callers need a key of ours, how it logs, and how many
    seconds replies under way have when it is told to end.

    `require_key` None: once there is or ever was one. `cors_origins`: the web pages that may call, "*" for all.
    """

    host: str
    port: int
    max_body_mb: float
    require_key: bool | None
    log: Literal["text", "json"] = "text"
    drain_s: int = 30
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreSettings:
    """The database, and whether it keeps the text of prompts. The URL may hold a password: it is not shown."""

    url: str = field(repr=False)
    store_prompts: bool


@dataclass(frozen=True)
class ValueSettings:
    """V0's weights (None: those in the package), backbone (None: the weights' own), device, head and precision."""

    weights: Path | None
    backbone: str | None
    device: Literal["auto", "cpu", "cuda"]
    tabpfn: TabpfnSettings | None = None  # None: the head is ours
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # of the backbone, on a CPU
    off: bool = False  # nothing is loaded, and only named models are served


@dataclass(frozen=True)
class Preset:
    """A routed request's β or `min_success` (None: the file's), its limits, and who may answer (None: everybody)."""

    beta: float | None = None
    models: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    regions: tuple[str, ...] | None = None
    min_success: float | None = None
    max_cost_usd: float | None = None


@dataclass(frozen=True)
class Settings:
    """
    Everything that router.yaml says, with its defaults. `path` is the file, absolute, and so is `prices`, a second
    file with nothing but prices.
    """

    fleet: tuple[Model, ...]
    beta: float
    exploration: float
    combine: Literal["separate", "weighted"]
    context_size: int
    server: ServerSettings
    store: StoreSettings
    value: ValueSettings
    timeouts: Timeouts
    path: Path
    presets: Mapping[str, Preset] = field(default_factory=dict)
    min_success: float | None = None
    max_cost_usd: float | None = None
    regions: tuple[str, ...] | None = None
    retries: Retries = field(default_factory=Retries)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    prices: Path | None = None


class ConfigError(Exception):
    """A file that cannot be used; `problems` in the order of its lines."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True)
class Reading:
    """What could be read of a file: `settings` only if nothing is wrong, `models` those that are described well."""

    settings: Settings | None
    models: tuple[Model, ...]
    problems: tuple[Problem, ...]


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in a file. Raises ConfigError with every problem at once."""
    reading = read(path, environ)
    if reading.settings is None:
        raise ConfigError(list(reading.problems))
    return reading.settings


def read(path: Path, environ: Mapping[str, str] = os.environ) -> Reading:
    """The settings in a file and what is wrong with it. Relative paths in it are relative to its folder."""
    tree, problems = yaml_tree.read(path)
    if not problems or tree.lines:
        return _Reader(path, tree, environ, problems).read()
    return Reading(None, (), tuple(problems))


class _Reader:
    """One pass over one file."""

    def __init__(self, path: Path, tree: Tree, environ: Mapping[str, str], problems: list[Problem]) -> None:
        self._path = path.absolute()
        self._file = str(path)
        self._tree = tree
        self._environ = environ
        self._problems = problems

    def read(self) -> Reading:
        if not isinstance(self._tree.value, dict):
            self._add((), "the file should be a mapping with the keys " + ", ".join(Root.model_fields))
            return self._done(None, ())
        root, _ = self._check(Root, ())
        self._priced = self._prices()
        described = tuple(self._fleet())
        models = tuple(model for model, _ in described)
        presets = self._presets()
        server, _ = self._check(ServerSection, ("server",))
        store = self._store()
        value = self._value()
        timeouts, _ = self._check(TimeoutsSection, ("timeouts",))
        retries, _ = self._check(RetriesSection, ("retries",))
        breaker, _ = self._check(BreakerSection, ("breaker",))
        sessions, _ = self._check(SessionsSection, ("sessions",))
        if (
            root is None
            or server is None
            or store is None
            or value is None
            or timeouts is None
            or retries is None
            or breaker is None
            or sessions is None
        ):
            return self._done(None, models)
        all_timeouts = Timeouts(**timeouts.model_dump())
        settings = Settings(
            fleet=tuple(_with_timeouts(model, given, all_timeouts) for model, given in described),
            beta=root.beta,
            exploration=root.exploration,
            combine=root.combine,
            context_size=root.context_size,
            server=ServerSettings(**{**server.model_dump(), "cors_origins": tuple(server.cors_origins)}),
            store=store,
            value=value,
            timeouts=all_timeouts,
            path=self._path,
            presets=presets,
            min_success=root.min_success,
            max_cost_usd=root.max_cost_usd,
            regions=_tuple(root.regions),
            retries=Retries(**retries.model_dump()),
            breaker=BreakerSettings(**breaker.model_dump()),
            sessions=SessionSettings(**sessions.model_dump()),
            prices=self._prices_file(),
        )
        return self._done(settings, models)

    def _done(self, settings: Settings | None, models: tuple[Model, ...]) -> Reading:
        return Reading(None if self._problems else settings, models, tuple(sorted(set(self._problems))))

    def _add(self, location: Location, message: str) -> None:
        self._problems.append(Problem(self._file, self._tree.line(location), message))

    def _check(self, schema: type[S], location: Location) -> tuple[S | None, Mapping[str, Any]]:
        return check(schema, self._tree, self._file, location, self._problems)

    def _fleet(self) -> Iterator[tuple[Model, dict[str, float]]]:
        """The models that are described well, each with the timeouts that it has of its own."""
        entries = self._tree.value.get("fleet")
        if entries is None or entries == []:
            self._add(("fleet",), "fleet lists no model")
            return
        if not isinstance(entries, list):
            self._add(("fleet",), "fleet should be a list, each model beginning with '- name:'")
            return
        self._report_repeated_names(entries)
        for index, entry in enumerate(entries):
            section, sound = self._check(FleetSection, ("fleet", index))
            if "target" not in sound:
                continue
            if all(key in sound or key not in entry for key in ("api_base", "api_key_env", "api_key_file")):
                self._check_provider(index, sound)
                self._check_key(index, sound)
            prices = self._priced.get(str(sound.get("name"))) or self._priced.get(sound["target"])
            if prices is None and entry.get("prices") is None:
                prices = self._known_prices(index, sound["target"])
            if section is not None and section.prices is not None:
                prices = Prices(**section.prices.model_dump())
            if section is not None and prices is not None:
                own = section.timeouts.model_dump(exclude_none=True) if section.timeouts else {}
                yield _model(section, prices, self._path), own

    def _prices_file(self) -> Path | None:
        named = self._tree.value.get("prices")
        return self._path.parent / Path(named).expanduser() if isinstance(named, str) and named else None

    def _prices(self) -> dict[str, Prices]:
        """What the file of prices says, by a model's name or target."""
        file = self._prices_file()
        if file is None:
            return {}
        tree, problems = yaml_tree.read(file)
        self._problems += problems
        if not isinstance(tree.value, dict):
            self._problems.append(Problem(str(file), 1, "should be a mapping, each a model with its prices"))
            return {}
        found = {}
        for name in tree.value:
            section, _ = check(PricesSection, tree, str(file), (name,), self._problems)
            if section is not None:
                found[name] = Prices(**section.model_dump())
        return found

    def _presets(self) -> dict[str, Preset]:
        entries = self._tree.value.get("presets")
        if entries is None:
            return {}
        if not isinstance(entries, dict):
            self._add(("presets",), "presets should be a mapping, each a name with beta and models")
            return {}
        fleet = self._tree.value.get("fleet")
        named = (
            [entry.get("name") for entry in fleet or () if isinstance(entry, dict)]
            if isinstance(fleet, list)
            else []
        )
        return {name: self._preset(name, named) for name in entries}

    def _preset(self, name: str, fleet: list[object]) -> Preset:
        place = ("presets", name)
        try:
            visible_name(name)
        except ValueError as error:
            self._add(place, f"{spell(place)} {error}")
        if name in fleet:
            self._add(place, f"{spell(place)} is the name of a model of the fleet; choose another")
        section, _ = self._check(PresetSection, place)
        if section is None:
            return Preset()
        for key, models in (("models", section.models or ()), ("exclude", section.exclude)):
            for index, model in enumerate(models):
                if model not in fleet:
                    known = tuple(each for each in fleet if isinstance(each, str))
                    meant = suggest(model, known)
                    hint = f"did you mean {meant!r}?" if meant else f"it has {', '.join(known)}"
                    message = f"{spell(place)}: the fleet has no model {model!r}; {hint}"
                    self._add((*place, key, index), message)
        return Preset(
            beta=section.beta,
            models=_tuple(section.models),
            exclude=tuple(section.exclude),
            regions=_tuple(section.regions),
            min_success=section.min_success,
            max_cost_usd=section.max_cost_usd,
        )

    def _report_repeated_names(self, entries: list[object]) -> None:
        first_lines: dict[str, int] = {}
        for index, entry in enumerate(entries):
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str):
                place = ("fleet", index, "name")
                if name in first_lines:
                    self._add(
                        place, f"two models are called {name!r}; the first is on line {first_lines[name]}"
                    )
                first_lines.setdefault(name, self._tree.line(place))

    def _check_provider(self, index: int, entry: Mapping[str, Any]) -> None:
        target, api_base = entry["target"], entry.get("api_base")
        place = ("fleet", index, "target")
        provider, _, name = target.partition("/")
        spoken = kind(target, api_base)
        if spoken == "openai_compatible" and base_url(target, api_base) is None:
            self._add(place, f"{target} needs api_base, like http://localhost:8001/v1")
        if spoken == "replay" and name not in REPLAY_MODELS:
            known = ", ".join(REPLAY_MODELS)
            self._add(place, f"there is no simulated model {name!r}; there are {known}")
        if spoken == "litellm" and provider not in KNOWN_PROVIDERS:
            meant = suggest(provider, tuple(KNOWN_PROVIDERS), cutoff=0.8)
            if meant is not None:
                self._add(place, f"unknown provider {provider!r}; did you mean {meant}/{name}?")

    def _check_key(self, index: int, entry: Mapping[str, Any]) -> None:
        if entry.get("api_key_file") is not None:
            self._check_key_file(index, entry)
            return
        named = entry.get("api_key_env")
        place = ("fleet", index, "api_key_env")
        variable = named or default_key_env(entry["target"], entry.get("api_base"))
        if variable is None or find_key(variable, self._environ) is not None:
            return
        state = "holds no usable key" if self._environ.get(variable) else "is not set"
        self._add(
            place if named else ("fleet", index, "target"),
            f"{entry['target']} takes its key from the environment variable {variable}, which {state}",
        )

    def _check_key_file(self, index: int, entry: Mapping[str, Any]) -> None:
        place = ("fleet", index, "api_key_file")
        if entry.get("api_key_env") is not None:
            self._add(place, f"{spell(place)}: name a file or a variable (api_key_env), not both")
        if find_key_in(_key_file(self._path, entry["api_key_file"])) is None:
            self._add(
                place, f"{spell(place)}: {entry['api_key_file']} holds no usable key, or cannot be read"
            )

    def _known_prices(self, index: int, target: str) -> Prices | None:
        """The prices of an entry that gives none; None after saying that nobody knows them."""
        provider, _, name = target.partition("/")
        if provider == "replay":
            return REPLAY_MODELS[name].prices if name in REPLAY_MODELS else None
        prices = known_prices(target)
        if prices is None:
            place = ("fleet", index)
            message = f"{spell(place)} needs prices: {{input: …, output: …}} in USD per million tokens"
            self._add(place, f"{message}; none are known for {target}")
        return prices

    def _store(self) -> StoreSettings | None:
        section, sound = self._check(StoreSection, ("store",))
        url = str(sound.get("url") or StoreSection().url)
        if url.startswith(_SQLITE):
            file = self._path.parent / url.removeprefix(_SQLITE)
            if not file.parent.is_dir():
                self._add(("store", "url"), f"store.url: the folder {file.parent} does not exist")
            url = f"{_SQLITE}{file}"
        return StoreSettings(url, section.store_prompts) if section else None

    def _value(self) -> ValueSettings | None:
        section, sound = self._check(ValueSection, ("value",))
        weights, backbone = sound.get("weights"), sound.get("backbone")
        if weights is not None:
            weights = self._path.parent / Path(weights).expanduser()
            if not weights.exists():
                self._add(("value", "weights"), f"value.weights: there is no file {weights}")
            elif not os.access(weights, os.R_OK):
                self._add(("value", "weights"), f"value.weights: {weights} cannot be read")
        if backbone is not None and backbone.startswith((".", "/", "~")):
            backbone = str(self._path.parent / Path(backbone).expanduser())
            if not Path(backbone).is_dir():
                self._add(("value", "backbone"), f"value.backbone: there is no folder {backbone}")
        if section is None:
            return None
        tabpfn, off = self._tabpfn(section), section.head == "none"
        return ValueSettings(weights, backbone, section.device, tabpfn, section.precision, off)

    def _tabpfn(self, section: ValueSection) -> TabpfnSettings | None:
        """What the file says about TabPFN; None where it is not the head, or after saying what is wrong."""
        if section.head != "tabpfn":
            return None
        problems = list(tabpfn_problems(section, self._path.parent))
        for location, message in problems:
            self._add(("value", *location), message)
        return None if problems else tabpfn_settings(section.tabpfn, self._path.parent)


def _with_timeouts(model: Model, own: Mapping[str, float], everybodys: Timeouts) -> Model:
    return replace(model, timeouts=replace(everybodys, **own)) if own else model


def _tuple(words: list[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def _known_abilities(target: str) -> frozenset[str]:
    return frozenset({"completions"}) if target.startswith("replay/") else known_abilities(target)


def _key_file(path: Path, named: str) -> str:
    """A key's file, named in router.yaml at `path`."""
    return str(path.parent / Path(named).expanduser())


def _model(section: FleetSection, prices: Prices, path: Path) -> Model:
    """The model of an entry, its gaps filled from what litellm knows."""
    target = section.target
    key_file = _key_file(path, section.api_key_file) if section.api_key_file else None
    abilities = section.abilities
    return Model(
        name=section.name,
        target=target,
        prices=prices,
        api_base=section.api_base,
        api_key_env=None if key_file else section.api_key_env or default_key_env(target, section.api_base),
        api_key_file=key_file,
        parameter_ratio=section.parameter_ratio,
        context_window=section.context_window or known_context_window(target),
        abilities=_known_abilities(target) if abilities is None else frozenset(abilities),
        max_output_tokens=section.max_output_tokens or known_max_output_tokens(target),
        regions=frozenset(section.regions or ()),
    )
