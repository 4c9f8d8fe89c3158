"""The `icl` head: it reads capability contexts in closed form and values new prompts.

What a model scores on a prompt is taken apart: its level, what the prompt is to the whole fleet (the common part), and
what it is to this model beside that (its own part). Both parts are foretold by plain in-context learners: ridge
regressions over the embedding, at several penalties, and kernel averages over like prompts, from broad to narrow. They
are stacked by how well they foretell rows that are left out, drawn to learned proportions. Nothing descends a gradient
at inference. Training learns little, so that little is lost on a source it never saw: how much each group of columns
counts, the penalties, how sharp likeness is, how far to trust a short context; and a guess of each prompt's difficulty
that holds for every model before anything is known of it. There are several such guesses, each taught by a part of the
sources; how far they are trusted is learnt on the sources that they have not seen.

The common part completes the matrix of prompts and models in context, at rank one: a model with few outcomes borrows
what the fleet's say of a prompt's difficulty, and where models are compared its noise does not enter, for it is the
same for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from router.value.heads.closed_form import evidence, fit_linear, kernel_averages, moved, soft_clamp

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL_ROWS = 2.0  # of the fleet's mean outcome that a model's level begins with
SAME = 0.9998  # cosine of two prompts' places from which on they are one prompt


@dataclass(frozen=True)
class IclConfig:
    """Shape of the head."""

    groups: tuple[int, ...]  # columns of the embedding that are weighed together, side by side
    penalties: tuple[float, ...] = (10.0, 100.0)  # of the ridges, at the start
    sharpness: tuple[float, ...] = (3.0, 20.0, 80.0)  # of the kernels, at the start
    guesses: int = (
        4  # of difficulty: the sources are dealt into as many parts, and each guess is taught by the others
    )
    hidden: int = 64  # of a guess
    dropout: float = 0.2

    @property
    def input_width(self) -> int:
        """The embedding's."""
        return sum(self.groups)

    @property
    def learners(self) -> int:
        """In-context learners of one part."""
        return len(self.penalties) + len(self.sharpness)


@dataclass(frozen=True)
class Rows:
    """N prompts as the head sees them."""

    features: torch.Tensor  # (N, D)
    places: torch.Tensor  # (N, D), unit vectors
    difficulty: torch.Tensor  # (N,), learned


@dataclass(frozen=True)
class Part:
    """A fitted part of B contexts: what foretells it on a new prompt."""

    linear: torch.Tensor  # (B, D+1): the stacked ridges and their offset
    blend: torch.Tensor  # (B, K): weights of the kernel averages
    places: torch.Tensor  # (N, D), or (B, N, D)
    targets: torch.Tensor  # (B, N), times the row's weight
    weights: torch.Tensor  # (B, N), 0 where there is no row


@dataclass(frozen=True)
class Common:
    """What a fleet's outcomes say of prompts, whoever answers. One is shared by all contexts read with it."""

    part: Part  # B = 1
    slope: torch.Tensor  # (), of the learned difficulty
    level: torch.Tensor  # (), the fleet's mean outcome
    shift: torch.Tensor  # (G+1,): where the stacking of own parts begins, against the learned start
    known: torch.Tensor  # (N,): the common part at its own rows, their outcomes known
    foretold: torch.Tensor  # (N,): the same, foretold from the other rows


@dataclass(frozen=True)
class IclContext:
    """What is kept of B contexts: nothing of it depends on the query."""

    common: Common
    own: Part
    share: torch.Tensor  # (B,): how much of the common part the model shows
    level: torch.Tensor  # (B,)
    foretold: torch.Tensor  # (B, N): each row's value when it is left out

    @property
    def batch(self) -> int:
        return self.level.shape[0]


@dataclass(frozen=True)
class _Begun:
    """Own parts of B contexts whose learners are fitted but not stacked yet."""

    rows: Rows
    target: torch.Tensor  # (B, N)
    weights: torch.Tensor  # (B, N)
    level: torch.Tensor  # (B,)
    left_out: torch.Tensor  # (B, N, G+1)
    ridges: torch.Tensor  # (B, Gr, D+1)


