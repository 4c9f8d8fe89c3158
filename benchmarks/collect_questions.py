"""What `router-bench collect` asks: procedural tasks, or a jsonl file of prompts with their answers and verifiers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.settings import SettingsError
from benchmarks.settings import pick as pick_names
from fleet.tasks import FAMILIES, generate
from fleet.tasks.task import Split, owner
from router.features import Features, extract
from router.probes import BadProbes, fault, read_rows

PROCEDURAL = "procedural"


@dataclass(frozen=True)
class Question:
    """
    A conversation whose reply can be graded.

    `text` is what a router reads of it. `facts` are further columns of prompts.parquet.
    """

    id: str
    dataset: str
    messages: Sequence[dict[str, Any]]
    text: str
    answer: str
    verifier: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> Features:
        """What a model must be able to do to answer."""
        return extract({"messages": self.messages})


@dataclass(frozen=True)
class Source:
    """Where questions come from; the last three count for procedural tasks alone."""

    tasks: str  # "procedural:300", or a path
    split: str = "test"
    families: str = ""  # names or patterns, with commas; empty: all
    seed: int = 0

    @property
    def shown(self) -> str:
        """In words, for a report."""
        if not self.tasks.startswith(f"{PROCEDURAL}:"):
            return Path(self.tasks).name
        families = f", families {self.families}" if self.families else ""
        return f"{self.tasks} (split {self.split}, seed {self.seed}{families})"


def questions(source: Source) -> list[Question]:
    """The questions of a source. Raises SettingsError, which names every bad line of a file."""
    kind, _, count = source.tasks.partition(":")
    if kind != PROCEDURAL:
        try:
            return from_file(Path(source.tasks))
        except BadProbes as bad:
            raise SettingsError(str(bad)) from None
    if not count.isdecimal() or not int(count):
        raise SettingsError(f"--tasks: {source.tasks!r} should be like procedural:300")
    names = [name for name in map(str.strip, source.families.split(",")) if name]
    families = pick_names(names, tuple(FAMILIES), "family") if names else None
    try:
        owner(source.split)  # type: ignore[arg-type]  # that is what it finds out
    except ValueError as error:
        raise SettingsError(f"--split: {error}") from None
    return _procedural(int(count), source.split, source.seed, families)  # type: ignore[arg-type]


def _procedural(count: int, split: Split, seed: int, families: list[str] | None) -> list[Question]:
    return [
        Question(
            id=f"{seed}-{number:06d}",
            dataset=task.domain,
            messages=[{"role": "user", "content": task.prompt}],
            text=task.prompt,
            answer=task.answer,
            verifier=task.verifier,
            facts={"family": task.family, "difficulty": task.difficulty},
        )
        for number, task in enumerate(generate(count, seed, split, families))
    ]


def from_file(path: Path) -> list[Question]:
    """
    The questions of a jsonl file: what `router profile` reads, and more.

    On every line `answer`, `verifier`, and `prompt` or `messages`; `dataset` (else the file's name) and `id` (else
    a hash) if you like. A line that repeats an earlier one counts once. Raises BadProbes with all problems at once.
    """
    return list({question.id: question for question in read_rows(path, _reader(path.stem))}.values())


def _reader(dataset: str) -> Callable[[dict[str, Any]], Question | str]:
    """A reader of rows that remembers what came before."""
    by_id: dict[str, str] = {}
    answers: dict[str, tuple[str, str]] = {}

    def read(row: dict[str, Any]) -> Question | str:
        read = _question(row, dataset)
        if isinstance(read, str):
            return read
        asked = json.dumps(list(read.messages), sort_keys=True)
        if by_id.setdefault(read.id, asked) != asked:
            return f"id {read.id!r} came before, with another prompt"
        if answers.setdefault(asked, (read.verifier, read.answer)) != (read.verifier, read.answer):
            return "asks what an earlier line asks, with another answer or verifier"
        return read

    return read


def _question(row: dict[str, Any], dataset: str) -> Question | str:
    try:
        orjson.dumps(row)
    except TypeError:  # half a surrogate pair, a number of a hundred digits
        return "holds what cannot be sent as JSON in UTF-8"
    messages = row.get("messages")
    if "prompt" in row and messages is not None:
        return "has both prompt and messages"
    if messages is not None:
        if wrong := _bad_messages(messages):
            return wrong
        row = {**row, "prompt": extract({"messages": messages}).text}
    if wrong := fault(row):
        return wrong
    for name in ("id", "dataset"):
        if name in row and (not isinstance(row[name], str) or not row[name].strip()):
            return f"{name} must be text"
    messages = messages or [{"role": "user", "content": row["prompt"]}]
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:16]
    return Question(
        id=row.get("id", digest),
        dataset=row.get("dataset", dataset),
        messages=messages,
        text=row["prompt"],
        answer=row["answer"],
        verifier=row["verifier"],
    )


def _bad_messages(messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "messages must be a list of at least one message"
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return "every message must be an object with a role"
    if not extract({"messages": messages}).text.strip():
        return "messages: there is no text that the gateway would read"
    return None


def digest(asked: Sequence[Question]) -> str:
    """What tells these questions from others, in 16 characters."""
    lines = (json.dumps([q.id, list(q.messages), q.answer, q.verifier], sort_keys=True) for q in asked)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
