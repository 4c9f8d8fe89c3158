"""Tuning the backbone's last layers on outcomes, before adapter and head are trained on it.

A frozen sentence embedding says what a prompt is about; which models solve it shows there only in part. Each training
model of each source gets a linear reading, of rank `rank` over all models together, of the pooled state; prompts are
drawn from all sources, and the loss is the cross-entropy of the outcomes. A second reading may take what a model
scores on a dataset as given (`offset_share` of the prompts): what is left to learn is difficulty, not domain.
The readings are thrown away; the layers are kept as a delta beside V0's weights.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from router.value import run_state, structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.backbone import Backbone
    from router.value.corpus import Source
    from router.value.episodes import Split

REPORT_EVERY, SAVE_EVERY = 25, 100  # steps


@dataclass(frozen=True)
class TuneConfig:
    """How the backbone's last layers are tuned; 0 layers or steps leave it as it is."""

    layers: int = 3
    steps: int = 1500
    batch: int = 32  # prompts
    max_tokens: int = 128
    most_passes: float = 4.0  # over a source's prompts, which bounds the share of small sources
    rank: int = 64
    learning_rate: float = 1e-4
    reading_rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.01
    offset_share: float = 0.5
    average: float = 0.99  # decay of the averaged layers, which are the ones that are kept
    seed: int = 0


class _Readings(nn.Module):
    """Pooled states and structure to one logit for every training model of every source."""

    def __init__(self, width: int, config: TuneConfig, parts: Sequence[tuple[Source, Split]]) -> None:
        super().__init__()
        self.share = nn.Linear(width + structure.WIDTH, config.rank)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(len(part.train_models), config.rank) * config.rank**-0.5)
            for _, part in parts
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(len(part.train_models))) for _, part in parts)

    def forward(self, pooled: torch.Tensor, facts: torch.Tensor, number: int) -> torch.Tensor:
        """Logits (B, M) of source `number`'s training models, from pooled (B, H) of unit length and facts (B, S)."""
        read = self.share(torch.cat([pooled * pooled.shape[-1] ** 0.5, facts], dim=-1))
        return read @ self.weights[number].T + self.bias[number]


def tune(
    backbone: Backbone, parts: Sequence[tuple[Source, Split]], config: TuneConfig, out: Path
) -> dict[str, torch.Tensor]:
    """Tune in place, or go on tuning, with state in `out`; returns the kept layers by name."""
    from rich.progress import Progress

    out.mkdir(parents=True, exist_ok=True)
    run = _Tuning(backbone, parts, config, out / "tune.safetensors")
    run.resume()
    with Progress() as progress, (out / "tune.jsonl").open("a") as log:
        bar = progress.add_task("tune the backbone", total=config.steps, completed=run.step)
        started, losses = time.monotonic(), []
        try:
            while run.step < config.steps:
                losses.append(run.advance())
                progress.advance(bar)
                if run.step % REPORT_EVERY == 0:
                    loss = float(np.mean(losses[-REPORT_EVERY:]))
                    record = {"step": run.step, "loss": loss, "seconds": time.monotonic() - started}
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                if run.step % SAVE_EVERY == 0:
                    run.save()
        finally:
            run.save()
    return run.averaged()