class Difficulty(nn.Module):
    """
    What a prompt's looks alone say of its difficulty (N,), learnt from the models of other sources.

    `counts` is the guess that counts in a step of training: one that is `taught` by the episode, or one that never saw
    its source, to learn how far a guess is to be trusted. Otherwise it is their mean.
    """

    def __init__(self, config: IclConfig) -> None:
        super().__init__()
        self.widen = nn.Linear(config.input_width, config.guesses * config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.narrow = nn.Parameter(torch.zeros(config.guesses, config.hidden))
        self.counts: int | None = None
        self.taught = False

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) to (N,)."""
        hidden = self.dropout(F.gelu(self.widen(embeddings))).unflatten(-1, self.narrow.shape)
        guesses = (hidden * self.narrow).sum(-1)  # (N, K)
        return guesses.mean(1) if self.counts is None else guesses[:, self.counts]


class IclHead(nn.Module):
    """Embeddings (N, D) with labels (B, N) to contexts; contexts and queries (M, D) to logits (B, M)."""

    def __init__(self, config: IclConfig) -> None:
        super().__init__()
        self.config = config
        self.log_scale = nn.Parameter(torch.zeros(len(config.groups)))
        self.difficulty = Difficulty(config)
        self.log_penalty = nn.Parameter(
            torch.tensor(config.penalties).log().repeat(2, 1)
        )  # (2, Gr): common, own
        self.log_sharpness = nn.Parameter(torch.tensor(config.sharpness).log())
        # how the learners are stacked before a context speaks (G+1,): ridges, kernels, difficulty or common part
        ridges = [0.8 / len(config.penalties)] * len(config.penalties)
        kernels = [0.0] * len(config.sharpness)
        self.start_common = nn.Parameter(torch.tensor([*ridges, *kernels, 0.3]))
        self.start_own = nn.Parameter(torch.tensor([*ridges, *kernels, -0.2]))
        self.start_alone = nn.Parameter(torch.tensor([*ridges, *kernels, 0.0]))
        # and how firmly: of the common part, of a fleet's own parts together, of one beside a fleet, of one alone
        self.log_doubt = nn.Parameter(torch.full((4, config.learners + 1), 3.5))
        self.log_rivals = nn.Parameter(torch.tensor(1.0))  # outcomes that weigh as much as what is foretold
        self.base = nn.Parameter(torch.tensor([1.0, 0.0]))  # slope and offset of all logits

    def look(self, embeddings: torch.Tensor) -> Rows:
        """Prompts (N, D) as the in-context learners see them."""
        groups = torch.tensor(self.config.groups, device=embeddings.device)
        features = embeddings * self.log_scale.exp().repeat_interleave(groups)
        places = F.normalize(embeddings, dim=-1)
        return Rows(features, places, self.difficulty(embeddings))

    @property
    def _common_start(self) -> torch.Tensor:
        """A guess of difficulty that is being taught counts in full: how far it is trusted is not its lesson."""
        if not self.difficulty.taught:
            return self.start_common
        return torch.cat([self.start_common[:-1], torch.ones_like(self.start_common[-1:])])

    def read(
        self,
        embeddings: torch.Tensor,  # (N, D)
        labels: torch.Tensor,  # (B, N) in [0, 1]
        mask: torch.Tensor | None = None,  # (B, N), True on rows that exist
        *,
        together: bool = False,
        common: Common | None = None,
    ) -> IclContext:
        """
        Read B contexts on the same prompts: `together` as a fleet; or each by itself, beside the common part of a
        fleet that was read before, if there is one.
        """
        rows = self.look(embeddings)
        weights = torch.ones_like(labels) if mask is None else mask.to(labels.dtype)
        labels = labels * weights
        if together:
            common = self.read_common(rows, labels, weights)
            begun = self._begin(rows, labels, weights, common, (common.known, common.foretold))
            common = self.pool([begun], common)
        else:
            common = common or self.nothing()
            begun = self._begin(rows, labels, weights, common, self.recall(rows, common))
        return self._finish(begun, common)

    def read_fleet(
        self,
        table: torch.Tensor,
        labels: torch.Tensor,
        mask: torch.Tensor,
        groups: Sequence[tuple[torch.Tensor, torch.Tensor]],
    ) -> list[IclContext]:
        """
        Read a fleet whose models need not share their prompts. The common part is read from `table` (P, D) with the
        models' labels and mask (M, P); each group of models with rows of its own is embeddings (N, D), labels (B, N).
        """
        common = self.read_common(self.look(table), labels * mask, mask.to(labels.dtype))
        begun = []
        for embeddings, outcomes in groups:
            rows = self.look(embeddings)
            begun.append(
                self._begin(rows, outcomes, torch.ones_like(outcomes), common, self.recall(rows, common))
            )
        common = self.pool(begun, common)
        return [self._finish(each, common) for each in begun]

    def read_common(self, rows: Rows, labels: torch.Tensor, weights: torch.Tensor) -> Common:
        """The common part of a fleet's outcomes (B, N), 0 where the weights are."""
        level = (labels.sum() + 1) / (weights.sum() + 2)
        centred = (labels - _levels(labels, weights, level).unsqueeze(1)) * weights
        counts = weights.sum(0)  # (N,)
        mean = (centred.sum(0) / counts.clamp(min=1)).unsqueeze(0)
        rivals = self.log_rivals.exp()
        trust = (counts / (counts + rivals)).unsqueeze(0)  # (1, N)
        left_out, ridges = self._learn(rows, mean, trust, 0)
        left_out = torch.cat([left_out, rows.difficulty[None, :, None]], dim=-1)  # (1, N, G+1)
        start = self._common_start[None]
        blend = start + moved(*evidence(left_out, mean, trust, start), self.log_doubt[0].exp())
        foretold = (left_out @ blend.unsqueeze(-1)).squeeze(-1)[0]
        known = (counts * mean[0] + rivals * foretold) / (counts + rivals)
        part = self._part(ridges, blend, rows, mean * trust, trust)
        return Common(part, blend[0, -1], level, torch.zeros_like(self.start_own), known, foretold)

    def nothing(self) -> Common:
        """The common part where there is no fleet: the learned difficulty alone."""
        empty = self.base.new_zeros
        none = Part(
            empty(1, self.config.input_width + 1),
            empty(1, len(self.config.sharpness)),
            empty(0, self.config.input_width),
            empty(1, 0),
            empty(1, 0),
        )
        return Common(
            none, self._common_start[-1], empty(()) + 0.5, empty(self.config.learners + 1), empty(0), empty(0)
        )

    def recall(self, rows: Rows, common: Common) -> tuple[torch.Tensor, torch.Tensor]:
        """The common part (N,) at prompts: as it is known where the fleet answered them, and as it is foretold."""
        guessed = self.value_common(rows, common)
        if not len(common.known) or not len(guessed):
            return guessed, guessed
        likeness, nearest = (rows.places @ common.part.places.T).max(dim=1)
        same = likeness > SAME
        return (
            torch.where(same, common.known[nearest], guessed),
            torch.where(same, common.foretold[nearest], guessed),
        )

    def pool(self, fleet: Sequence[_Begun], common: Common) -> Common:
        """The same common part, with what all models together say of the stacking of their own parts."""
        told = [evidence(each.left_out, each.target, each.weights, self.start_own[None]) for each in fleet]
        gram, pull = (torch.cat([pair[i] for pair in told]).sum(0) for i in (0, 1))
        return replace(common, shift=moved(gram, pull, self.log_doubt[1].exp()))

    def value(self, embeddings: torch.Tensor, context: IclContext) -> torch.Tensor:
        """Logits (B, M) of queries (M, D) against every context."""
        rows = self.look(embeddings)
        common = context.share.unsqueeze(1) * self.value_common(rows, context.common)
        return self.logits(context.level.unsqueeze(1) + common + self._foretell(rows, context.own))

    def logits(self, values: torch.Tensor) -> torch.Tensor:
        """Values, which closed forms may put beyond [0, 1], to logits."""
        return self.base[0] * torch.logit(soft_clamp(values)) + self.base[1]

    def value_common(self, rows: Rows, common: Common) -> torch.Tensor:
        """The common part (N,), foretold."""
        return self._foretell(rows, common.part)[0] + common.slope * rows.difficulty

    def _begin(
        self,
        rows: Rows,
        labels: torch.Tensor,
        weights: torch.Tensor,
        common: Common,
        recalled: tuple[torch.Tensor, torch.Tensor],
    ) -> _Begun:
        known, foretold = recalled
        level = _levels(labels, weights, common.level)
        target = (labels - level.unsqueeze(1) - known) * weights
        left_out, ridges = self._learn(rows, target, weights, 1)
        left_out = torch.cat([left_out, foretold.expand_as(target).unsqueeze(-1)], dim=-1)
        return _Begun(rows, target, weights, level, left_out, ridges)

    def _finish(self, begun: _Begun, common: Common) -> IclContext:
        fleet = len(common.known) > 0
        start = (self.start_own + common.shift if fleet else self.start_alone)[None]
        told = evidence(begun.left_out, begun.target, begun.weights, start)
        blend = start + moved(*told, self.log_doubt[2 if fleet else 3].exp())
        own = (begun.left_out @ blend.unsqueeze(-1)).squeeze(-1)
        part = self._part(begun.ridges, blend, begun.rows, begun.target, begun.weights)
        foretold = begun.level.unsqueeze(1) + begun.left_out[..., -1] + own
        return IclContext(common, part, 1 + blend[:, -1], begun.level, foretold)

    def _part(
        self,
        ridges: torch.Tensor,
        blend: torch.Tensor,
        rows: Rows,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> Part:
        count = len(self.config.penalties)
        linear = (ridges * blend[:, :count, None]).sum(1)
        return Part(linear, blend[:, count:-1], rows.places, targets, weights)

    def _foretell(self, rows: Rows, part: Part) -> torch.Tensor:
        fitted = part.linear[:, :-1] @ rows.features.T + part.linear[:, -1:]  # (B, M)
        if part.targets.shape[1] == 0:
            return fitted
        nearby = kernel_averages(
            rows.places, part.places, part.targets, part.weights, self.log_sharpness.exp()
        )
        return fitted + (nearby @ part.blend.unsqueeze(-1)).squeeze(-1)

    def _learn(
        self, rows: Rows, target: torch.Tensor, weights: torch.Tensor, which: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-out guesses (B, N, G) of every learner, and the ridges (B, Gr, D+1)."""
        fits = [fit_linear(rows.features, target, weights, p) for p in self.log_penalty[which].exp()]
        nearby = kernel_averages(
            rows.places, rows.places, target * weights, weights, self.log_sharpness.exp(), skip=0
        )
        left_out = torch.cat([torch.stack([fit[1] for fit in fits], dim=-1), nearby], dim=-1)
        return left_out, torch.stack([fit[0] for fit in fits], dim=1)


def _levels(labels: torch.Tensor, weights: torch.Tensor, fleet: torch.Tensor) -> torch.Tensor:
    """Mean outcome (B,) of each model, drawn to the fleet's."""
    return (labels.sum(1) + LEVEL_ROWS * fleet) / (weights.sum(1) + LEVEL_ROWS)


def straight(contexts: Sequence[IclContext]) -> list[IclContext]:
    """
    Contexts of one fleet without their kernels: what is left is linear in the prompt and costs next to nothing to
    value. They remember no rows.
    """

    def linear(part: Part) -> Part:
        return Part(
            part.linear, part.blend, part.places[..., :0, :], part.targets[:, :0], part.weights[:, :0]
        )

    if not contexts:
        return []
    common = replace(contexts[0].common, part=linear(contexts[0].common.part))
    return [replace(each, common=common, own=linear(each.own)) for each in contexts]


def stack(contexts: Sequence[IclContext]) -> IclContext:
    """Contexts beside one common part as one batch; prompts that all share stay shared, others are padded."""
    places = [context.own.places for context in contexts]
    if all(each is places[0] for each in places):
        together, longest = places[0], None
    else:
        longest = max(each.shape[-2] for each in places)
        together = torch.cat(
            [
                F.pad(each, (0, 0, 0, longest - each.shape[-2])).expand(context.batch, -1, -1)
                for each, context in zip(places, contexts, strict=True)
            ]
        )

    def beside(rows: list[torch.Tensor]) -> torch.Tensor:  # (B, N) each
        return torch.cat(rows if longest is None else [F.pad(r, (0, longest - r.shape[1])) for r in rows])

    own = Part(
        linear=torch.cat([context.own.linear for context in contexts]),
        blend=torch.cat([context.own.blend for context in contexts]),
        places=together,
        targets=beside([context.own.targets for context in contexts]),
        weights=beside([context.own.weights for context in contexts]),
    )
    return IclContext(
        common=contexts[0].common,
        own=own,
        share=torch.cat([context.share for context in contexts]),
        level=torch.cat([context.level for context in contexts]),
        foretold=beside([context.foretold for context in contexts]),
    )


def split(contexts: IclContext) -> list[IclContext]:
    """A batch as contexts of one each, their prompts still shared."""
    own = contexts.own

    def one(rows: torch.Tensor, i: int) -> torch.Tensor:
        return rows[i : i + 1]

    return [
        IclContext(
            contexts.common,
            Part(
                one(own.linear, i),
                one(own.blend, i),
                own.places if own.places.dim() == 2 else one(own.places, i),
                one(own.targets, i),
                one(own.weights, i),
            ),
            *(one(getattr(contexts, name), i) for name in ("share", "level", "foretold")),
        )
        for i in range(contexts.batch)
    ]
