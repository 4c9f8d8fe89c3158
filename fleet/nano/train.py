"""Training the nano fleet (`router fleet train-nano`): every recipe to a Hugging Face folder.

A batch is a pure function of recipe and number, and a run's state is saved every minute: a run that stops goes on
where it was, and ends with the same weights. Only replies are learnt from, unless a recipe gives prompts a weight.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F

from fleet.nano import examples
from fleet.nano.beginning import fresh
from fleet.nano.network import WEIGHTS, Llama, NetworkError, Shape, load, save
from fleet.nano.optimiser import optimisers
from fleet.nano.roster import WINDOW
from fleet.nano.tokenizer import (
    TOKENIZER,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    train_tokenizer,
)
from fleet.tasks import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from torch import Tensor

    from fleet.nano.examples import Batch
    from fleet.nano.roster import Recipe

RECIPE = "recipe.json"
TOKENIZER_TASKS = 20_000
WARMUP, FLOOR = 0.02, 0.02  # share of the budget until full speed; share of full speed at the end
CLIP = 1.0
REPORT_EVERY, SAVE_EVERY_S = 100, 60.0
AHEAD = 2  # pools made before they are needed


class TrainingError(ValueError):
    """Training cannot go on; the message says what to remove or change."""


@dataclass(frozen=True)
class Progress:
    """How far a run is. `loss` is the mean over the reply tokens since the last report, in nats."""

    name: str
    step: int
    tokens: int
    budget: float
    loss: float
    learning_rate: float
    tokens_per_s: float


def tokenizer_for(out: Path) -> Path:
    """The folder of the fleet's tokenizer, trained now unless it was before."""
    folder = out / "tokenizer"
    if not (folder / TOKENIZER).is_file():
        drawn = islice(stream(seed=0), TOKENIZER_TASKS)
        texts = (
            text
            for task in drawn
            for text in (task.prompt, task.answer, task.steps or f"Answer: {task.answer}")
        )
        save_tokenizer(train_tokenizer(texts), folder, WINDOW)
    return folder


def train(
    recipe: Recipe,
    out: Path,
    report: Callable[[Progress], None],
    *,
    device: str = "cpu",
    worker: bool = True,
    most_steps: int | None = None,
) -> Path | None:
    """
    Train a model, or go on training it; returns its folder, or None where `most_steps` came first.

    `worker`: examples are made in a process of their own. Raises TrainingError where `out` holds a model of this
    name by another recipe.
    """
    folder = out / recipe.name
    tokenizer = tokenizer_for(out)
    if _done(recipe, folder):
        return folder
    start = out / recipe.start if recipe.start else None
    run = Run.resumed(recipe, tokenizer, out / "training" / recipe.name, device, start)
    with _source(recipe, tokenizer, worker) as source:
        run.advance(source, report, most_steps)
    if run.tokens < recipe.tokens:
        return None
    trained = load_tokenizer(tokenizer)
    save_tokenizer(trained, folder, WINDOW)
    (folder / RECIPE).write_text(json.dumps(run.provenance(), indent=2) + "\n", encoding="utf-8")
    save(run.network, folder, special_ids(trained))  # last: its weights say that the model is done
    return folder


def _done(recipe: Recipe, folder: Path) -> bool:
    if not (folder / WEIGHTS).is_file():
        return False
    _compare(json.loads((folder / RECIPE).read_text(encoding="utf-8"))["recipe"], recipe, folder)
    return True


def _compare(found: dict[str, Any], recipe: Recipe, place: Path) -> None:
    if found != _plain(recipe):
        raise TrainingError(f"{place} was trained by another recipe; remove it, or choose another --out")


def _plain(recipe: Recipe) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(recipe)))


