"""Probe files and the journal beside them that makes profiling resumable."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from router.verifiers import VERIFIERS

JOURNALS = ".router-profile"
FIELDS = ("prompt", "answer", "verifier")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Probe:
    """A prompt whose reply can be graded: its answer, and the verifier that compares the two."""

    prompt: str
    answer: str
    verifier: str

    @property
    def digest(self) -> str:
        """What tells this probe from every other."""
        return hashlib.sha256(json.dumps([self.prompt, self.answer, self.verifier]).encode()).hexdigest()[:24]


class BadProbes(ValueError):  # noqa: N818
    """A file of probes that cannot be used; `problems` has every one of them as FILE:LINE: what is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


def load_probes(path: Path) -> list[Probe]:
    """
    The probes of a jsonl file: one object a line with the strings prompt, answer and verifier.

    Other keys are ignored, so are empty lines and exact repetitions. Raises BadProbes with all problems at once.
    """
    return list({probe.digest: probe for probe in read_rows(path, _probe)}.values())


def read_rows(path: Path, read: Callable[[dict[str, Any]], Row | str]) -> list[Row]:
    """
    What `read` makes of the objects of a jsonl file, one a line; a string from it says what is wrong with the line.

    Empty lines are passed over. Raises BadProbes with all problems at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadProbes([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise BadProbes([f"{path}: is not UTF-8 ({error.reason} at byte {error.start})"]) from None
    rows: list[Row] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = _object(line)
        made = row if isinstance(row, str) else read(row)
        if isinstance(made, str):
            problems.append(f"{path}:{number}: {made}")
        else:
            rows.append(made)
    if not rows and not problems:
        problems.append(f"{path}: holds no probes")
    if problems:
        raise BadProbes(problems)
    return rows


def _object(line: str) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with it."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({getattr(error, 'msg', 'nested too deeply')})"
    return row if isinstance(row, dict) else "is not a JSON object"


def _probe(row: dict[str, Any]) -> Probe | str:
    return fault(row) or Probe(row["prompt"], row["answer"], row["verifier"])


def fault(row: dict[str, Any]) -> str | None:
    """What keeps a row from being a probe."""
    missing = [field for field in FIELDS if field not in row]
    if missing:
        return f"lacks {', '.join(missing)}"
    empty = [field for field in FIELDS if not isinstance(row[field], str) or not row[field].strip()]
    if empty:
        return f"{', '.join(empty)} must be text"
    if row["verifier"] not in VERIFIERS:
        return f"unknown verifier {row['verifier']!r}; known: {', '.join(VERIFIERS)}"
    if row["verifier"] == "regex":
        try:
            re.compile(row["answer"])
        except re.error as error:
            return f"answer is no regular expression ({error})"
    return None


@dataclass(frozen=True)
class Graded:
    """One probe's outcome, acknowledged by the gateway. Cost in USD, None where prices are unknown."""

    probe: str  # its digest
    decision_id: str
    score: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


class Journal:
    """
    The probes that a model has been graded on, one JSON line each.

    `gateway` says which gateway's contexts they went to: the same model elsewhere has another journal. A line is
    written once the gateway has acknowledged the outcome, so an interrupted run repeats at most what was in
    flight, and the gateway keeps the latest score of a decision.
    """

    def __init__(self, folder: Path, gateway: str, model: str) -> None:
        digest = hashlib.sha256(f"{gateway}\n{model}".encode()).hexdigest()[:12]
        self.path = folder / JOURNALS / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', model)}-{digest}.jsonl"

    def read(self) -> dict[str, Graded]:
        """What has been graded, by the probe's digest. A line cut off by a crash counts for nothing."""
        graded: dict[str, Graded] = {}
        if not self.path.exists():
            return graded
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                row = Graded(**json.loads(line))
            except (ValueError, TypeError):
                continue
            graded[row.probe] = row
        return graded

    def add(self, graded: Graded) -> None:
        """Remember one more."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(graded)) + "\n")

    def forget(self) -> None:
        """Start afresh."""
        self.path.unlink(missing_ok=True)