class _Tuning:
    def __init__(
        self, backbone: Backbone, parts: Sequence[tuple[Source, Split]], config: TuneConfig, file: Path
    ) -> None:
        self.config, self.step, self._file = config, 0, file
        self._backbone, self._parts = backbone, parts
        self._tuned = backbone.last_layers(config.layers)
        for parameter in self._tuned.values():
            parameter.requires_grad_(True)
        torch.manual_seed(config.seed)
        self._readings = _Readings(backbone.width, config, parts).to(backbone.device)
        self._average = {name: p.detach().clone() for name, p in self._tuned.items()}
        self._optimiser = torch.optim.AdamW(
            [
                {"params": list(self._tuned.values()), "rate": config.learning_rate},
                {"params": list(self._readings.parameters()), "rate": config.reading_rate},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
        )
        self._shares = _shares(parts, config)
        self._offsets = [_offsets(source, part) for source, part in parts]
        self._facts = [structure.structure(source.texts) for source, _ in parts]

    def advance(self) -> float:
        """One optimiser step; the same for the same seed and number, whatever went before."""
        config = self.config
        rng = np.random.default_rng([config.seed, self.step])
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        done = self.step / config.steps
        scale = min(1.0, (self.step + 1) / config.warmup) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done)))
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * scale
        counts = rng.multinomial(config.batch, self._shares)
        drawn = [
            (number, rng.choice(self._parts[number][1].train_prompts, min(count, 64)))
            for number, count in enumerate(counts)
            if count
        ]
        texts = [self._parts[number][0].texts[row] for number, rows in drawn for row in rows]
        pooled = self._pooled(texts)
        total, start = pooled.new_zeros(()), 0
        for number, rows in drawn:
            total = total + self._loss(pooled[start : start + len(rows)], number, rows, rng)
            start += len(rows)
        loss = total / len(texts)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*self._tuned.values(), *self._readings.parameters()], 1.0)
        self._optimiser.step()
        self.step += 1
        decay = min(config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self._tuned.items():
                self._average[name].lerp_(parameter, 1 - decay)
        return loss.item()

    def _pooled(self, texts: list[str]) -> torch.Tensor:
        """Pooled states (B, H), in two halves by length, so that short prompts are not padded to long ones."""
        order = np.argsort([len(text) for text in texts])
        parts = [
            self._backbone.pooled_with_gradient([texts[i] for i in half], self.config.max_tokens)
            for half in np.array_split(order, 2)
            if len(half)
        ]
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def _loss(
        self, pooled: torch.Tensor, number: int, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> torch.Tensor:
        """Sum over the prompts of the mean cross-entropy over the models that were observed."""
        source, part = self._parts[number]
        device = pooled.device
        logits = self._readings(pooled, torch.from_numpy(self._facts[number][rows]).to(device), number)
        given = rng.random(len(rows)) < self.config.offset_share
        names, offsets = self._offsets[number]
        logits = logits + torch.from_numpy(offsets[names[rows]] * given[:, None]).to(device)
        labels = torch.from_numpy(source.scores[np.ix_(rows, part.train_models)]).to(device)
        seen = labels.isfinite().float()
        errors = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none") * seen
        return (errors.sum(1) / seen.sum(1).clamp(min=1)).sum()

    def averaged(self) -> dict[str, torch.Tensor]:
        """The averaged layers, by their names in the backbone."""
        return dict(self._average)

    def save(self) -> None:
        """Write layers, averages, readings and optimiser state."""
        run_state.save(self._file, self.step, self._named(), self._average, self._optimiser)

    def resume(self) -> None:
        """Take up a saved state, if there is one."""
        self.step = run_state.resume(self._file, self._named(), self._average, self._optimiser)

    def _named(self) -> dict[str, nn.Parameter]:
        readings = {f"readings.{name}": p for name, p in self._readings.named_parameters()}
        return {**self._tuned, **readings}


def _shares(parts: Sequence[tuple[Source, Split]], config: TuneConfig) -> NDArray[np.float64]:
    """How often a prompt is drawn from each source: by the root of its outcomes, no prompt too often."""
    prompts = np.array([len(part.train_prompts) for _, part in parts], dtype=float)
    models = np.array([len(part.train_models) for _, part in parts], dtype=float)
    most = config.most_passes * prompts / (config.batch * max(1, config.steps))
    shares = np.sqrt(prompts * models)
    shares /= shares.sum()
    for _ in parts:  # what capped sources leave goes to the others
        capped = shares >= most
        if capped.all():
            break
        free = max(0.0, 1 - most[capped].sum())
        shares = np.where(capped, most, shares / shares[~capped].sum() * free)
    return shares / shares.sum()


def _offsets(source: Source, part: Split) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Each prompt's dataset (P,), and each training model's shrunk logit on each dataset (D, M)."""
    names, codes = np.unique(source.datasets, return_inverse=True)
    scores = source.scores[np.ix_(part.train_prompts, part.train_models)]
    overall = np.nanmean(scores, axis=0)
    rows = []
    for code in range(len(names)):
        inside = scores[codes[part.train_prompts] == code]
        sums, counts = np.nansum(inside, axis=0), np.isfinite(inside).sum(axis=0)
        mean = ((sums + 4 * np.nan_to_num(overall, nan=0.5)) / (counts + 4)).clip(0.02, 0.98)
        rows.append(np.log(mean / (1 - mean)))
    return codes.astype(np.intp), np.array(rows, dtype=np.float32)
