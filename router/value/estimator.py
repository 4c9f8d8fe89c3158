"""V0 as scikit-learn estimators: prompts are X, scores are y, fitting reads a context and trains nothing."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from router.value.model import V0


class _V0Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """
    `weights` and `backbone` as in `V0.load`. One V0 is loaded for all estimators with the same parameters; it is no
    part of the fitted state, so that clones and pickles are small.
    """

    def __init__(
        self, weights: str | Path | None = None, backbone: str | None = None, device: str = "cpu"
    ) -> None:
        self.weights = weights
        self.backbone = backbone
        self.device = device

    def fit(self, X: Iterable[str], y: Iterable[float]) -> Self:
        """Read prompts X (N,) with scores y (N,) in [0, 1] as one policy's context. Raises ValueError."""
        prompts, scores = _texts(X), np.asarray(y, dtype=np.float32).ravel()
        if len(prompts) != len(scores):
            raise ValueError(f"X holds {len(prompts)} prompts and y {len(scores)} scores")
        self.context_ = self._v0().fit_context(list(zip(prompts, map(float, scores), strict=True)))
        self.n_features_in_ = 1
        return self

    def _values(self, X: Iterable[str]) -> NDArray[np.float64]:
        check_is_fitted(self, "context_")
        return self._v0().predict(self.context_, _texts(X)).astype(np.float64)

    def _v0(self) -> V0:
        return _load(str(self.weights) if self.weights else None, self.backbone, self.device)

    def __sklearn_tags__(self) -> Any:
        """X is a list of texts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


class V0Classifier(ClassifierMixin, _V0Estimator):  # type: ignore[misc]
    """
    Will this policy succeed? `predict_proba` (B, 2) gives the chances of failure and success.

    `y` may hold partial credit; `predict` says 1 where success is likelier than failure.
    """

    def fit(self, X: Iterable[str], y: Iterable[float]) -> Self:
        """Read prompts X (N,) with scores y (N,) in [0, 1]."""
        self.classes_ = np.array([0, 1])
        return super().fit(X, y)

    def predict_proba(self, X: Iterable[str]) -> NDArray[np.float64]:
        """Chances of failure and of success: (B, 2)."""
        values = self._values(X)
        return np.stack([1 - values, values], axis=1)

    def predict(self, X: Iterable[str]) -> NDArray[np.int64]:
        """0 or 1: (B,)."""
        return (self._values(X) >= 0.5).astype(np.int64)


class V0Regressor(RegressorMixin, _V0Estimator):  # type: ignore[misc]
    """What score will this policy get? `predict` gives values (B,) in [0, 1]."""

    def predict(self, X: Iterable[str]) -> NDArray[np.float64]:
        """Values: (B,)."""
        return self._values(X)


@lru_cache(maxsize=2)
def _load(weights: str | None, backbone: str | None, device: str) -> V0:
    from router.value.model import V0

    return V0.load(Path(weights) if weights else None, backbone, device)


def _texts(X: Iterable[str]) -> list[str]:
    """A list, array or column of texts; or a table of one such column."""
    if isinstance(X, str):
        raise ValueError("X should be a list of prompts, not one text")
    shaped = np.asarray(X if isinstance(X, np.ndarray) else list(_column(X)), dtype=object)
    if shaped.ndim == 2 and shaped.shape[1] == 1:
        shaped = shaped[:, 0]
    if shaped.ndim != 1 or not all(isinstance(text, str) for text in shaped):
        raise ValueError("X should be prompts, each a text")
    return [str(text) for text in shaped]


def _column(X: Any) -> Iterable[str]:
    return X.to_numpy() if hasattr(X, "to_numpy") else X
