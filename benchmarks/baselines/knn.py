"""k nearest prompts: success is the mean score of a model on the prompts most like this one.

- EmbedLLM's (arXiv 2410.02223): k = 131, Euclidean, a majority vote for each model.
- RouterBench's (arXiv 2403.12031): cosine, k of {5, 10, 40}, willingness to pay · mean performance − cost, which
  for one β is V0's rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores, squared_error
from benchmarks.baselines.neighbours import Neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table


class Knn(Baseline):
    """Chooses k by squared error on the validation prompts. A new model brings its own prompts."""

    takes_new_models = True

    def __init__(self, counts: Sequence[int], cosine: bool) -> None:
        self._counts = sorted(counts)
        self._cosine = cosine

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        del seed
        self._parts = [self._remember(train)]
        self._count = self._counts[0]
        if len(self._counts) > 1:
            means = self._parts[0].means(validation.embeddings, self._counts)
            self._count = self._counts[int(np.argmin([squared_error(each, validation) for each in means]))]

    def _learn_models(self, seen: Table) -> None:
        self._parts.append(self._remember(seen))

    def _remember(self, table: Table) -> Neighbours:
        return Neighbours(
            table.embeddings, table.scores, mean_scores(table), self._counts[-1], cosine=self._cosine
        )

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        means = [part.means(queries.embeddings, [self._count])[0] for part in self._parts]
        return np.concatenate(means, axis=1)


class MajorityKnn(Knn):
    """
    EmbedLLM's. Success is the share of the votes, of which the published classifier keeps whether it is above
    one half: as a value for routing that would be a tie nearly everywhere. A score between 0 and 1 is a part of
    a vote.
    """

    name = "knn-embedllm"

    def __init__(self) -> None:
        super().__init__([131], cosine=False)


class CosineKnn(Knn):
    """RouterBench's."""

    name = "knn-routerbench"

    def __init__(self) -> None:
        super().__init__([5, 10, 40], cosine=True)
