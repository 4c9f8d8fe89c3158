"""The paper's ablation on one source (`router ablate`): connectors, losses, and whether the head is tuned or frozen.

Every cell trains the same small network on the same tasks and differs in one thing. The head reads the connector's
answers alone, as in the paper: beside the pooled state and the prompt's form, which the shipped network also reads, a
connector has little left to show. A cell's seed is one run with its own file, so that the command goes on where it
was stopped; runs are made seed by seed, so that a table of fewer seeds is whole early.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from router.value.adapter import AdapterConfig, ConnectorName
from router.value.connectors import CONNECTORS
from router.value.corpus import CorpusError
from router.value.diagnostics import Valued
from router.value.evaluate import knn, ridge
from router.value.losses import LossName, composite_loss, loss_named
from router.value.network import ValueNetwork, head_config
from router.value.protocols import (
    CONTEXT,
    LEAST_QUERIES,
    Protocol,
    Trial,
    context_mean,
    held_prompts,
    policies,
    sequential_trials,
    steps,
    strict_trials,
    value_plainly,
    value_trials,
)
from router.value.train import RecipeError, embed_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.episodes import Corpus

Study = Literal["connectors", "losses", "head"]
HeadStart = Literal["fresh", "tuned", "frozen"]
PLAIN: dict[str, Callable[..., NDArray[np.floating]]] = {  # not trained; for comparison
    "mean": context_mean,
    "knn": knn,
    "ridge": ridge,
}
EMBED_PARTS = 4  # into which a step's prompts are sorted by length
REFERENCE = "residual_dynamic, intra+ce, fresh"


@dataclass(frozen=True)
class Cell:
    """One row of the table. A head that is not fresh was fitted to made-up policies first (`fit_prior`)."""

    study: Study
    connector: ConnectorName = "residual_dynamic"
    loss: LossName = "intra+ce"
    head: HeadStart = "fresh"

    @property
    def name(self) -> str:
        return f"{self.connector}, {self.loss}, {self.head}"


CELLS = [
    Cell("connectors"),
    *(
        Cell("connectors", connector=name)
        for name in CONNECTORS
        if name not in {"layers", "residual_dynamic"}
    ),
    *(Cell("losses", loss=name) for name in ("ce", "intra", "intra+inter")),
    Cell("head", head="tuned"),
    Cell("head", head="frozen"),
]


@dataclass(frozen=True)
class AblationConfig:
    """The budget of a run and the shape of its network; kept beside every result."""

    steps: int = 200
    prior_steps: int = 200
    most_prompts: int = 5000  # of the source
    context: int = 64  # rows of a training task's context; trials have up to 256
    queries: int = 24
    tasks: int = 2  # policies of a step
    learning_rate: float = 2e-3
    scalars_faster: float = 8.0  # the rate of the head's scales, penalties and stacking, as in `TrainConfig`
    weight_decay: float = 0.01
    warmup: float = 0.1
    max_tokens: int = 128
    trial_context: int = CONTEXT
    queries_of_adapter: int = 64  # × 6 wide: as many columns as MiniLM has
    head: dict[str, int] = field(default_factory=lambda: {"hidden": 32})


@dataclass(frozen=True)
class Result:
    """One run: a cell, or a plain predictor, with one seed."""

    protocol: Protocol
    name: str
    seed: int
    parameters: int  # that were trained
    seconds: float
    valued: list[Valued]


def ablate(
    folder: Path,
    corpus: Corpus,
    out: Path,
    config: AblationConfig,
    seeds: Sequence[int],
    protocols: Sequence[Protocol],
    studies: Sequence[Study],
) -> Iterator[tuple[int, int, str]]:
    """Make every run that `out` does not hold yet; yields runs done, runs in all and the next one's name."""
    planned: list[tuple[int, Protocol, Cell | str]] = []
    for seed in seeds:
        for protocol in protocols:
            planned += [(seed, protocol, name) for name in PLAIN]
            planned += [
                (seed, protocol, cell) for cell in CELLS if cell.study in studies or cell.name == REFERENCE
            ]
    for done, (seed, protocol, cell) in enumerate(planned):
        name = cell if isinstance(cell, str) else cell.name
        yield done, len(planned), f"{protocol}, seed {seed}: {name}"
        path = out / protocol / f"{name.replace(', ', '__')}" / f"seed{seed}.json"
        if path.exists():
            _read(path, config)
            continue
        started = time.monotonic()
        if isinstance(cell, str):
            trials = _all_trials(folder, corpus, protocol, seed, config)
            valued, parameters = value_plainly(PLAIN[cell], corpus, trials), 0
        else:
            valued, parameters = _run(folder, corpus, protocol, cell, seed, config)
        _write(path, Result(protocol, name, seed, parameters, time.monotonic() - started, valued), config)
    yield len(planned), len(planned), "done"


