"""What a collection has got so far: one JSON line a call, added and never changed.

The first line holds the settings; a later one of its kind adds models. A call is there once its line is whole, so a
run that is killed loses what was in flight and no more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from sys import intern
from typing import IO, TYPE_CHECKING, Any, Self

from benchmarks.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "journal.jsonl"
VERSION = 1
Key = tuple[str, str, int]  # prompt id, model, sample from 0


@dataclass(frozen=True, slots=True)
class Call:
    """One graded reply. None: the upstream did not say, or its price is unknown."""

    prompt: str
    model: str
    sample: int
    score: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    finish: str | None = None  # "length": it was cut
    empty: bool = False  # there was no text in the reply

    @property
    def key(self) -> Key:
        """What it answers."""
        return self.prompt, self.model, self.sample


@dataclass(frozen=True, slots=True)
class Failed:
    """A call without a reply, and why. It is asked again by the next run."""

    prompt: str
    model: str
    sample: int
    failed: str

    @property
    def key(self) -> Key:
        """What it would have answered."""
        return self.prompt, self.model, self.sample


class Journal:
    """
    The journal in a folder: `calls` by key, `failures` of those that have no reply yet, `models` by name.

    `open` it, `add` to it, `close` it. One process at a time can have it open.
    """

    def __init__(self, file: IO[str], settings: Mapping[str, Any], models: dict[str, dict[str, Any]]) -> None:
        self.settings = settings
        self.models = models
        self.calls: dict[Key, Call] = {}
        self.failures: dict[Key, Failed] = {}
        self.started: str | None = None  # of the first run
        self._file = file

    @classmethod
    def open(
        cls, folder: Path, settings: Mapping[str, Any], models: Mapping[str, dict[str, Any]], now: str
    ) -> Self:
        """
        The journal of a folder, made if there is none; `models` are facts by name, `now` is noted in a new one.

        Raises SettingsError where the folder holds a run with other settings or prices, or is being written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file, folder)
            journal = cls(file, settings, {})
            journal._read(path, folder)
            journal._begin(dict(models), now)
        except BaseException:
            file.close()
            raise
        return journal

    @property
    def spent(self) -> float:
        """USD of every call so far; those of unknown cost count as 0."""
        return sum(call.cost_usd or 0.0 for call in self.calls.values())

    def add(self, entry: Call | Failed) -> None:
        """Remember a call, before anything else is done with it."""
        self._write(asdict(entry))
        self._take(entry)

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()

    def _take(self, entry: Call | Failed) -> None:
        if isinstance(entry, Failed):
            self.failures[entry.key] = entry
        else:
            self.calls[entry.key] = entry
            self.failures.pop(entry.key, None)

    def _read(self, path: Path, folder: Path) -> None:
        with path.open("rb") as file:
            for row in _rows(file.read()):
                if "collect" in row:
                    self._check(row, folder)
                    continue
                row["prompt"], row["model"] = intern(row["prompt"]), intern(row["model"])
                self._take(Failed(**row) if "failed" in row else Call(**row))

    def _check(self, row: Mapping[str, Any], folder: Path) -> None:
        if row["collect"] != VERSION:
            raise SettingsError(f"{folder} was collected by another version of this tool: take another --out")
        self.started = self.started or row["started"]
        before = row["settings"]
        changed = [
            f"{name} was {before.get(name)!r}, is {self.settings.get(name)!r}"
            for name in dict.fromkeys([*before, *self.settings])
            if before.get(name) != self.settings.get(name)
        ]
        if changed:
            raise SettingsError(
                f"{folder} holds a run with other settings ({'; '.join(changed)}): keep to them, or take another --out"
            )
        self.models.update(row["models"])

    def _begin(self, models: dict[str, dict[str, Any]], now: str) -> None:
        for name, facts in models.items():
            known = self.models.get(name, facts)
            if known != facts:
                changed = ", ".join(f"{key} was {known.get(key)!r}, is {facts[key]!r}"
                                    for key in facts if known.get(key) != facts[key])  # fmt: skip
                raise SettingsError(
                    f"{name} has changed since the run began ({changed}): "
                    "change it back, give it another name, or take another --out"
                )
        if not models.keys() <= self.models.keys():
            self.started = self.started or now
            self.models.update(models)
            self._write(
                {"collect": VERSION, "started": now, "settings": dict(self.settings), "models": self.models}
            )

    def _write(self, row: Mapping[str, Any]) -> None:
        """One line, handed to the system at once: it outlives this process."""
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines; one that a crash cut off counts for nothing."""
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _lock(file: IO[str], folder: Path) -> None:
    """Keep others out until the file is closed, or this process gone; and begin a new line after one that was cut."""
    try:
        import fcntl
    except ImportError:  # not on this system
        pass
    else:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"another run is writing to {folder}") from None
    if file.tell() and not Path(file.name).read_bytes().endswith(b"\n"):
        file.write("\n")
        file.flush()