class Run:
    """A model in training: its network, its optimisers, and where in its data it is."""

    def __init__(self, recipe: Recipe, tokenizer: Path, folder: Path, device: str) -> None:
        vocabulary = load_tokenizer(tokenizer).get_vocab_size()
        sizes = (recipe.width, recipe.layers, recipe.heads, recipe.heads, recipe.hidden)
        self.recipe = recipe
        self.network = fresh(Shape(vocabulary, *sizes, WINDOW), recipe.seed).to(device)
        self.step = self.tokens = self.pool = self.batch = 0
        self.seconds = 0.0
        self._mid_step = False
        self._folder = folder
        self._device = torch.device(device)
        self._optimisers = optimisers(self.network, recipe.learning_rate, decay=0.01)

    @classmethod
    def resumed(
        cls, recipe: Recipe, tokenizer: Path, folder: Path, device: str, start: Path | None = None
    ) -> Run:
        """A run as it was left, or a new one, from the model in `start`. Raises TrainingError."""
        run = cls(recipe, tokenizer, folder, device)
        folder.mkdir(parents=True, exist_ok=True)
        if run._state_file.is_file():
            state = torch.load(run._state_file, map_location=device, weights_only=True)
            _compare(state["recipe"], recipe, folder)
            run.network.load_state_dict(state["network"])
            for optimiser, its in zip(run._optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(its)
            run.step, run.tokens, run.pool, run.batch = state["at"]
            run.seconds = state["seconds"]
        elif start:
            run._begin_from(start)
        return run

    def advance(
        self, source: Source, report: Callable[[Progress], None], most_steps: int | None = None
    ) -> None:
        """Train until the budget is spent; whatever ends it, the state is saved."""
        saved = reported = time.monotonic()
        tokens = self.tokens
        losses: deque[Tensor] = deque(maxlen=REPORT_EVERY)
        try:
            for batch in self._batches(source):
                losses.append(self._learn(batch))
                now = time.monotonic()
                if self.step % REPORT_EVERY == 0 or self.tokens >= self.recipe.tokens:
                    speed = (self.tokens - tokens) / (now - reported)
                    self._report(report, float(torch.stack(list(losses)).mean()), speed)
                    self.seconds += now - reported
                    reported, tokens = now, self.tokens
                if now - saved > SAVE_EVERY_S:
                    self._save()
                    saved = now
                if most_steps is not None and self.step >= most_steps:
                    return
        finally:
            self._save()

    def provenance(self) -> dict[str, Any]:
        """What the finished model's folder says about its making."""
        return {
            "recipe": _plain(self.recipe),
            "parameters": self.network.shape.parameters(),
            "steps": self.step,
            "tokens": self.tokens,
            "seconds": round(self.seconds),
            "torch": str(torch.__version__),
        }

    def _begin_from(self, start: Path) -> None:
        try:
            model = load(start, self._device)
        except NetworkError as error:
            raise TrainingError(f"{self.recipe.name} goes on from a model not there: {error}") from error
        if model.shape != self.network.shape:
            raise TrainingError(f"{self.recipe.name} goes on from {start.name}, which has another shape")
        self.network.load_state_dict(model.state_dict())

    def _batches(self, source: Source) -> Iterator[Batch]:
        """The batches from where the run is; position and budget are counted when the next one is asked for."""
        while self.tokens < self.recipe.tokens:
            batches = source(self.pool)
            for batch in batches[self.batch :]:
                yield batch
                if self.tokens >= self.recipe.tokens:
                    return
            self.pool, self.batch = self.pool + 1, 0

    def _learn(self, batch: Batch) -> Tensor:
        """One step; returns the mean loss of a reply token."""
        self._mid_step = True
        self._set_speed()
        ids, begins, ends = (
            torch.from_numpy(array).to(self._device) for array in (batch.ids, batch.begins, batch.ends)
        )
        with torch.autocast("cuda", torch.bfloat16, enabled=self._device.type == "cuda"):
            losses, weights = token_losses(self.network, ids, begins, ends)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        self.batch += 1
        self.tokens += batch.tokens
        self._mid_step = False
        return losses.detach().mean()

    def _set_speed(self) -> None:
        """The learning rate at this share of the budget."""
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * speed(self.tokens / self.recipe.tokens)

    def _report(self, report: Callable[[Progress], None], loss: float, tokens_per_s: float) -> None:
        rate = self._optimisers[0].param_groups[0]["lr"]
        recipe = self.recipe
        progress = Progress(recipe.name, self.step, self.tokens, recipe.tokens, loss, rate, tokens_per_s)
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(progress)) + "\n")
        report(progress)

    def _save(self) -> None:
        if self._mid_step:  # interrupted inside a step: what was saved before is whole
            return
        state = {
            "recipe": _plain(self.recipe),
            "at": (self.step, self.tokens, self.pool, self.batch),
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }
        part = self._state_file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._state_file)

    @property
    def _state_file(self) -> Path:
        return self._folder / "state.pt"


def speed(done: float) -> float:
    """The learning rate's share of its peak when a share of the budget is spent: up quickly, down as a cosine."""
    if done < WARMUP:
        return max(done, WARMUP / 100) / WARMUP
    rest = min(1.0, (done - WARMUP) / (1 - WARMUP))
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * rest))


def token_losses(network: Llama, ids: Tensor, begins: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """
    Loss and weight of every token of the replies.

    A reply's tokens weigh 1/√length each: long replies count more than short ones, but do not drown them.
    """
    places = torch.arange(ids.shape[1], device=ids.device)[None]
    begins, ends = begins[:, None], ends[:, None]
    is_reply = (places >= begins) & (places < ends)  # (B,T): places that predict a token of the reply
    weights = is_reply / (ends - begins).sqrt()
    logits = network.logits(network(ids)[is_reply])
    losses = F.cross_entropy(logits.float(), ids.roll(-1, 1)[is_reply], reduction="none")
    return losses, weights[is_reply]


# Where batches come from


class Source(Protocol):
    """Pools of batches by number."""

    def __call__(self, pool: int) -> list[Batch]: ...


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> Any:
    return load_tokenizer(folder)


def make_pool(recipe: Recipe, tokenizer: Path, pool: int) -> list[Batch]:
    """The batches of one pool."""
    only_drills = pool < recipe.drill_pools
    count = 0 if only_drills else recipe.pool_tasks
    drills = 2 * recipe.pool_tasks if only_drills else round(count * recipe.drill_share)
    return examples.batches(
        examples.tasks(recipe.diet, recipe.seed, pool, count),
        drills,
        _tokenizer(tokenizer),
        recipe.diet.style,
        Random(f"{recipe.seed} {pool}"),
        recipe.batch_tokens,
        WINDOW,
    )


@contextmanager
def _source(recipe: Recipe, tokenizer: Path, worker: bool) -> Iterator[Source]:
    if not worker:
        yield lambda pool: make_pool(recipe, tokenizer, pool)
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        coming: dict[int, Future[list[Batch]]] = {}

        def take(pool: int) -> list[Batch]:
            for number in range(pool, pool + 1 + AHEAD):
                if number not in coming:
                    coming[number] = process.submit(make_pool, recipe, tokenizer, number)
            return coming.pop(pool).result()

        yield take
        process.shutdown(wait=False, cancel_futures=True)
