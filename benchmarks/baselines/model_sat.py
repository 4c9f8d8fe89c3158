"""Model-SAT (AAAI 2025), a light version: a model enters only through the result of an aptitude test.

The aptitude of a model is its accuracy on each of 50 tasks, as text ("accuracy 62% on task (five keywords)") and as
numbers. An encoder reads the text, a connector and a small network read it beside the query; among eight prompts, of
which the model solved one, that one is to score highest. A new model takes the test, and nothing is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmarks.baselines import gradient
from benchmarks.baselines.base import Baseline, mean_scores, squared_error
from benchmarks.baselines.clusters import clusters_of, group_sums
from benchmarks.baselines.regression import logistic, sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.baselines.base import Queries, Table

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]

TASKS = 50
LEAST_PROMPTS = 20  # to a task
INSTRUCTIONS = 20  # of one task in the published test
KEYWORDS = 5
READ = 1000  # characters of a prompt, in search of keywords
SHUFFLES = 2
CHOICES = 8  # k: one that the model solved, seven that it did not
GROUPS = 4  # of such choices for each model in a step
ROUNDS, STEPS = 20, 50
LEARNING_RATE = 1e-3
WIDTH = 128
PRIOR = 2.0  # outcomes at the model's mean that every task's accuracy starts with
MODELS = 32  # at most, in a step
PAIRS = 100_000  # of model and prompt, in one go when predicting


class Aptitude(nn.Module):
    """e_c (M, C) and embeddings (…, M, D) to logits: MLP([A·e_c, B·e_x, A·e_c ⊙ B·e_x])."""

    def __init__(self, aptitude_width: int, input_width: int) -> None:
        super().__init__()
        self.connect = nn.Linear(aptitude_width, WIDTH)  # A
        self.read = nn.Linear(input_width, WIDTH)  # B
        self.judge = nn.Sequential(nn.Linear(3 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))

    def forward(self, aptitudes: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Aptitudes (M, 1, C) and queries (M or 1, B, D) to logits (M, B)."""
        capability, question = torch.broadcast_tensors(self.connect(aptitudes), self.read(queries))
        joined = torch.cat([capability, question, capability * question], dim=-1)
        return self.judge(joined).squeeze(-1)


