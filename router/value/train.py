"""Training V0's reader, adapter and head on outcome data, the backbone frozen (`router train`).

Where the reader has axes it is taught first (see `readers`). Then every step is one episode (see `episodes`), drawn
from its seed and number alone, and the optimiser's state is saved beside the weights: a run that stops goes on where
it was.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from router.value import checkpoint as checkpoints
from router.value import run_state, structure
from router.value.adapter import AdapterConfig
from router.value.backbone import MINILM, Backbone, TokenStates
from router.value.connectors import LayerMeans
from router.value.corpus import fingerprints, read_source, sample_prompts, token_states
from router.value.episodes import Corpus, Episode, EpisodeConfig, EpisodeSampler, Split, split
from router.value.heads.reader import Reader
from router.value.losses import ALPHA, LossName, fleet_ranking_loss, loss_named
from router.value.network import ValueNetwork, head_config
from router.value.pooled import layer_states, normalised
from router.value.readers import SETTLED_ON, Lessons, ReaderConfig, teach, unread
from router.value.tune import TuneConfig, tune

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from router.value.corpus import Source, StoredStates


REPORT_EVERY, SAVE_EVERY = 100, 500  # steps
FOREIGN = 0.75  # share of steps whose reader was taught by other sources than theirs


class RecipeError(ValueError):
    """A training recipe cannot be used."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights but the data's files; saved in the checkpoint."""

    sources: tuple[str, ...]  # folders below the data's root
    left_out: tuple[str, ...] = ()  # sources kept for validation and test
    most_prompts: int = 5000  # of one source
    fewer_prompts: dict[str, int] = field(default_factory=dict)  # for some sources, by name
    held_prompts: float = 0.3
    held_models: float = 0.25
    seed: int = 0
    steps: int = 6000
    learning_rate: float = 1e-3
    warmup: int = 200
    scalars_faster: float = (
        15.0  # the rate of scales, penalties, sharpness and stacking, against the matrices'
    )
    weight_decay: float = 0.05
    clip: float = 1.0
    loss: LossName = "intra+ce"
    alpha: float = ALPHA
    across: float = 0.3  # weight of the ranking across the models of a fleet
    head_from: str = ""  # a checkpoint whose head is where ours begins
    freeze_head: bool = False  # and stays
    average: float = 0.999  # decay of the averaged weights, which are the ones that ship
    max_tokens: int = 192
    backbone: str = MINILM
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(steps=0))
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    episodes: EpisodeConfig = field(default_factory=EpisodeConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    head: dict[str, int | float | tuple[float, ...]] = field(default_factory=dict)  # overrides of IclConfig
    note: str = ""  # for the model card


def read_recipe(path: Path) -> TrainConfig:
    """A training configuration in YAML. Raises `RecipeError` naming file and field."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(TrainConfig).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        raise RecipeError(f"{path}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error


def train(config: TrainConfig, root: Path, cache: Path, out: Path, device: str = "cpu") -> Path:
    """Train, or go on training, on the sources below `root` into `out`; returns the averaged weights' path."""
    from rich.progress import Progress

    out.mkdir(parents=True, exist_ok=True)
    backbone = Backbone.load(config.backbone, device)
    layers: dict[str, torch.Tensor] = {}
    if config.tune.steps:
        drawn = [load_source(root / name, config) for name in config.sources]
        layers = tune(backbone, drawn, config.tune, out)
        backbone = Backbone.load(config.backbone, device)
        backbone.put_layers(layers)
    corpora = [load_corpus(root / name, config, backbone, cache) for name in config.sources]
    torch.manual_seed(config.seed)
    network = ValueNetwork(config.adapter, head_config(config.adapter, **config.head)).to(device)
    if isinstance(network.adapter, LayerMeans):
        network.adapter.fit(some_layers(corpora).to(device))
    start_head(network, Path(config.head_from) if config.head_from else None, config.freeze_head)
    lessons = read_outcomes(network, corpora, config, out, device)
    run = _Run(network, config, out)
    run.resume()
    with Progress() as progress, (out / "log.jsonl").open("a") as log:
        bar = progress.add_task("train V0", total=config.steps, completed=run.step)
        started, losses = time.monotonic(), []
        try:
            for task in _prefetch(_Tasks(corpora, lessons, config), run.step, config.steps):
                losses.append(run.advance(*task, device))
                progress.advance(bar)
                if run.step % REPORT_EVERY == 0:
                    loss = float(np.mean(losses[-REPORT_EVERY:]))
                    record = {"step": run.step, "loss": loss, "seconds": time.monotonic() - started}
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                    progress.update(bar, description=f"train V0, loss {loss:.4f}")
                if run.step % SAVE_EVERY == 0:
                    run.save()
        finally:
            run.save()
    path = out / "v0.safetensors"
    parts = [(corpus.source, part) for corpus, part in corpora]
    checkpoint = checkpoints.Checkpoint(
        run.averaged(),
        config.backbone,
        backbone.version,
        provenance(config, parts),
        trained_on(parts),
        layers,
    )
    checkpoints.save(path, checkpoint, half=True)
    return path


def start_head(network: ValueNetwork, weights: Path | None, freeze: bool) -> None:
    """Begin with the head of a checkpoint, and freeze it if asked to. Raises `RecipeError`."""
    if weights is not None:
        head = checkpoints.load(weights).network.head
        if head.config != network.head.config:
            raise RecipeError(f"head_from: the head in {weights} has another shape than this recipe's")
        network.head.load_state_dict(head.state_dict(), strict=True)
    if freeze:
        if weights is None:
            raise RecipeError("freeze_head: a head that is frozen needs head_from, or it would never learn")
        if not list(network.adapter.parameters()):
            raise RecipeError("freeze_head: this connector has no parameters, so nothing would be trained")
        network.head.requires_grad_(False)


def load_corpus(folder: Path, config: TrainConfig, backbone: Backbone, cache: Path) -> tuple[Corpus, Split]:
    """Read a source, encode it unless that was done before, and split it."""
    source, part = load_source(folder, config)
    facts = structure.structure(source.texts)
    if config.adapter.connector == "layers":
        layers = layer_states(source, backbone, cache)
        return Corpus(source, None, normalised(layers[:, -1]), facts, layers), part
    states = token_states(source, backbone, cache)
    return Corpus(source, states, _pooled(states), facts), part


def load_source(folder: Path, config: TrainConfig) -> tuple[Source, Split]:
    """Read a source and split it."""
    most = config.fewer_prompts.get(folder.name, config.most_prompts)
    source = sample_prompts(read_source(folder), most, seed=0)
    return source, split(source, config.held_prompts, config.held_models, config.seed)


def embed_rows(
    network: ValueNetwork, corpus: Corpus, rows: NDArray[np.intp], max_tokens: int, device: str
) -> torch.Tensor:
    """V0's embeddings (len(rows), D) of a corpus's prompts."""
    facts = torch.from_numpy(corpus.structure[rows]).to(device)
    if corpus.states is None:
        assert corpus.layers is not None
        layers = torch.from_numpy(corpus.layers[rows]).float().to(device)
        nothing = layers.new_zeros(len(rows), 0, layers.shape[-1])
        return network.embed(TokenStates(nothing, nothing[..., 0].bool(), layers), facts)
    states, mask = corpus.states.batch(rows, max_tokens)
    return network.embed(TokenStates(states.to(device), mask.to(device)), facts)


def forward(network: ValueNetwork, episode: Episode, max_tokens: int, device: str) -> torch.Tensor:
    """Logits (B, M) of an episode's queries."""
    corpus, n = episode.corpus, episode.context
    embeddings = embed_rows(network, corpus, episode.rows, max_tokens, device)  # (N+M, D)
    labels = torch.from_numpy(episode.labels).to(device)
    seen = torch.from_numpy(episode.seen).to(device)
    context = network.head.read(embeddings[:n], labels[:, :n], seen, together=episode.together)
    return network.head.value(embeddings[n:], context)


def read_outcomes(
    network: ValueNetwork, corpora: list[tuple[Corpus, Split]], config: TrainConfig, out: Path, device: str
) -> Lessons | None:
    """Teach the readers of a network whose reader has axes, and lay out its head's places by what the last one says."""
    head = network.head
    if not head.config.axes:
        return None
    embeddings = [
        embed_rows(network, corpus, np.arange(len(corpus.source.texts)), config.max_tokens, device).cpu()
        for corpus, _ in corpora
    ]

    def new() -> Reader:
        c = head.config
        return Reader(c.input_width, c.axes, c.hidden, c.dropout).to(device)

    lessons = teach(new, corpora, embeddings, config.reader, config.seed, out)
    head.reader = lessons.whole
    some = [
        rows[part.train_prompts[:SETTLED_ON]] for rows, (_, part) in zip(embeddings, corpora, strict=True)
    ]
    head.lay_out(torch.cat(some).to(device))
    return lessons


def some_layers(corpora: list[tuple[Corpus, Split]], most: int = 1500) -> torch.Tensor:
    """The layers' mean states (P, L, H) of training prompts, `most` of each source."""
    drawn = [
        corpus.layers[part.train_prompts[:most]] for corpus, part in corpora if corpus.layers is not None
    ]
    return torch.from_numpy(np.concatenate(drawn)).float()


class _Tasks:
    """Episodes, each with the reader that it is seen through: one taught by other sources, or by other prompts."""

    def __init__(
        self, corpora: list[tuple[Corpus, Split]], lessons: Lessons | None, config: TrainConfig
    ) -> None:
        self._lessons, self._seed = lessons, config.seed
        self._any = EpisodeSampler(corpora, config.episodes, config.seed)
        own = unread(corpora, config.reader, config.seed) if lessons else corpora
        self._unread = EpisodeSampler(own, config.episodes, config.seed)

    def draw(self, step: int) -> tuple[Episode, Reader | None]:
        """The task of one step: the same for the same seed, whatever was drawn before."""
        if self._lessons is None:
            return self._any.draw(step), None
        readers, kept_from = self._lessons.folds, self._lessons.kept_from
        rng = np.random.default_rng([self._seed, step, 2])
        foreign = bool(kept_from) and bool(rng.random() < FOREIGN)
        episode = (self._any if foreign else self._unread).draw(step)
        fold = kept_from.get(episode.corpus.source.name, 0)
        if kept_from and not foreign:
            fold = (fold + int(rng.integers(1, len(readers)))) % len(readers)
        return episode, readers[fold]


class _Run:
    """The state of a training run: network, optimiser, averaged weights and step."""

    def __init__(self, network: ValueNetwork, config: TrainConfig, out: Path) -> None:
        self.network, self.config, self.step = network, config, 0
        self._file = out / "state.safetensors"
        self._loss = loss_named(config.loss, config.alpha)
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        plain = [p for name, p in named if p.dim() <= 1 or "log_" in name]
        decayed = [p for name, p in named if not (p.dim() <= 1 or "log_" in name)]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay, "faster": 1.0},
                {"params": plain, "weight_decay": 0.0, "faster": config.scalars_faster},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
        )
        self._parameters = dict(named)
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}

    def advance(self, episode: Episode, reader: Reader | None, device: str) -> float:
        """One optimiser step on an episode as this reader sees it, or the network's own; returns the loss."""
        config, head = self.config, self.network.head
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        self.network.train()
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * group["faster"] * _schedule(self.step, config)
        own, head.reader = head.reader, reader or head.reader
        logits = forward(self.network, episode, config.max_tokens, device)
        head.reader = own
        labels = torch.from_numpy(episode.labels[:, episode.context :]).to(device)
        mask = torch.from_numpy(episode.mask[:, episode.context :]).to(device)
        loss = self._loss(logits, labels, mask)
        if episode.together and config.across:
            loss = loss + config.across * fleet_ranking_loss(logits, labels, mask)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self._optimiser.step()
        self.step += 1
        decay = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self._average[name].lerp_(parameter, 1 - decay)
        return loss.item()

    def averaged(self) -> ValueNetwork:
        """The network with its averaged weights."""
        head, adapter = self.network.head.config, self.network.adapter.config
        network = ValueNetwork(adapter, head)
        network.load_state_dict(self.network.state_dict() | self._average, strict=True)
        return network.eval()

    def save(self) -> None:
        """Write weights, averages and optimiser state."""
        run_state.save(self._file, self.step, self._parameters, self._average, self._optimiser)

    def resume(self) -> None:
        """Take up a saved state, if there is one."""
        self.step = run_state.resume(self._file, self._parameters, self._average, self._optimiser)


