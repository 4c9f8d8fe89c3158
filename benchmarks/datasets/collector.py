"""The one way from rows of a file to `Outcomes`: checks every row, keeps a matrix, says what it left out.

Readers hand over frames, batch by batch, so that a file need not fit in memory; the matrix must.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from benchmarks.datasets.costs import price
from benchmarks.outcomes import Exclusion, ModelFacts, Outcomes, OutcomesError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

PAIR_BYTES = (
    45  # of one prompt and model at the worst moment: 24 while they are collected, 20 of the matrices
)
MEMORY_SHARE = 0.4  # of the machine's memory that the matrix may take
MISSING = {"", "na", "nan", "null", "none", "<na>", "n/a"}
WORDS = {"true": 1.0, "false": 0.0}

_EXCLUDED = -1
_UNKNOWN = -2


class Collector:
    """
    Gathers prompts and outcomes; `finish` makes `Outcomes` of them.

    `repeats` says what a second outcome of the same prompt and model is: an error, or another sample to average.
    `wordings` says what another text under the same prompt id is: an error, or passed over for the first.
    Every problem raises `OutcomesError` with file and row, or becomes an `Exclusion`. A row of a frame is the row
    `first_row` + its index of the file: a frame that was filtered keeps its index.
    """

    def __init__(
        self,
        name: str,
        repeats: Literal["refuse", "average"] = "refuse",
        wordings: Literal["refuse", "first"] = "refuse",
    ) -> None:
        self._name = name
        self._repeats = repeats
        self._wordings = wordings
        self._row: dict[str, int] = {}  # prompt id -> row of the matrix, or _EXCLUDED
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._datasets: list[str] = []
        self._by_text: dict[str, int] = {}
        self._columns: dict[str, _Column] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, what: str, why: str, count: int = 1) -> None:
        """Something was left out or filled in; equal notes add up."""
        if count:
            self._counts[what, why] += int(count)

    def prompts(self, frame: pd.DataFrame, file: Path | str, first_row: int = 0) -> None:
        """
        Add prompts: columns prompt_id, dataset, text. An id may come again with the same text.
        """
        for offset, identity, dataset, text in zip(
            frame.index, frame["prompt_id"], frame["dataset"], frame["text"], strict=True
        ):
            if pd.isna(identity):
                raise OutcomesError("prompt_id is missing", file, first_row + offset)
            self._prompt(str(identity), dataset, text, file, first_row + offset)

    def _prompt(self, identity: str, dataset: Any, text: Any, file: Path | str, row: int) -> None:
        known = self._row.get(identity)
        if known is not None:
            if known >= 0 and isinstance(text, str) and self._texts[known] != text:
                if self._wordings == "refuse":
                    raise OutcomesError(f"prompt {identity!r} came before with another text", file, row)
                self.note("other wordings of a prompt", "the first that was read is its text")
            return
        if not isinstance(text, str) or not text.strip():
            self._row[identity] = _EXCLUDED
            self.note("prompts, with their outcomes", "they have no text")
        elif text in self._by_text:
            self._row[identity] = _EXCLUDED
            self.note("prompts, with their outcomes", "their text is that of an earlier prompt")
        else:
            self._row[identity] = self._by_text[text] = len(self._ids)
            self._ids.append(identity)
            self._texts.append(text)
            self._datasets.append("unnamed" if pd.isna(dataset) else str(dataset))

    def outcomes(self, frame: pd.DataFrame, file: Path | str, first_row: int = 0) -> None:
        """
        Add outcomes: columns prompt_id, model, score and, where known, input_tokens, output_tokens, cost.

        Their prompts must have been added before; an outcome of another prompt is excluded. A missing score
        excludes the row, other missing numbers stay missing.
        """
        if frame[["prompt_id", "model"]].isna().any(axis=None):
            column = "prompt_id" if frame["prompt_id"].isna().any() else "model"
            at = int(frame[column].isna().to_numpy().argmax())
            raise OutcomesError(f"{column} is missing", file, first_row + int(frame.index[at]))
        file_rows = first_row + frame.index.to_numpy(dtype=np.int64)
        codes, identities = pd.factorize(frame["prompt_id"].astype(str))
        rows = np.array([self._row.get(str(identity), _UNKNOWN) for identity in identities], dtype=np.int64)[
            codes
        ]
        numbers = {"score": numbers_of(frame["score"], file, first_row, most=1.0)}
        for name in ("input_tokens", "output_tokens", "cost"):
            if name in frame.columns:
                numbers[name] = numbers_of(frame[name], file, first_row)
        self.note("outcomes", "their prompt is not among the prompts", int((rows == _UNKNOWN).sum()))
        scored = ~np.isnan(numbers["score"])
        self.note("outcomes", "they have no score", int((~scored & (rows >= 0)).sum()))
        used = np.flatnonzero(scored & (rows >= 0))
        if not len(used):
            return
        model_codes, models = pd.factorize(frame["model"].astype(str))
        for code, model in enumerate(models):
            mine = used[model_codes[used] == code]
            if len(mine):
                self._fill(
                    str(model), rows[mine], {n: v[mine] for n, v in numbers.items()}, file, file_rows[mine]
                )

    def _fill(
        self,
        model: str,
        rows: NDArray[np.int64],
        numbers: dict[str, NDArray[np.float64]],
        file: Path | str,
        file_rows: NDArray[np.int64],
    ) -> None:
        column = self._columns.get(model)
        if column is None:
            self._check_memory(len(self._columns) + 1)
            column = self._columns[model] = _Column()
        column.grow(len(self._ids))
        repeated = pd.Series(rows).duplicated().to_numpy() | (column.counts[rows] > 0)
        if repeated.any():
            if self._repeats == "refuse":
                where = int(repeated.argmax())
                raise OutcomesError(
                    f"prompt {self._ids[rows[where]]!r} and model {model!r} came before",
                    file,
                    int(file_rows[where]),
                )
            self.note(
                "repeated outcomes", "those of the same prompt and model were averaged", int(repeated.sum())
            )
        column.add(rows, numbers)

    def _check_memory(self, models: int) -> None:
        wanted = models * len(self._ids) * PAIR_BYTES
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if wanted > MEMORY_SHARE * have:
            raise OutcomesError(
                f"{self._name}: {len(self._ids)} prompts by {models} models or more would take "
                f"{wanted / 2**30:.1f} GiB of this machine's {have / 2**30:.0f}; keep fewer prompts or models"
            )

    def finish(self, facts: Mapping[str, ModelFacts] | None = None) -> Outcomes:
        """The matrix with its costs. Raises `OutcomesError` when nothing is left."""
        facts = dict(facts or {})
        if not self._columns:
            raise OutcomesError(f"{self._name}: no outcome is usable{self._reasons()}")
        self.note("models", "they have no outcome", len(set(facts) - set(self._columns)))
        names = sorted(self._columns)
        models = tuple(facts.get(name) or ModelFacts(name) for name in names)
        shape = len(self._ids), len(names)
        scores, inputs, outputs = (np.empty(shape, dtype=np.float32) for _ in range(3))
        recorded = np.empty(shape)
        for m, name in enumerate(names):
            column = self._columns.pop(
                name
            )  # let go of, one by one: columns and matrices never lie side by side
            column.grow(len(self._ids))
            scores[:, m], recorded[:, m] = column.score[: shape[0]], column.cost[: shape[0]]
            inputs[:, m], outputs[:, m] = column.input_tokens[: shape[0]], column.output_tokens[: shape[0]]
        priced = price(models, scores, recorded, inputs, outputs, self._texts)
        del recorded
        notes = [Exclusion(what, why, count) for (what, why), count in self._counts.items()]
        whole = Outcomes(
            self._name, self._ids, self._texts, self._datasets, models, scores, priced.costs, inputs, outputs,
            priced.kind,
        )  # fmt: skip
        if len(priced.kept) < len(models):
            whole = whole.take(models=priced.kept)
        observed = ~np.isnan(whole.scores)
        rows = np.flatnonzero(observed.any(axis=1))
        if len(rows) < len(whole.texts):
            notes.append(Exclusion("prompts", "they have no outcome", len(whole.texts) - len(rows)))
            whole = whole.take(prompts=rows)
        notes += [*priced.notes, *_one_class(whole)]
        return Outcomes(**{**vars(whole), "exclusions": tuple(notes)})

    def _reasons(self) -> str:
        said = "; ".join(f"{count} {what}: {why}" for (what, why), count in self._counts.items())
        return f" ({said})" if said else ""


class _Column:
    """One model's numbers over the prompts, grown as prompts arrive; a repeated pair keeps its mean."""

    def __init__(self) -> None:
        self.score = np.empty(0, dtype=np.float32)
        self.input_tokens = np.empty(0, dtype=np.float32)
        self.output_tokens = np.empty(0, dtype=np.float32)
        self.cost = np.empty(0, dtype=np.float64)
        self.counts = np.empty(0, dtype=np.int32)

    def grow(self, prompts: int) -> None:
        have = len(self.counts)
        if have >= prompts:
            return
        size = max(prompts, have + have // 2)
        for name, blank in (("score", np.nan), ("input_tokens", np.nan), ("output_tokens", np.nan),
                            ("cost", np.nan), ("counts", 0)):  # fmt: skip
            old = getattr(self, name)
            new = np.full(size, blank, dtype=old.dtype)
            new[:have] = old
            setattr(self, name, new)

    def add(self, rows: NDArray[np.int64], numbers: dict[str, NDArray[np.float64]]) -> None:
        grouped = pd.DataFrame({"row": rows, **numbers}).groupby("row", sort=False)
        means, sizes = grouped.mean(), grouped.size()
        at = means.index.to_numpy()
        before, more = self.counts[at], sizes.to_numpy()
        for name in means.columns:
            old, new = getattr(self, name), means[name].to_numpy()
            mean = (np.nan_to_num(old[at]) * before + np.nan_to_num(new) * more) / (before + more)
            old[at] = np.where(np.isnan(new), old[at], np.where(np.isnan(old[at]), new, mean))
        self.counts[at] = before + more


def numbers_of(
    values: pd.Series[Any], file: Path | str, first_row: int, most: float = np.inf
) -> NDArray[np.float64]:
    """
    A column as numbers in [0, `most`], NaN where missing: (N,). True and false are 1 and 0.

    Raises `OutcomesError` naming the first row, `first_row` + its index, that holds anything else.
    """
    if values.dtype == object or pd.api.types.is_string_dtype(values.dtype):
        words = values.astype("string").str.strip().str.lower()
        missing = values.isna() | words.isin(MISSING)
        as_words = words.map(WORDS)
        numbers = pd.to_numeric(words, errors="coerce").fillna(as_words)
        bad = (numbers.isna() & ~missing).to_numpy(dtype=bool)
        result = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    elif pd.api.types.is_numeric_dtype(values.dtype):  # booleans are
        result = values.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.zeros(len(result), dtype=bool)
    else:  # dates, for one
        bad = values.notna().to_numpy(dtype=bool)
        result = np.full(len(values), np.nan)
    outside = (result < 0) | (result > most) | np.isinf(result)
    limits = f"is not in [0, {most:g}]" if np.isfinite(most) else "is negative or infinite"
    for wrong, message in ((bad, "is not a number"), (outside, limits)):
        if wrong.any():
            at = int(wrong.argmax())
            shown = repr(values.iloc[at]) if bad[at] else f"{result[at]:g}"
            raise OutcomesError(f"{values.name} {shown} {message}", file, first_row + int(values.index[at]))
    return result


def _one_class(outcomes: Outcomes) -> list[Exclusion]:
    """Models whose outcomes are all alike: accuracy is defined, AUC and pairwise accuracy are not."""
    notes = []
    for model, scores in zip(outcomes.models, outcomes.scores.T, strict=True):
        seen = scores[~np.isnan(scores)]
        if len(seen) and seen.min() == seen.max():
            notes.append(
                Exclusion(
                    f"AUC and pairwise accuracy of {model.name}", f"every outcome is {seen[0]:g}", len(seen)
                )
            )
    return notes
