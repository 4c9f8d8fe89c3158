"""The `tabpfn` head: TabPFN reads a capability context and values new prompts, as in the paper (arXiv 2602.03584).

TabPFN's weights are not ours to ship: they are read from a local file, frozen. Everything goes through the package's
public classifier. Two of its ways are used, and they agree:

- `fit_with_cache` for values: a context's keys and values are computed once, every later query passes alone;
- `fit_with_differentiable_input` for gradients: from the logits through the frozen network into the embeddings of
  queries and context, which is how an adapter is trained under it.

Both see the same table. Embeddings are standardised by the context's mean and deviation, nothing is taken for a
category, and no column is dropped: left to its defaults, the package shows each estimator 500 columns at most and
says nothing, which would hide half of the paper's 168×6 features.

TabPFN tells classes apart, and outcomes are numbers in [0, 1]. The paper's release cuts them at 0.5 (`hard`). Here
(`levels`) they are cut at up to four levels, see there: the same thing where outcomes are 0 or 1.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from router.value.heads.levels import cut_into_levels, shrunk
from router.value.heads.tabpfn_weights import TabpfnError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from router.value.heads.tabpfn_weights import TabpfnWeights

ESTIMATORS = 4  # the paper's
TEMPERATURE = 0.9  # TabPFN's own, and the paper's
DIFFERENTIABLE_COLUMNS = 499  # beside the fingerprint; the package's gradient path drops others in silence
QUERIES = 128  # in one pass: bounds the memory of a column's attention
CACHE_BYTES = 8 << 30

Labels = Literal["levels", "hard"]


@dataclass(frozen=True, eq=False)
class TabpfnContext:
    """One policy's rows and labels. What TabPFN computes of them is kept by the head, while there is room."""

    rows: NDArray[np.float32]  # (N, D)
    labels: NDArray[np.float32]  # (N,)
    key: int = field(default_factory=itertools.count().__next__)


@dataclass(frozen=True)
class _Fitted:
    """A context's classifiers, one a cut, and what they hold."""

    floor: float
    heights: tuple[float, ...]
    classifiers: tuple[Any, ...]
    mean: NDArray[np.float32]  # (D,)
    deviation: NDArray[np.float32]  # (D,)
    size: int  # bytes


