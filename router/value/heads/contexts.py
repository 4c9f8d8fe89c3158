"""What is kept of contexts that the `icl` head has read, and how many of them become one batch and one becomes many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Part:
    """A fitted part of B contexts: what foretells it on a new prompt."""

    linear: torch.Tensor  # (B, W+1): the stacked ridges, and the offset of all that is stacked
    alone: torch.Tensor  # (B, W+1): the ridges in place of all, where nothing else is to be asked
    curved: torch.Tensor  # (B, C, L): the stacked kernel ridges, over their landmarks
    blend: torch.Tensor  # (B, K): weights of the kernel averages
    middle: torch.Tensor  # (A,), or (B, 1, A): what places are seen from
    landmarks: torch.Tensor  # (L, A), or (B, L, A), unit vectors seen from there
    places: torch.Tensor  # (N, A), or (B, N, A), likewise
    targets: torch.Tensor  # (B, N), times the row's weight
    weights: torch.Tensor  # (B, N), 0 where there is no row

    @property
    def batch(self) -> int:
        return self.linear.shape[0]


@dataclass(frozen=True)
class Common:
    """What a fleet's outcomes say of prompts, whoever answers. One is shared by all contexts read with it."""

    part: Part  # B = 1
    slope: torch.Tensor  # (), of the difficulty
    level: torch.Tensor  # (), the fleet's mean outcome
    shift: torch.Tensor  # (G+1,): where the stacking of own parts begins, against the learned start
    known: torch.Tensor  # (N,): the common part at its own rows, their outcomes known
    foretold: torch.Tensor  # (N,): the same, foretold from the other rows
    calibration: torch.Tensor  # (2,): slope and offset of the fleet's logits


@dataclass(frozen=True)
class IclContext:
    """What is kept of B contexts: nothing of it depends on the query."""

    common: Common
    own: Part
    share: torch.Tensor  # (B,): how much of the common part the model shows
    level: torch.Tensor  # (B,)
    foretold: torch.Tensor  # (B, N): each row's value when it is left out
    calibration: torch.Tensor  # (B, 2): slope and offset of logits, a whole fleet's the same

    @property
    def batch(self) -> int:
        return self.level.shape[0]


def straight(contexts: Sequence[IclContext]) -> list[IclContext]:
    """
    Contexts of one fleet without their kernels: what is left is linear in the prompt and costs next to nothing to
    value. They remember no rows.
    """

    def linear(part: Part) -> Part:
        return replace(
            part,
            linear=part.alone,
            curved=part.curved[..., :0],
            landmarks=part.landmarks[..., :0, :],
            places=part.places[..., :0, :],
            targets=part.targets[:, :0],
            weights=part.weights[:, :0],
        )

    if not contexts:
        return []
    common = replace(contexts[0].common, part=linear(contexts[0].common.part))
    return [replace(each, common=common, own=linear(each.own)) for each in contexts]


def stack(contexts: Sequence[IclContext]) -> IclContext:
    """Contexts beside one common part as one batch; prompts that all share stay shared, others are padded."""
    parts = [context.own for context in contexts]
    shared = all(part.places is parts[0].places for part in parts)

    def rows(name: str) -> torch.Tensor:  # N places of each, on axis -2
        found = [getattr(part, name) for part in parts]
        if shared:
            return found[0]
        longest = max(each.shape[-2] for each in found)
        padded = [F.pad(each, (0, 0, 0, longest - each.shape[-2])) for each in found]
        return torch.cat([each.expand(part.batch, -1, -1) for each, part in zip(padded, parts, strict=True)])

    def beside(found: list[torch.Tensor]) -> torch.Tensor:  # (B, …, N) each
        longest = max(each.shape[-1] for each in found)
        return torch.cat([F.pad(each, (0, longest - each.shape[-1])) for each in found])

    middle = parts[0].middle
    if not all(part.middle is middle for part in parts):
        middles = [part.middle.expand(part.batch, 1, -1) for part in parts]
        middle = torch.cat(middles)
    own = Part(
        linear=torch.cat([part.linear for part in parts]),
        alone=torch.cat([part.alone for part in parts]),
        curved=beside([part.curved for part in parts]),
        blend=torch.cat([part.blend for part in parts]),
        middle=middle,
        landmarks=rows("landmarks"),
        places=rows("places"),
        targets=beside([part.targets for part in parts]),
        weights=beside([part.weights for part in parts]),
    )
    return IclContext(
        common=contexts[0].common,
        own=own,
        share=torch.cat([context.share for context in contexts]),
        level=torch.cat([context.level for context in contexts]),
        foretold=beside([context.foretold for context in contexts]),
        calibration=torch.cat([context.calibration for context in contexts]),
    )


def split(contexts: IclContext) -> list[IclContext]:
    """A batch as contexts of one each, their prompts still shared."""
    own = contexts.own

    def one(
        rows: torch.Tensor, i: int, shared: int = 0
    ) -> torch.Tensor:  # of as many axes where all share it
        return rows if rows.dim() == shared else rows[i : i + 1]

    return [
        IclContext(
            contexts.common,
            Part(
                one(own.linear, i),
                one(own.alone, i),
                one(own.curved, i),
                one(own.blend, i),
                one(own.middle, i, shared=1),
                one(own.landmarks, i, shared=2),
                one(own.places, i, shared=2),
                one(own.targets, i),
                one(own.weights, i),
            ),
            *(one(getattr(contexts, name), i) for name in ("share", "level", "foretold", "calibration")),
        )
        for i in range(contexts.batch)
    ]