class ModelSat(Baseline):
    """
    In place of E5-Large, a connector and Phi-3: MiniLM, and a network of two layers, trained at 1e-3 for 1,000 steps.

    In place of 50 MMLU subjects: clusters of the training prompts, with keywords of their own. Each step draws anew
    what a test of 20 instructions a task would have shown. The loss compares prompts for one model and leaves open
    how good the model is overall, so that each model's level is set by its mean score and one slope by validation.
    """

    name = "model-sat"
    takes_new_models = True

    def __init__(self, encode: Encode | None = None) -> None:
        """`encode` reads texts, (B,) to (B, E); None is MiniLM."""
        self._given = encode

    def _learn(self, train: Table, validation: Table, seed: int) -> None:
        from sklearn.cluster import KMeans

        self._encode = self._given or _minilm()
        tasks = max(1, min(TASKS, len(train.texts) // LEAST_PROMPTS))
        self._clustering = KMeans(tasks, random_state=seed).fit(train.embeddings)
        self._names = keywords(train.texts, self._clustering.labels_, tasks)
        rng = np.random.default_rng(seed)
        self._orders = [rng.permutation(tasks) for _ in range(SHUFFLES)]
        accuracies = self._accuracies(train, self._clustering.labels_)
        texts = self._read_aptitudes(accuracies)  # (SHUFFLES, M, E)
        with gradient.seeded(seed):
            self._network = self._trained(train, validation, accuracies, texts)
        self._aptitudes = _side_by_side(texts, accuracies)
        self._levels = self._measured_levels(train, self._aptitudes)
        self._slope = 1.0
        self._slope = self._fitted_slope(validation)

    def _learn_models(self, seen: Table) -> None:
        groups = clusters_of(self._clustering, seen.embeddings)
        accuracies = self._accuracies(seen, groups)
        aptitudes = _side_by_side(self._read_aptitudes(accuracies), accuracies)
        self._levels = np.concatenate([self._levels, self._measured_levels(seen, aptitudes)])
        self._aptitudes = np.concatenate([self._aptitudes, aptitudes], axis=1)

    def _success(self, queries: Queries) -> NDArray[np.float64]:
        middle, base = self._levels.T
        return sigmoid(self._slope * (self._logits(queries.embeddings, self._aptitudes) - middle) + base)

    def _accuracies(self, table: Table, groups: NDArray[np.intp]) -> NDArray[np.float32]:
        """Accuracy of each model on each task, where little is known near its mean: (M, tasks)."""
        totals, seen = group_sums(groups, table.scores, self._clustering.n_clusters)
        accuracies = (totals + PRIOR * mean_scores(table)) / (seen + PRIOR)
        return np.ascontiguousarray(accuracies.T, dtype=np.float32)

    def _read_aptitudes(self, accuracies: NDArray[np.float32]) -> NDArray[np.float32]:
        """The encoded texts, in two orders of the tasks: (SHUFFLES, M, E)."""
        return np.stack(
            [
                self._encode([aptitude_text(of_model, self._names, order) for of_model in accuracies])
                for order in self._orders
            ]
        )

    def _trained(
        self,
        train: Table,
        validation: Table,
        accuracies: NDArray[np.float32],
        texts: NDArray[np.float32],
    ) -> Aptitude:
        queries, encoded = torch.from_numpy(train.embeddings), torch.from_numpy(texts)
        labels, seen = gradient.masked(train.scores)
        solved, failed = ((labels >= 0.5) * seen).T, ((labels < 0.5) * seen).T  # (M, P)
        able = torch.nonzero((solved.sum(1) > 0) & (failed.sum(1) > 0)).flatten()
        tested = torch.from_numpy(accuracies).clamp(0, 1)
        network = Aptitude(texts.shape[-1] + accuracies.shape[1], queries.shape[1])
        if not len(able):
            return network

        def loss(_: torch.Tensor) -> torch.Tensor:
            models = able[torch.randperm(len(able))[:MODELS]]
            positive = torch.multinomial(solved[models], GROUPS, replacement=True).unsqueeze(2)
            negative = torch.multinomial(failed[models], GROUPS * (CHOICES - 1), replacement=True)
            rows = torch.cat(
                [positive, negative.view(len(models), GROUPS, -1)], dim=2
            )  # (M, GROUPS, CHOICES)
            test = (
                torch.binomial(torch.full_like(tested[models], INSTRUCTIONS), tested[models]) / INSTRUCTIONS
            )
            order = int(torch.randint(SHUFFLES, ()))
            aptitude = torch.cat([encoded[order, models], test], dim=1).unsqueeze(1)
            logits = network(aptitude, queries[rows.flatten(1)]).view(rows.shape)
            return (torch.logsumexp(logits, dim=2) - logits[:, :, 0]).mean()

        everything = _side_by_side(texts, accuracies)
        gradient.train(
            network,
            torch.optim.Adam(network.parameters(), lr=LEARNING_RATE),
            loss,
            gradient.drawn(len(queries), 1, ROUNDS, STEPS),
            lambda: _disorder(_logits(network, validation.embeddings, everything), validation),
        )
        return network

    def _logits(self, embeddings: NDArray[np.float32], aptitudes: NDArray[np.float32]) -> NDArray[np.float64]:
        return _logits(self._network, embeddings, aptitudes)

    def _measured_levels(self, table: Table, aptitudes: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean logit on a model's own prompts, and logit of its mean score there: (M, 2)."""
        logits = np.where(table.observed, self._logits(table.embeddings, aptitudes), 0.0)
        counts = table.observed.sum(axis=0)
        means = np.clip((mean_scores(table) * counts + 1) / (counts + 2), 0.01, 0.99)
        return np.stack([logits.sum(axis=0) / np.maximum(counts, 1), np.log(means / (1 - means))], axis=1)

    def _fitted_slope(self, validation: Table) -> float:
        observed = validation.observed
        if not observed.any():
            return 1.0
        middle, base = self._levels.T
        centred = self._logits(validation.embeddings, self._aptitudes) - middle
        offset = np.broadcast_to(base, centred.shape)[observed][:, None]
        scores = validation.scores[observed][:, None]
        return max(0.0, float(logistic(centred[observed][:, None], scores, 1e-3, offset=offset)[0, 0]))


def keywords(texts: Sequence[str], groups: NDArray[np.intp], count: int) -> list[str]:
    """The five words that set each group of texts apart most, by TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    letters = r"[^\W\d_]{3,}"
    vectoriser = TfidfVectorizer(stop_words="english", max_features=5000, token_pattern=letters)
    try:
        weights: Any = vectoriser.fit_transform([text[:READ] for text in texts])
    except ValueError:  # no text has a word
        return [f"task {group}" for group in range(count)]
    words = vectoriser.get_feature_names_out()
    overall = np.asarray(weights.mean(axis=0)).ravel()
    names = []
    for group in range(count):
        rows = weights[np.flatnonzero(groups == group)]
        own = np.asarray(rows.mean(axis=0)).ravel() if rows.shape[0] else overall
        names.append(", ".join(words[np.argsort(overall - own, kind="stable")[:KEYWORDS]]))
    return names


def aptitude_text(accuracies: NDArray[np.floating], names: Sequence[str], order: NDArray[np.intp]) -> str:
    """What an encoder is told of one model: accuracies (tasks,) in words, the tasks in this order."""
    return "; ".join(f"accuracy {100 * accuracies[task]:.0f}% on task ({names[task]})" for task in order)


def _side_by_side(texts: NDArray[np.float32], accuracies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Text and numbers of each aptitude: (SHUFFLES, M, E + tasks)."""
    repeated = np.broadcast_to(accuracies, (len(texts), *accuracies.shape))
    return np.concatenate([texts, repeated], axis=2)


def _logits(
    network: Aptitude, embeddings: NDArray[np.float32], aptitudes: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Mean over the orders of the tasks: (P, M)."""
    queries = torch.from_numpy(embeddings)
    tests = torch.from_numpy(aptitudes).unsqueeze(2)  # (SHUFFLES, M, 1, C)
    step = max(1, PAIRS // tests.shape[1])
    with torch.no_grad():
        parts = [
            sum(network(test, part.unsqueeze(0)) for test in tests) / len(tests)
            for part in queries.split(step)
        ]
    logits: NDArray[np.float64] = torch.cat(parts, dim=1).T.double().numpy()
    return logits


def _disorder(logits: NDArray[np.float64], table: Table) -> float:
    """How badly each model's prompts are ordered: squared error of σ of the logits, centred on the model's level."""
    observed = table.observed
    counts = np.maximum(observed.sum(axis=0), 1)
    centred = logits - np.where(observed, logits, 0.0).sum(axis=0) / counts
    means = np.clip(mean_scores(table), 0.01, 0.99)
    return squared_error(sigmoid(centred + np.log(means / (1 - means))), table)


def _minilm() -> Encode:
    """Sentence embeddings of texts, by the backbone that V0 uses."""
    from router.value.backbone import Backbone

    backbone = Backbone.load()

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [backbone.encode(texts[start : start + 32]).pooled() for start in range(0, len(texts), 32)]
        encoded: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return encoded

    return encode
