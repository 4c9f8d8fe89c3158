"""UniRoute's K-means router (Universal Model Routing, arXiv 2502.08773).

Prompts are clustered without labels. A model is the vector Ψ(m) of its mean errors in the clusters, so that a new
model needs outcomes and no training. Route to argmin Ψ_k(x)(m) + λ·cost(m), which for one β is V0's rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.baselines.base import Baseline, mean_scores, squared_error
from benchmarks.baselines.clusters import clusters_of, group_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

COUNTS = (5, 10, 20, 40, 80)


class Umr(Baseline):
    """
    The number of clusters is chosen on the validation prompts, by squared error.

    The paper measures Ψ on a small validation set apart from what the clusters came from; here Ψ is the mean over
    the training outcomes, which are all that a new model has. Where a model has none in a cluster, its overall mean.
    """

    name = "umr"
    takes_new_models = True

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        from sklearn.cluster import KMeans

        means = mean_scores(train)
        best = float("inf")
        for count in COUNTS:
            if count > len(train.texts) and count > COUNTS[0]:
                break
            clustering = KMeans(min(count, len(train.texts)), random_state=seed).fit(train.embeddings)
            success = group_means(clustering.labels_, train.scores, clustering.n_clusters, means)
            error = squared_error(success[clustering.predict(validation.embeddings)], validation)
            if error < best or count == COUNTS[0]:
                best, self._clustering, self._means = error, clustering, success

    def _learn_models(self, seen: Table) -> None:
        groups = clusters_of(self._clustering, seen.embeddings)
        means = group_means(groups, seen.scores, self._clustering.n_clusters, mean_scores(seen))
        self._means = np.concatenate([self._means, means], axis=1)

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        return self._means[self._clustering.predict(queries.embeddings)]