class TabpfnHead:
    """
    TabPFN over embeddings of width `width`. Values of one context at a time: contexts differ in length.

    A context's keys and values are large (see `cache_size`). They are kept for the contexts used last, up to
    `cache_bytes`; others are computed anew when asked for. One thread may read while another values.
    """

    def __init__(
        self,
        weights: TabpfnWeights,
        width: int,
        *,
        estimators: int = ESTIMATORS,
        labels: Labels = "levels",
        cache_bytes: int = CACHE_BYTES,
        seed: int = 0,
    ) -> None:
        """Raises `TabpfnError` where the embeddings are wider than the release reads."""
        if width > weights.most_columns:
            raise TabpfnError(
                f"the adapter gives {width} features and {weights.release.name} reads {weights.most_columns} at most: "
                "use a later TabPFN, or an adapter of 83×6 = 498"
            )
        self.weights = weights
        self.width = width
        self._estimators = estimators
        self._labels = labels
        self._cache_bytes = cache_bytes
        self._seed = seed
        self._kept: OrderedDict[int, _Fitted] = OrderedDict()
        self._size = 0
        self._gone: deque[int] = deque()  # keys of contexts that nobody holds any more
        self._lock = threading.Lock()  # for the three above, never held while TabPFN computes

    def read(self, rows: NDArray[np.floating], labels: NDArray[np.floating]) -> TabpfnContext:
        """Rows (N, D) with outcomes (N,) in [0, 1] as a context, its keys and values computed; N may be 0."""
        context = TabpfnContext(np.asarray(rows, np.float32), np.asarray(labels, np.float32))
        weakref.finalize(context, self._gone.append, context.key)
        self._fitted(context)
        return context

    def value(self, queries: NDArray[np.floating], contexts: Sequence[TabpfnContext]) -> NDArray[np.float32]:
        """Predicted outcome of every policy on queries (B, D): (B, M) in [0, 1]."""
        queries = np.asarray(queries, np.float32)
        values = np.empty((len(queries), len(contexts)), np.float32)
        for column, context in enumerate(contexts):
            values[:, column] = self._predict(self._fitted(context), queries)
        return values.clip(0, 1)

    def logits(self, queries: torch.Tensor, rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """
        Log-odds (B,) of success, differentiable in queries (B, D) and rows (N, D), the network frozen.

        Labels (N,) are cut at 0.5, as the paper trains; both classes must be there. Raises `TabpfnError` where they
        are not, and beyond 499 columns: the package's gradient path would drop the rest in silence.
        """
        if rows.shape[1] > DIFFERENTIABLE_COLUMNS:
            raise TabpfnError(
                f"gradients flow through {DIFFERENTIABLE_COLUMNS} columns at most, not {rows.shape[1]}: "
                "train an adapter of 83×6 = 498"
            )
        hard = (labels >= 0.5).long()
        if not 0 < int(hard.sum()) < len(hard):
            raise TabpfnError("a context of one class tells TabPFN nothing")
        classifier = self._classifier(self._estimators, differentiable_input=True)
        classifier.fit_with_differentiable_input(rows, hard)
        both = classifier.forward(queries, use_inference_mode=True, return_logits=True)
        return both[:, 1] - both[:, 0]

    def cache_size(self, context: TabpfnContext) -> int:
        """Bytes of a context's keys and values: layers × columns × rows × head width × 2, for each estimator."""
        return self._fitted(context).size

    @property
    def held_bytes(self) -> int:
        """What the kept contexts take."""
        with self._lock:
            self._forget()
            return self._size

    def _fitted(self, context: TabpfnContext) -> _Fitted:
        with self._lock:
            self._forget()
            if context.key in self._kept:
                self._kept.move_to_end(context.key)
                return self._kept[context.key]
        fitted = self._fit(context)
        with self._lock:
            if context.key not in self._kept:
                self._kept[context.key] = fitted
                self._size += fitted.size
            while len(self._kept) > 1 and self._size > self._cache_bytes:
                self._size -= self._kept.popitem(last=False)[1].size
        return fitted

    def _forget(self) -> None:
        """Let go of what was kept for contexts that are gone. Under the lock."""
        while self._gone:
            fitted = self._kept.pop(self._gone.popleft(), None)
            self._size -= fitted.size if fitted else 0

    def _fit(self, context: TabpfnContext) -> _Fitted:
        rows, labels = context.rows, context.labels
        floor, cuts = cut_into_levels(
            labels, self._estimators if self._labels == "levels" else 0, self._estimators
        )
        mean, deviation = np.zeros(self.width, np.float32), np.ones(self.width, np.float32)
        if any(cut.mixed for cut in cuts):
            mean, deviation = rows.mean(0), rows.std(0, ddof=1)
            deviation = np.where(deviation > 0, deviation, np.float32(1))
            if not np.any(rows != rows[0]):  # one prompt over and over: nothing to tell its outcomes apart
                floor, cuts = shrunk(labels), []
        classifiers = []
        for cut in cuts:
            classifier = self._classifier(
                cut.estimators,
                fit_mode="fit_with_cache",
                kv_cache_precision="auto",
                inference_config={**_untouched(), "CLASS_SHIFT_METHOD": None},
            )
            classifiers.append(classifier.fit((rows - mean) / deviation, cut.reached.astype(int)))
        size = rows.nbytes + sum(_bytes(classifier.executor_.kv_caches) for classifier in classifiers)
        heights = tuple(cut.height for cut in cuts)
        return _Fitted(floor, heights, tuple(classifiers), mean, deviation, size)

    def _predict(self, fitted: _Fitted, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.full(len(queries), fitted.floor, np.float32)
        standardised = (queries - fitted.mean) / fitted.deviation
        for height, classifier in zip(fitted.heights, fitted.classifiers, strict=True):
            for start in range(0, len(queries), QUERIES):
                part = slice(start, start + QUERIES)
                with torch.inference_mode():
                    logits = classifier.forward(
                        standardised[part], use_inference_mode=True, return_logits=True
                    )
                values[part] += height * torch.softmax(logits, dim=-1)[:, 1].float().cpu().numpy()
        return values

    def _classifier(self, estimators: int, **ways: Any) -> Any:
        from tabpfn import TabPFNClassifier

        return TabPFNClassifier(
            model_path=self.weights.specs,
            device=self.weights.device,
            n_estimators=estimators,
            softmax_temperature=TEMPERATURE,
            inference_precision=torch.float32,
            ignore_pretraining_limits=True,  # of rows on a CPU; columns were checked above
            random_state=self._seed,
            **ways,
        )


def _untouched() -> dict[str, Any]:
    """TabPFN's preprocessing without any but its own: every column, as it is."""
    from tabpfn.preprocessing import PreprocessorConfig

    return {
        "PREPROCESS_TRANSFORMS": [
            PreprocessorConfig("none", categorical_name="none", max_features_per_estimator=1_000_000)
        ],
        "MAX_UNIQUE_FOR_CATEGORICAL_FEATURES": 0,
        "MIN_UNIQUE_FOR_NUMERICAL_FEATURES": 0,
        "POLYNOMIAL_FEATURES": "no",
        "SUBSAMPLE_SAMPLES": None,
        "ENABLE_GPU_PREPROCESSING": False,
    }


def _bytes(held: Any) -> int:
    """Bytes of the tensors in a nest of lists, dicts and dataclasses."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in _tensors(held)}.values())


def _tensors(held: Any) -> Iterator[torch.Tensor]:
    if isinstance(held, torch.Tensor):
        yield held
    elif isinstance(held, dict):
        for each in held.values():
            yield from _tensors(each)
    elif isinstance(held, (list, tuple)):
        for each in held:
            yield from _tensors(each)
    elif hasattr(held, "__dataclass_fields__"):
        yield from _tensors(vars(held))
