"""V0's embedding under TabPFN in place of our head, the head of the paper (arXiv 2602.03584).

TabPFN's weights from version 2.5 on are for non-commercial use and are not in this package: the router runs where
their file lies on this machine. Contexts are hard labels, as in the paper's release: a score from 0.5 on is a success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.baselines.v0 import V0Router
from router.value import structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table
    from benchmarks.baselines.v0 import History
    from router.value.model import V0

ESTIMATORS = 4
TEMPERATURE = 0.9


class V0Tabpfn(V0Router):
    """
    Reads the adapter's answers and the prompt's form, and not the pooled state beside them: TabPFN takes 500 features
    at most, and silently drops some of what is beyond. Our adapter was trained under our head and not under TabPFN.
    """

    def __init__(
        self,
        tabpfn: Path,
        context_size: int = 256,
        value_model: V0 | None = None,
        weights: Path | None = None,
        classifier: Callable[[], Any] | None = None,
    ) -> None:
        """
        `tabpfn` is TabPFN's file, `weights` V0's; `classifier` (scikit-learn's interface) stands in for it in tests.

        FileNotFoundError without TabPFN's file.
        """
        if not tabpfn.is_file():
            raise FileNotFoundError(f"no TabPFN weights at {tabpfn}")
        super().__init__(context_size, value_model, weights)
        self.name += "-tabpfn"
        self._file = tabpfn
        self._classifier = classifier or self._tabpfn

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        self._fitted: list[Any] = []
        super()._learn(train, validation, seed)

    def _read(self) -> None:
        self._fitted = [self._classify(history) for history in self._histories]

    def _classify(self, history: History) -> Any:
        labels = (history.scores >= 0.5).astype(int)
        if len(np.unique(labels)) == 2:
            return self._classifier().fit(self._features(history.embeddings), labels)
        # nothing to tell apart: the mean, drawn towards one half as by two outcomes
        return (float(labels.sum()) + 1) / (len(labels) + 2)

    def _features(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """The adapter's answers and the sixteen facts, without the pooled state between them."""
        pooled = self._value_model.encode(["."]).pooled().shape[-1]
        facts = self._value_model.dim - structure.WIDTH
        return np.hstack([embeddings[:, : facts - pooled], embeddings[:, facts:]])

    def _tabpfn(self) -> Any:
        from tabpfn import TabPFNClassifier

        return TabPFNClassifier(
            n_estimators=ESTIMATORS,
            softmax_temperature=TEMPERATURE,
            model_path=self._file,
            random_state=self._seed,
            ignore_pretraining_limits=True,
        )

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        features = self._features(self._embeddings(queries))
        return np.stack(
            [
                np.full(len(features), each)
                if isinstance(each, float)
                else each.predict_proba(features)[:, 1]
                for each in self._fitted
            ],
            axis=1,
        )
