"""Outcomes: what many models scored, and cost, on many prompts. Every reader ends here, every router begins here.

P prompts by M models. A pair that was not observed is NaN in every array; what a reader left out, filled in or
estimated is an `Exclusion`, which the report lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Indices = Sequence[int] | NDArray[np.intp]

CostKind = Literal["recorded", "tokens x price", "parameter ratio x tokens", "parameter ratio", "none"]


class OutcomesError(ValueError):
    """Outcome data that cannot be used. The message names the file and, where there is one, the row (from 0)."""

    def __init__(self, message: str, file: str | Path | None = None, row: int | None = None) -> None:
        where = "" if file is None else f"{file}: " if row is None else f"{file} row {row}: "
        super().__init__(where + message)
        self.message = message
        self.file = None if file is None else str(file)
        self.row = row


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before it is asked."""

    name: str
    input_price: float | None = None  # USD per million tokens
    output_price: float | None = None  # USD per million tokens
    parameters: float | None = None  # billions; the active ones where they are known


@dataclass(frozen=True)
class Exclusion:
    """Something left out, filled in or estimated, and why: listed in the report, never done in silence."""

    what: str
    why: str
    count: int


@dataclass(frozen=True)
class Outcomes:
    """
    P prompts by M models.

    `costs` is the realised cost of each pair: US dollars where `cost_kind` is "recorded" or "tokens x price", a
    number without unit where it is one of the parameter ratios, and 0 where it is "none".
    """

    name: str
    prompt_ids: list[str]  # (P,)
    texts: list[str]  # (P,), no text twice
    datasets: list[str]  # (P,)
    models: tuple[ModelFacts, ...]  # (M,)
    scores: NDArray[np.float32]  # (P, M) in [0, 1]
    costs: NDArray[np.float64]  # (P, M)
    input_tokens: NDArray[np.float32]  # (P, M), also NaN where a pair was observed and its tokens were not
    output_tokens: NDArray[np.float32]  # (P, M), likewise
    cost_kind: CostKind
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def model_names(self) -> list[str]:
        """The models' names, (M,)."""
        return [model.name for model in self.models]

    def take(self, prompts: Indices | None = None, models: Indices | None = None) -> Outcomes:
        """The same outcomes restricted to some prompts and some models, in the order asked for."""
        rows = list(range(len(self.texts))) if prompts is None else [int(row) for row in prompts]
        columns = list(range(len(self.models))) if models is None else [int(column) for column in models]

        def cut(matrix: NDArray[Any]) -> NDArray[Any]:
            taken = matrix if prompts is None else matrix[rows]
            return taken if models is None else taken[:, columns]

        return replace(
            self,
            prompt_ids=[self.prompt_ids[row] for row in rows],
            texts=[self.texts[row] for row in rows],
            datasets=[self.datasets[row] for row in rows],
            models=tuple(self.models[column] for column in columns),
            scores=cut(self.scores),
            costs=cut(self.costs),
            input_tokens=cut(self.input_tokens),
            output_tokens=cut(self.output_tokens),
        )


def read(path_or_name: str | Path) -> Outcomes:
    """
    Read a native folder, a file or folder in a known format, or a dataset by the name `router-bench datasets` shows.

    Raises `OutcomesError`.
    """
    from benchmarks.datasets import read_any

    return read_any(path_or_name)