def _schedule(step: int, config: TrainConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * done)))


def _prefetch(tasks: _Tasks, start: int, stop: int) -> Iterator[tuple[Episode, Reader | None]]:
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(tasks.draw, start)
        for step in range(start, stop):
            task = coming.result()
            coming = pool.submit(tasks.draw, step + 1)
            yield task


def _pooled(states: StoredStates) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    sums = np.add.reduceat(states.flat, states.offsets[:-1], axis=0, dtype=np.float32)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def provenance(config: TrainConfig, parts: Sequence[tuple[Source, Split]]) -> dict[str, object]:
    """How the weights came about, for their header: the recipe, and every source's models by what they were for."""
    fields = asdict(config)
    fields["models"] = {source.name: [source.models[i] for i in part.train_models] for source, part in parts}
    fields["held"] = {
        source.name: {
            "validation_models": [source.models[i] for i in part.validation_models],
            "test_models": [source.models[i] for i in part.test_models],
        }
        for source, part in parts
    }
    return fields


def trained_on(parts: Sequence[tuple[Source, Split]]) -> NDArray[np.int64]:
    """Fingerprints of all prompts that the weights learnt from, ascending."""
    texts = [source.texts[i] for source, part in parts for i in part.train_prompts]
    return np.unique(fingerprints(texts))
