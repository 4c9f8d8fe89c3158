"""Learning what prompts ask of models: the first stage of `router train`.

A reader (`router.value.heads.reader`) is taught by the outcomes of all training models of many sources at once, each
model a vector on its axes, each source a slope and an offset of its difficulty; the vectors are thrown away. It knows
its own prompts by heart, and its own sources better than others. So that the head learns how far to trust one where it
will be used, the sources are dealt into folds, and there is a reader for each that was not taught by it; all of these
leave a quarter of the prompts aside. The head is trained on prompts or on sources that its reader has not seen; the
reader that ships was taught by all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from router.value.corpus import CorpusError
from router.value.heads.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.corpus import Source
    from router.value.episodes import Corpus, Split

WARMUP = 50  # steps
FEW = 2.0  # outcomes at which a prompt's mean counts half
SETTLED_ON = 1500  # prompts of a source


@dataclass(frozen=True)
class ReaderConfig:
    """How readers are taught."""

    folds: int = 4
    passes: float = 8.0  # over the prompts
    batch: int = 128  # prompts, of one source
    aside: float = 0.25  # of a source's prompts, that the folds' readers leave to the head
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    difficulty: float = 0.5  # weight of its loss beside the models'


@dataclass(frozen=True)
class Lessons:
    """
    One reader for each fold of the sources, which it was not taught by, and one taught by all.

    `kept_from` is each source's fold; with fewer sources than folds all were taught by all, and it is empty.
    """

    folds: list[Reader]
    whole: Reader
    kept_from: dict[str, int]


def aside(part: Split, config: ReaderConfig, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A source's training prompts: for the folds' readers, and left aside for the head."""
    drawn = np.random.default_rng([seed, 7]).permutation(part.train_prompts)
    cut = round(len(drawn) * (1 - config.aside))
    return np.sort(drawn[:cut]), np.sort(drawn[cut:])


def unread(
    corpora: Sequence[tuple[Corpus, Split]], config: ReaderConfig, seed: int
) -> list[tuple[Corpus, Split]]:
    """The corpora with those training prompts alone that no fold's reader was taught by."""
    return [(corpus, replace(part, train_prompts=aside(part, config, seed)[1])) for corpus, part in corpora]


def teach(
    new: Callable[[], Reader],
    corpora: Sequence[tuple[Corpus, Split]],
    embeddings: Sequence[torch.Tensor],  # (P, D) of each corpus
    config: ReaderConfig,
    seed: int,
    out: Path,
) -> Lessons:
    """
    Teach all readers, or those that `out` does not hold from an earlier run.

    Raises `CorpusError` where what it holds does not fit.
    """
    from rich.progress import track

    order = np.random.default_rng([seed, 1]).permutation(len(corpora))
    folds = config.folds if len(corpora) >= config.folds > 1 else 1
    fold_of = {int(number): place % folds for place, number in enumerate(order)}
    sources = [(corpus.source, part) for corpus, part in corpora]
    early = [aside(part, config, seed)[0] for _, part in corpora]
    readers = []
    for fold in track(range(folds + 1), description="teach readers"):
        whole = fold == folds
        taught = [i for i in range(len(corpora)) if whole or folds == 1 or fold_of[i] != fold]
        prompts = [part.train_prompts for _, part in corpora] if whole else early
        torch.manual_seed(seed)
        reader, file = new(), out / f"reader-{'whole' if whole else fold}.safetensors"
        if file.is_file():
            try:
                reader.load_state_dict(load_file(file))
            except (RuntimeError, SafetensorError) as error:
                raise CorpusError(
                    f"{file} is not of this recipe, or damaged: delete it, or take another --out"
                ) from error
            reader.eval().requires_grad_(False)
        else:
            given = {i: (embeddings[i], prompts[i]) for i in taught}
            _teach(reader, {i: sources[i] for i in taught}, given, config, seed)
            reader.settle(torch.cat([rows[chosen[:SETTLED_ON]] for rows, chosen in given.values()]))
            partial = file.with_suffix(".partial")
            save_file(reader.state_dict(), partial)
            partial.replace(file)
        readers.append(reader)
    kept_from = {corpora[i][0].source.name: fold for i, fold in fold_of.items()} if folds > 1 else {}
    return Lessons(readers[:-1], readers[-1], kept_from)


class _Outcomes(nn.Module):
    """What is thrown away: a source's models (M, K) on the axes, and slope and offset of its difficulty."""

    def __init__(self, models: int, axes: int) -> None:
        super().__init__()
        self.models = nn.Parameter(torch.randn(models, axes) * max(1, axes) ** -0.5)
        self.levels = nn.Parameter(torch.zeros(models))
        self.slope, self.offset = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))


def _teach(
    reader: Reader,
    sources: dict[int, tuple[Source, Split]],
    given: dict[int, tuple[torch.Tensor, NDArray[np.intp]]],
    config: ReaderConfig,
    seed: int,
) -> None:
    scores = {
        i: torch.from_numpy(source.scores[:, part.train_models]) for i, (source, part) in sources.items()
    }
    common = {i: _common(each) for i, each in scores.items()}
    device = next(reader.parameters()).device
    width = reader.narrow.out_features - 1
    ends = nn.ModuleDict({str(i): _Outcomes(each.shape[1], width) for i, each in scores.items()})
    ends.to(device)
    learnt = [*reader.parameters(), *ends.parameters()]
    optimiser = torch.optim.AdamW(learnt, lr=config.learning_rate, weight_decay=config.weight_decay)
    numbers = list(given)
    sizes = np.array([len(prompts) for _, prompts in given.values()], dtype=float)
    steps, rng = max(1, round(sizes.sum() * config.passes / config.batch)), np.random.default_rng(seed)
    reader.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / WARMUP)
            group["lr"] = config.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * step / steps))
        number = int(rng.choice(numbers, p=sizes / sizes.sum()))
        rows, prompts = given[number]
        chosen = rng.choice(prompts, min(config.batch, len(prompts)), replace=False)
        axes, difficulty = reader(rows[chosen].to(device))
        end = ends[str(number)]
        assert isinstance(end, _Outcomes)
        loss = _error(axes @ end.models.T + end.levels, scores[number][chosen].to(device))
        means, trust = (each[chosen].to(device) for each in common[number])
        logits = difficulty * end.slope.exp() + end.offset
        errors = F.binary_cross_entropy_with_logits(logits, means, reduction="none")
        loss = loss + config.difficulty * (errors * trust).sum() / trust.sum().clamp(min=1e-3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _error(logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of outcomes (B, M), where they are known."""
    known = scores.isfinite().float()
    errors = F.binary_cross_entropy_with_logits(logits, scores.nan_to_num(), reduction="none")
    return (errors * known).sum() / known.sum().clamp(min=1)


def _common(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each prompt's mean outcome (P,) once the models' levels are taken out, in [0, 1], and how far it counts (P,)."""
    known = scores.isfinite().float()
    filled, count = scores.nan_to_num(), known.sum(1)
    level = filled.sum(0) / known.sum(0).clamp(min=1)
    overall = filled.sum() / known.sum().clamp(min=1)
    mean = ((filled - level) * known).sum(1) / count.clamp(min=1) + overall
    return mean.clamp(0, 1), count / (count + FEW)
