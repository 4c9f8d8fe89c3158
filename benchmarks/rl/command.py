"""`router-bench rl`: every method under every seed, one file a run; then the comparison and its pictures."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rl.methods import METHODS, V0Values
from benchmarks.rl.report import REFERENCE, write
from benchmarks.rl.run import Measured, Policy, Run, Setting, Step, run, tasks
from router.value.checkpoint import SHIPPED
from router.value.model import V0

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fleet.nano.engine import NanoModel

SETTING = "setting.json"
HELD_OUT_SEED = 0


class RlError(ValueError):
    """What was asked for cannot be run; the message says why."""


def save(done: Run, folder: Path) -> None:
    """Keep a finished run."""
    _put(file_of(folder, done.method, done.seed), json.dumps(asdict(done)))


def load(path: Path) -> Run:
    """A run that `save` kept."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    steps = [Step(**each) for each in kept.pop("steps")]
    measured = [Measured(**each) for each in kept.pop("measured")]
    return Run(**kept, steps=steps, measured=measured)


def file_of(folder: Path, method: str, seed: int) -> Path:
    """Where a run is kept."""
    return folder / f"{method}-{seed}.json"


def begin(folder: Path, setting: Setting, weights: str) -> None:
    """Note what the folder's runs share. Raises `RlError` where those that are there have something else in common."""
    folder.mkdir(parents=True, exist_ok=True)
    path, facts = folder / SETTING, json.loads(json.dumps({**asdict(setting), "v0": weights}))
    if not path.is_file():
        _put(path, json.dumps(facts, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != facts:
        raise RlError(f"{path}: the runs there have another setting; give another --out")


def _put(path: Path, text: str) -> None:
    """A file that exists is whole, also to another process that fills the same folder."""
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


class Bench:
    """Runs what a folder lacks."""

    def __init__(
        self, folder: Path, setting: Setting, weights: Path | None, say: Callable[[str], None]
    ) -> None:
        """V0 is loaded when it is first wanted. Raises `RlError` for a model that does not ship, and as `begin`."""
        self._value_model: V0 | None
        self._model = _model(setting.model)
        with as_file(files("router.value") / "weights" / SHIPPED) as shipped:
            begin(folder, setting, hashlib.sha256((weights or shipped).read_bytes()).hexdigest()[:12])
        self._weights, self._value_model = weights, None
        self._folder, self._setting, self._say = folder, setting, say
        self._held_out = tasks(setting, setting.held_out, HELD_OUT_SEED, "test")

    def run(self, names: Sequence[str], seeds: Sequence[int]) -> None:
        """Every method under every seed, seed by seed."""
        lacking = {
            seed: [name for name in names if not file_of(self._folder, name, seed).is_file()]
            for seed in seeds
        }
        left = sum(map(len, lacking.values()))
        for seed in (seed for seed in seeds if lacking[seed]):
            pool = tasks(self._setting, self._setting.pool, seed + 1, "train")
            values = self._values([task.prompt for task in pool])
            for name in lacking[seed]:
                method = METHODS[name](values, len(pool))
                policy = Policy(self._model, self._setting, pool, seed)

                def advance(now: Measured, prefix: str = f"{left} to go, {name} seed {seed}") -> None:
                    self._say(f"{prefix}: {now.rollouts:,} rollouts, reward {now.reward:.3f}")

                save(run(name, method, policy, self._held_out, self._setting, seed, advance), self._folder)
                left -= 1

    def _values(self, prompts: Sequence[str]) -> Callable[[], V0Values]:
        """Makes V0's values of a pool, which is embedded the first time."""

        @cache
        def ready() -> tuple[V0, NDArray[np.float32]]:
            self._value_model = self._value_model or V0.load(self._weights, device="cpu")
            return self._value_model, self._value_model.embed_all(prompts)

        return lambda: V0Values(*ready())


def _model(name: str) -> NanoModel:
    from fleet.nano.engine import load_fleet

    with as_file(files("fleet.nano") / "models") as folder:
        if not (folder / name).is_dir():
            raise RlError(f"no nano model is called {name!r}")
        return load_fleet(folder / name)[name]


def command(
    out: Path,
    methods: str | None,
    seeds: range,
    changes: Mapping[str, Any],
    weights: Path | None,
    figures: Path | None,
) -> None:
    """
    Run what `out` lacks on one thread, print and write its tables and pictures. Ends the process on bad input.

    `changes` are fields of the setting, None where it stays as it is.
    """
    import torch
    import typer

    torch.set_num_threads(1)  # the tensors are small
    names = list(METHODS) if methods is None else [name.strip() for name in methods.split(",")]
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(METHODS)}", param_hint="--methods")
    if REFERENCE not in names:
        raise typer.BadParameter(f"{REFERENCE} is what the others are compared with", param_hint="--methods")
    setting = replace(Setting(), **{name: value for name, value in changes.items() if value is not None})
    try:
        bench = Bench(out, setting, weights, typer.echo)
    except RlError as error:
        raise typer.BadParameter(str(error)) from None
    bench.run(names, seeds)
    runs = [load(file_of(out, name, seed)) for name in names for seed in seeds]
    typer.echo(write(runs, out if figures is None else figures, out))
