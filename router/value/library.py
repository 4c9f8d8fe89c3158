"""V0 as a library: texts and outcomes in, values out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.value.backbone import Backbone, Precision, TokenStates

TEXTS = 32  # embedded in one go

ContextT = TypeVar("ContextT")
Pairs = Iterable[tuple[str, float]]
Rows = tuple["NDArray[np.floating]", "NDArray[np.floating]"]  # embeddings (N, dim), labels (N,)


class FromPairs(ABC, Generic[ContextT]):
    """
    What every V0 offers, whatever its head: contexts from (prompt, score) pairs or from rows, and values.

    `version` names backbone and adapter: embeddings of another version mean something else.
    """

    version: str
    dim: int
    _backbone: Backbone  # of those that have one of ours

    def at(self, precision: Precision) -> Self:
        """
        The same V0, its backbone computing at a precision (`Backbone.at`); itself where the backbone is none of ours.

        Raises `BackboneError`.
        """
        if not hasattr(self, "_backbone"):
            return self
        other = copy(self)
        other._backbone = self._backbone.at(precision)
        return other

    @property
    def precision(self) -> str:
        """What the backbone computes its matrix products in."""
        return self._backbone.precision if hasattr(self, "_backbone") else "fp32"

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> TokenStates:
        """The backbone alone: token states of a batch."""

    @abstractmethod
    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]:
        """The adapter alone: token states to embeddings (B, dim)."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What V0 sees in each text: (B, dim)."""

    @abstractmethod
    def _fit(
        self, embeddings: NDArray[np.floating], labels: NDArray[np.floating], beside: ContextT | None = None
    ) -> ContextT:
        """Read checked rows (N, dim) and labels (N,), beside a fleet if the head can."""

    def _fit_fleet(self, histories: Sequence[Rows]) -> list[ContextT]:
        """Read checked rows of a fleet; a head that cannot read them together reads each by itself."""
        return [self._fit(*history) for history in histories]

    @abstractmethod
    def value(self, embeddings: NDArray[np.floating], contexts: Sequence[ContextT]) -> NDArray[np.float32]:
        """Predicted success of every policy on every prompt: (B, M)."""

    def fit_context(
        self,
        rows: Pairs | NDArray[np.floating],
        labels: NDArray[np.floating] | None = None,
        beside: ContextT | None = None,
    ) -> ContextT:
        """
        Read what one policy did: (prompt, score) pairs, or embeddings (N, dim) with labels (N,); N may be 0.

        Scores lie in [0, 1]. The result holds what the head computed and is what `value` and `predict` take, as often
        as one likes. `beside` is a context of a fleet that was read together, which this policy joins: what the
        fleet's outcomes say of prompts is used here too. Raises ValueError.
        """
        return self._fit(*self._checked(rows, labels), beside)

    def fit_fleet(self, histories: Sequence[Pairs | Rows]) -> list[ContextT]:
        """
        Read several policies together, each (prompt, score) pairs, or embeddings (N, dim) with labels (N,).

        What a prompt is to all of them is told apart from what it is to one. Raises ValueError.
        """
        return self._fit_fleet(
            [
                self._checked(*history) if _is_rows(history) else self._checked(history, None)
                for history in histories
            ]
        )

    def _checked(self, rows: Any, labels: NDArray[np.floating] | None) -> Rows:
        if labels is None:
            embeddings, labels = self._rows(rows)
        else:
            embeddings = np.asarray(rows)
        labels = np.asarray(labels, dtype=np.float32)
        if embeddings.shape != (len(labels), self.dim):
            raise ValueError(
                f"embeddings {embeddings.shape} do not fit {len(labels)} labels of width {self.dim}"
            )
        if not np.all((labels >= 0) & (labels <= 1)):
            raise ValueError("outcomes must lie in [0, 1]")
        return embeddings, labels

    def predict(self, context: Pairs | ContextT, prompts: Sequence[str]) -> NDArray[np.float32]:
        """
        Values (B,) of one policy on new prompts: its chances of success, in [0, 1].

        `context` is (prompt, score) pairs, or what `fit_context` made of them. Raises ValueError.
        """
        _check_texts(prompts, "prompts")
        fitted = self.fit_context(context) if isinstance(context, Iterable) else context
        return self.value(self.embed_all(prompts), [fitted])[:, 0]

    def embed_all(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`embed` for any number of texts, a few of about one length at a time: (B, dim)."""
        embeddings = np.zeros((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), TEXTS):
            part = order[start : start + TEXTS]
            embeddings[part] = self.embed([texts[i] for i in part])
        return embeddings

    def _rows(self, pairs: Pairs | NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        listed = list(pairs)
        for number, pair in enumerate(listed):
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ValueError(f"context[{number}] should be (prompt, score), not {type(pair).__name__}")
        labels = np.array([score for _, score in listed], dtype=np.float32)
        return self.embed_all([text for text, _ in listed]), labels


def _is_rows(history: Any) -> bool:
    return isinstance(history, tuple) and len(history) == 2 and isinstance(history[1], np.ndarray)


def _check_texts(texts: Sequence[str], name: str) -> None:
    if isinstance(texts, str):
        raise ValueError(f"{name} should be a list of texts, not one text")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{name}[{number}] should be a text, not {type(text).__name__}")