def results(out: Path, config: AblationConfig | None = None) -> list[Result]:
    """Every run that `out` holds. Raises `RecipeError` where one was made with another configuration."""
    return [_read(path, config) for path in sorted(out.glob("*/*/seed*.json"))]


def _run(
    folder: Path, corpus: Corpus, protocol: Protocol, cell: Cell, seed: int, config: AblationConfig
) -> tuple[list[Valued], int]:
    """Train one cell and value its trials; in sequence, every checkpoint is valued before it is trained on."""
    torch.manual_seed(seed)
    adapter = AdapterConfig(
        input_width=corpus.pooled.shape[1],
        queries=config.queries_of_adapter,
        connector=cell.connector,
        alone=True,
    )
    network = ValueNetwork(adapter, head_config(adapter, **config.head))
    if cell.head != "fresh":
        fit_prior(network, corpus.pooled, config, seed)
        network.head.requires_grad_(cell.head == "tuned")
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    training = _Training(network, corpus, cell.loss, config, seed)
    columns, scores = policies(corpus.source), corpus.source.scores
    if protocol == "strict":
        held = held_prompts(folder, corpus.source, seed)
        training.on(
            [(p.column, np.flatnonzero(np.isfinite(scores[:, p.column]) & ~held)) for p in columns],
            config.steps,
        )
        trials = strict_trials(corpus.source, held, seed, config.trial_context)
        return value_trials(network.eval(), corpus, trials, config.max_tokens), parameters
    numbers = steps(columns)
    valued: list[Valued] = []
    for before, step in pairwise(numbers):
        pools = [
            (p.column, np.flatnonzero(np.isfinite(scores[:, p.column])))
            for p in columns
            if p.step is not None and p.step <= before
        ]
        training.on(pools, config.steps // (len(numbers) - 1))
        trials = sequential_trials(corpus.source, step, seed, config.trial_context)
        valued += value_trials(network.eval(), corpus, trials, config.max_tokens)
    return valued, parameters


def _all_trials(
    folder: Path, corpus: Corpus, protocol: Protocol, seed: int, config: AblationConfig
) -> list[Trial]:
    source = corpus.source
    if protocol == "strict":
        return strict_trials(source, held_prompts(folder, source, seed), seed, config.trial_context)
    later = steps(policies(source))[1:]
    return [t for step in later for t in sequential_trials(source, step, seed, config.trial_context)]


class _Training:
    """One network, one optimiser; the learning rate falls over all steps of the run, however they are dealt out."""

    def __init__(
        self, network: ValueNetwork, corpus: Corpus, loss: LossName, config: AblationConfig, seed: int
    ) -> None:
        self._network, self._corpus, self._config, self._loss = network, corpus, config, loss_named(loss)
        self._rng = np.random.default_rng([seed, 1])
        self._optimiser = _optimiser(network, config)
        self._step = 0

    def on(self, pools: Sequence[tuple[int, NDArray[np.intp]]], count: int) -> None:
        """Train `count` steps on tasks of these policies: (column, rows that may be used)."""
        config, scores = self._config, self._corpus.source.scores
        able = [(column, rows) for column, rows in pools if len(rows) >= 2 * LEAST_QUERIES]
        if not able:
            raise CorpusError(
                f"{self._corpus.source.name}: no policy has {2 * LEAST_QUERIES} outcomes to train on"
            )
        self._network.train()
        for _ in range(count):
            chosen = [able[i] for i in self._rng.integers(len(able), size=config.tasks)]
            size = min(config.context + config.queries, *(len(rows) for _, rows in chosen))
            rows = np.stack([self._rng.permutation(pool)[:size] for _, pool in chosen])  # (B, N+M)
            labels = np.stack([scores[r, column] for r, (column, _) in zip(rows, chosen, strict=True)])
            self._advance(rows, labels, size - min(config.queries, size // 2))

    def _advance(self, rows: NDArray[np.intp], labels: NDArray[np.float32], n: int) -> None:
        corpus, network = self._corpus, self._network
        assert corpus.states is not None
        unique, places = np.unique(rows, return_inverse=True)
        order = np.argsort(np.diff(corpus.states.offsets)[unique])  # alike lengths waste no padding
        parts = np.array_split(unique[order], EMBED_PARTS)
        embeddings = torch.cat(
            [embed_rows(network, corpus, part, self._config.max_tokens, "cpu") for part in parts]
        )[torch.from_numpy(np.argsort(order))]
        r, head = torch.from_numpy(labels), network.head
        tasks = embeddings[
            torch.from_numpy(places.reshape(rows.shape))
        ]  # (B, N+M, D): other prompts for each
        logits = torch.cat(
            [head.value(x[n:], head.read(x[:n], r[i : i + 1, :n])) for i, x in enumerate(tasks)]
        )
        loss = self._loss(logits, r[:, n:], torch.ones_like(logits, dtype=torch.bool))
        _descend(self._optimiser, loss, self._step, self._config.steps, self._config)
        self._step += 1


def fit_prior(network: ValueNetwork, pooled: NDArray[np.float32], config: AblationConfig, seed: int) -> None:
    """
    Fit the head to made-up policies, as TabPFN's head is to made-up tables: no outcome of a real one is seen.

    A policy succeeds on one side of a random hyperplane through the pooled states (P, H), more or less sharply. The
    columns are shuffled and their signs drawn anew every step, so that the head cannot tie itself to them.
    """
    rng = np.random.default_rng([seed, 2])
    centred = (pooled - pooled.mean(0)) / (pooled.std(0) + 1e-6)
    if network.head.config.input_width != pooled.shape[1]:
        raise RecipeError("a prior needs as many columns of the connector as the backbone's states have")
    optimiser = _optimiser(network, config)  # the connector has no part in the loss, and so stays
    network.head.train()
    n, m = config.context, config.queries
    for step in range(config.prior_steps):
        rows = rng.choice(len(pooled), min(n + m, len(pooled)), replace=False)
        x = centred[rows]
        slopes = x @ rng.standard_normal((x.shape[1], 4)) / x.shape[1] ** 0.5  # (N+M, B)
        chance = 1 / (1 + np.exp(-np.exp(rng.uniform(0, 2.5, 4)) * (slopes - rng.uniform(-1, 1, 4))))
        labels = torch.from_numpy((rng.random(chance.shape) < chance).T.astype(np.float32))
        shuffled = x[:, rng.permutation(x.shape[1])] * rng.choice([-1.0, 1.0], x.shape[1])
        columns = torch.from_numpy(
            (shuffled / x.shape[1] ** 0.5).astype(np.float32)
        )  # as long as the answers
        context = network.head.read(columns[:n], labels[:, :n])
        logits = network.head.value(columns[n:], context)
        loss = composite_loss(logits, labels[:, n:], torch.ones_like(logits, dtype=torch.bool))
        _descend(optimiser, loss, step, config.prior_steps, config)


def _optimiser(network: ValueNetwork, config: AblationConfig) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    scalars = {name for name, _ in named if name.startswith("head.") and ".reader." not in name}
    return torch.optim.AdamW(
        [
            {
                "params": [p for name, p in named if name not in scalars],
                "weight_decay": config.weight_decay,
                "faster": 1.0,
            },
            {
                "params": [p for name, p in named if name in scalars],
                "weight_decay": 0.0,
                "faster": config.scalars_faster,
            },
        ],
        lr=config.learning_rate,
    )


def _descend(
    optimiser: torch.optim.Optimizer, loss: torch.Tensor, step: int, count: int, config: AblationConfig
) -> None:
    """One step, the learning rate warmed up and then falling by a cosine to a twentieth."""
    warm = max(1, round(config.warmup * count))
    done = max(0.0, (step - warm) / max(1, count - warm))
    rate = (step + 1) / warm if step < warm else 0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * min(1.0, done)))
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate * group["faster"] * float(rate)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
    optimiser.step()


def _write(path: Path, result: Result, config: AblationConfig) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {**asdict(result), "config": asdict(config)}
    for one in found["valued"]:
        for name in ("values", "outcomes", "difficulty"):
            numbers = np.round(one[name].astype(float), 6)
            one[name] = [float(number) if np.isfinite(number) else None for number in numbers]
        one["queries"] = one["queries"].tolist()
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(path)


def _read(path: Path, config: AblationConfig | None) -> Result:
    saved = json.loads(path.read_text(encoding="utf-8"))
    if config is not None and saved["config"] != asdict(config):
        raise RecipeError(f"{path} was made with other settings; choose another --out, or these settings")
    del saved["config"]
    valued = [
        Valued(**{name: _unlisted(value) for name, value in one.items()}) for one in saved.pop("valued")
    ]
    return Result(**saved, valued=valued)


def _unlisted(value: Any) -> Any:
    """Lists back to arrays, None to NaN."""
    if not isinstance(value, list):
        return value
    return np.array(value, dtype=int if all(type(number) is int for number in value) else float)
