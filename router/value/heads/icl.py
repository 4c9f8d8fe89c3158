"""The `icl` head: it reads capability contexts in closed form and values new prompts.

What a model scores on a prompt is taken apart: its level, what the prompt is to the whole fleet (the common part), and
what it is to this model beside that (its own part). Both parts are foretold by plain in-context learners: ridge
regressions over the embedding, at several penalties, and over what a reader makes of it, who was taught by the
outcomes of other models; and kernel averages over like prompts, from broad to narrow. They are stacked by how well they
foretell rows that are left out, drawn to learned proportions. Nothing descends a gradient at inference. Beside the
reader training learns little, so that little is lost on a source it never saw: how much each group of columns counts to
each ridge, the penalties, how sharp likeness is, how far to trust a short context, and how far the reader.

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
from router.value.heads.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL_ROWS = 2.0  # of the fleet's mean outcome that a model's level begins with
FAINT = -3.0  # logarithm of the scale at which a ridge begins to read what is not its own
AXES_PENALTY = 10.0  # of the ridge that reads the axes, at the start
SAME = 0.9998  # cosine of two prompts' places from which on they are one prompt


@dataclass(frozen=True)
class IclConfig:
    """Shape of the head."""

    groups: tuple[int, ...]  # columns of the embedding that are weighed together, side by side
    penalties: tuple[float, ...] = (10.0, 100.0)  # of the ridges, at the start
    sharpness: tuple[float, ...] = (3.0, 20.0, 80.0)  # of the kernels, at the start
    axes: int = 0  # of the reader; without any it reads the difficulty alone, and learns it with the head
    places: int = 0  # columns in which prompts are like one another, by `lay_out`; 0 for all there are
    hidden: int = 64  # of the reader
    dropout: float = 0.2

    @property
    def input_width(self) -> int:
        """The embedding's."""
        return sum(self.groups)

    @property
    def width(self) -> int:
        """Of what the ridges read: the embedding and the reader's axes."""
        return self.input_width + self.axes

    @property
    def ridges(self) -> int:
        """One at each penalty that reads the embedding above all, and one that reads the axes, if there are any."""
        return len(self.penalties) + (self.axes > 0)

    @property
    def learners(self) -> int:
        """In-context learners of one part."""
        return self.ridges + len(self.sharpness)


@dataclass(frozen=True)
class Rows:
    """N prompts as the head sees them."""

    features: torch.Tensor  # (N, W): embedding and axes
    places: torch.Tensor  # (N, A), unit vectors
    difficulty: torch.Tensor  # (N,), read


@dataclass(frozen=True)
class Part:
    """A fitted part of B contexts: what foretells it on a new prompt."""

    linear: torch.Tensor  # (B, W+1): the stacked ridges and their offset
    blend: torch.Tensor  # (B, K): weights of the kernel averages
    places: torch.Tensor  # (N, A), or (B, N, A)
    targets: torch.Tensor  # (B, N), times the row's weight
    weights: torch.Tensor  # (B, N), 0 where there is no row


@dataclass(frozen=True)
class Common:
    """What a fleet's outcomes say of prompts, whoever answers. One is shared by all contexts read with it."""

    part: Part  # B = 1
    slope: torch.Tensor  # (), of the difficulty
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
    ridges: torch.Tensor  # (B, Gr, W+1)


class IclHead(nn.Module):
    """Embeddings (N, D) with labels (B, N) to contexts; contexts and queries (M, D) to logits (B, M)."""

    layout: torch.Tensor

    def __init__(self, config: IclConfig) -> None:
        super().__init__()
        self.config = config
        self.reader = Reader(config.input_width, config.axes, config.hidden, config.dropout)
        columns, penalties = [*config.groups, config.axes], list(config.penalties)
        scales = torch.zeros(config.ridges, len(columns))
        if config.axes:
            scales[:-1, -1] = scales[-1, :-1] = FAINT
            penalties.append(AXES_PENALTY)
        self.log_scale = nn.Parameter(scales)
        self.log_penalty = nn.Parameter(torch.tensor(penalties).log().repeat(2, 1))  # (2, Gr): common, own
        self.log_sharpness = nn.Parameter(torch.tensor(config.sharpness).log())
        self.register_buffer("layout", torch.zeros(config.width, min(config.places, config.width)))
        # how the learners are stacked before a context speaks (G+1,): ridges, kernels, difficulty or common part
        ridges = [0.8 / config.ridges] * config.ridges
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
        axes, difficulty = self.reader(embeddings)
        features = torch.cat([embeddings, axes], dim=-1)
        places = features @ self.layout if self.config.places else features
        return Rows(features, F.normalize(places, dim=-1), difficulty)

    @torch.no_grad()
    def lay_out(self, embeddings: torch.Tensor) -> None:
        """Compare prompts from now on along the principal axes of these (P, D): fewer columns, nearly all they tell."""
        if self.config.places:
            features = self.look(embeddings).features.double()
            axes = torch.linalg.eigh(features.T @ features).eigenvectors.flip(1)
            self.layout.copy_(axes[:, : self.layout.shape[1]])

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
        start = self.start_common[None]
        blend = start + moved(*evidence(left_out, mean, trust, start), self.log_doubt[0].exp())
        foretold = (left_out @ blend.unsqueeze(-1)).squeeze(-1)[0]
        known = (counts * mean[0] + rivals * foretold) / (counts + rivals)
        part = self._part(ridges, blend, rows, mean * trust, trust)
        return Common(part, blend[0, -1], level, torch.zeros_like(self.start_own), known, foretold)

    def nothing(self) -> Common:
        """The common part where there is no fleet: the learned difficulty alone."""
        empty = self.base.new_zeros
        none = Part(
            empty(1, self.config.width + 1),
            empty(1, len(self.config.sharpness)),
            empty(0, self.layout.shape[1] or self.config.width),
            empty(1, 0),
            empty(1, 0),
        )
        return Common(
            none, self.start_common[-1], empty(()) + 0.5, empty(self.config.learners + 1), empty(0), empty(0)
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
        count = self.config.ridges
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
        """Left-out guesses (B, N, G) of every learner, and the ridges (B, Gr, W+1)."""
        counts = torch.tensor([*self.config.groups, self.config.axes], device=target.device)
        scales = F.pad(
            self.log_scale.exp().repeat_interleave(counts, dim=1), (0, 1), value=1.0
        )  # the offset's is 1
        fits = [
            fit_linear(rows.features * scale[:-1], target, weights, penalty)
            for scale, penalty in zip(scales, self.log_penalty[which].exp(), strict=True)
        ]
        nearby = kernel_averages(
            rows.places, rows.places, target * weights, weights, self.log_sharpness.exp(), skip=0
        )
        left_out = torch.cat([torch.stack([fit[1] for fit in fits], dim=-1), nearby], dim=-1)
        return left_out, torch.stack([fit[0] for fit in fits], dim=1) * scales


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
