"""The `icl` head: it reads capability contexts in closed form and values new prompts.

What a model scores on a prompt is taken apart: its level, what the prompt is to the whole fleet (the common part), and
what it is to this model beside that (its own part). Both parts are foretold by plain in-context learners: ridge
regressions over the embedding, at several penalties, and over what a reader makes of it, who was taught by the outcomes
of other models; kernel ridges, for what bends; and averages over prompts that are much alike. Likeness is of directions
as seen from the middle of the context, so that a narrow domain is spread as a wide one is. Each learner is believed as
far as it foretells rows that are left out, and all are stacked by the same measure, drawn to learned proportions; what
comes out is calibrated by the values of left-out rows, a fleet's by one slope and one offset, so that its order stays.
Nothing descends a gradient at inference. Beside the reader training learns little, so that little is lost on a source
it never saw: how much each group of columns counts to each ridge, the penalties, how sharp likeness is, how far to
trust a short context, and how far the reader.

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

from router.value.heads.closed_form import (
    believed,
    evidence,
    fit_curve,
    fit_linear,
    kernel_averages,
    kernel_sums,
    moved,
    platt,
    soft_clamp,
)
from router.value.heads.contexts import Common, IclContext, Part
from router.value.heads.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL_ROWS = 2.0  # of the fleet's mean outcome that a model's level begins with
FAINT = -3.0  # logarithm of the scale at which a ridge begins to read what is not its own
AXES_PENALTY = 10.0  # of the ridge that reads the axes, at the start
CURVE_PENALTY = 3.0  # of the kernel ridges, at the start
CREDIT = 3.0  # rows for which a learner is believed before its left-out guesses are looked at
RIGOUR = 0.2  # with which learners are weighed by their likelihoods; 1 is Bayes' rule
FIRM = 16.0  # rows at which their middle counts half
CALIBRATION_DOUBT = 30.0  # precision with which a calibration begins at none
SAME = 0.9998  # cosine of two prompts' places from which on they are one prompt


@dataclass(frozen=True)
class IclConfig:
    """Shape of the head."""

    groups: tuple[int, ...]  # columns of the embedding that are weighed together, side by side
    penalties: tuple[float, ...] = (10.0, 100.0)  # of the ridges, at the start
    sharpness: tuple[float, ...] = (20.0, 80.0)  # of the kernel averages, at the start
    curves: tuple[float, ...] = (2.0, 8.0)  # sharpness of the kernel ridges, at the start
    landmarks: int = 256  # rows of a context that kernel ridges are spanned by, at most
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
        return self.ridges + len(self.curves) + len(self.sharpness)


@dataclass(frozen=True)
class Rows:
    """N prompts as the head sees them."""

    features: torch.Tensor  # (N, W): embedding and axes
    places: torch.Tensor  # (N, A)
    difficulty: torch.Tensor  # (N,), read


@dataclass(frozen=True)
class _Learnt:
    """Learners fitted to rows, not stacked yet."""

    ridges: torch.Tensor  # (B, Gr, W+1)
    curves: torch.Tensor  # (B, C, L)
    offsets: torch.Tensor  # (B, C)
    slopes: torch.Tensor  # (B, G): of all learners, how far each is believed
    middle: torch.Tensor  # (A,)
    landmarks: torch.Tensor  # (L, A)
    places: torch.Tensor  # (N, A)


@dataclass(frozen=True)
class _Begun:
    """Own parts of B contexts whose learners are fitted but not stacked yet."""

    labels: torch.Tensor  # (B, N)
    target: torch.Tensor  # (B, N)
    weights: torch.Tensor  # (B, N)
    level: torch.Tensor  # (B,)
    left_out: torch.Tensor  # (B, N, G+1)
    learnt: _Learnt


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
        self.log_curve = nn.Parameter(torch.tensor(config.curves).log())
        self.log_curve_penalty = nn.Parameter(torch.full((2, len(config.curves)), CURVE_PENALTY).log())
        self.register_buffer("layout", torch.zeros(config.width, min(config.places, config.width)))
        # how the learners are stacked before a context speaks (G+1,): ridges, kernels, difficulty or common part
        ridges = [0.8 / (config.ridges + len(config.curves))] * (config.ridges + len(config.curves))
        kernels = [0.0] * len(config.sharpness)
        self.start_common = nn.Parameter(torch.tensor([*ridges, *kernels, 0.3]))
        self.start_own = nn.Parameter(torch.tensor([*ridges, *kernels, -0.2]))
        self.start_alone = nn.Parameter(torch.tensor([*ridges, *kernels, 0.0]))
        # and how firmly: of the common part, of a fleet's own parts together, of one beside a fleet, of one alone
        self.log_doubt = nn.Parameter(torch.full((4, config.learners + 1), 3.5))
        self.log_credit = nn.Parameter(torch.full((2, config.learners), CREDIT).log())
        self.log_rigour = nn.Parameter(torch.full((2,), RIGOUR).log())
        self.log_rivals = nn.Parameter(torch.tensor(1.0))  # outcomes that weigh as much as what is foretold
        self.base = nn.Parameter(torch.tensor([1.0, 0.0]))  # slope and offset of all logits

    def look(self, embeddings: torch.Tensor) -> Rows:
        """Prompts (N, D) as the in-context learners see them."""
        axes, difficulty = self.reader(embeddings)
        features = torch.cat([embeddings, axes], dim=-1)
        places = features @ self.layout if self.config.places else features
        return Rows(features, places, difficulty)

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
        return self._finish([begun], common, fleet=together)[0]

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
        return self._finish(begun, self.pool(begun, common), fleet=True)

    def read_common(self, rows: Rows, labels: torch.Tensor, weights: torch.Tensor) -> Common:
        """The common part of a fleet's outcomes (B, N), 0 where the weights are."""
        level = (labels.sum() + 1) / (weights.sum() + 2)
        centred = (labels - _levels(labels, weights, level).unsqueeze(1)) * weights
        counts = weights.sum(0)  # (N,)
        mean = (centred.sum(0) / counts.clamp(min=1)).unsqueeze(0)
        rivals = self.log_rivals.exp()
        trust = (counts / (counts + rivals)).unsqueeze(0)  # (1, N)
        left_out, learnt = self._learn(rows, mean, trust, 0)
        left_out = torch.cat([left_out, rows.difficulty[None, :, None]], dim=-1)  # (1, N, G+1)
        start = self.start_common[None]
        blend = start + moved(*evidence(left_out, mean, trust, start), self.log_doubt[0].exp())
        foretold = (left_out @ blend.unsqueeze(-1)).squeeze(-1)[0]
        known = (counts * mean[0] + rivals * foretold) / (counts + rivals)
        part = self._part(learnt, blend, mean * trust, trust)
        shift = torch.zeros_like(self.start_own)
        return Common(part, blend[0, -1], level, shift, known, foretold, self.uncalibrated())

    def nothing(self) -> Common:
        """The common part where there is no fleet: the learned difficulty alone."""
        empty = self.base.new_zeros
        c, width = self.config, self.layout.shape[1] or self.config.width
        none = Part(
            empty(1, c.width + 1),
            empty(1, c.width + 1),
            empty(1, len(c.curves), 0),
            empty(1, len(c.sharpness)),
            empty(width),
            empty(0, width),
            empty(0, width),
            empty(1, 0),
            empty(1, 0),
        )
        return Common(
            none,
            self.start_common[-1],
            empty(()) + 0.5,
            empty(self.config.learners + 1),
            empty(0),
            empty(0),
            self.uncalibrated(),
        )

    def recall(self, rows: Rows, common: Common) -> tuple[torch.Tensor, torch.Tensor]:
        """The common part (N,) at prompts: as it is known where the fleet answered them, and as it is foretold."""
        guessed = self.value_common(rows, common)
        if not len(common.known) or not len(guessed):
            return guessed, guessed
        likeness, nearest = (_seen(rows.places, common.part.middle) @ common.part.places.T).max(dim=1)
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
        values = context.level.unsqueeze(1) + common + self._foretell(rows, context.own)
        return self.logits(values, context.calibration)

    def logits(self, values: torch.Tensor, calibration: torch.Tensor) -> torch.Tensor:
        """Values (B, M), which closed forms may put beyond [0, 1], to logits, by calibrations (B, 2)."""
        return calibration[:, :1] * self._raw(values) + calibration[:, 1:]

    def uncalibrated(self) -> torch.Tensor:
        """The calibration (2,) that changes nothing."""
        return self.base.new_tensor((1.0, 0.0))

    def _raw(self, values: torch.Tensor) -> torch.Tensor:
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
        left_out, learnt = self._learn(rows, target, weights, 1, common)
        left_out = torch.cat([left_out, foretold.expand_as(target).unsqueeze(-1)], dim=-1)
        return _Begun(labels, target, weights, level, left_out, learnt)

    def _finish(self, begun: Sequence[_Begun], common: Common, *, fleet: bool) -> list[IclContext]:
        """
        Contexts beside one common part; those of a `fleet` that was read together are calibrated together. A head in
        training is not calibrated: it is to learn what is right without.
        """
        read = [self._stack(each, common) for each in begun]
        if self.training:
            return read
        told = [
            (self._raw(context.foretold), each.labels, each.weights)
            for each, context in zip(begun, read, strict=True)
        ]
        if fleet:
            logits, labels, weights = (
                torch.cat([rows.flatten() for rows in column])[None] for column in zip(*told, strict=True)
            )
            common = replace(common, calibration=platt(logits, labels, weights, CALIBRATION_DOUBT)[0])
        if len(common.known):  # values of one fleet are compared: one calibration for all
            return [
                replace(each, common=common, calibration=common.calibration.expand(each.batch, 2))
                for each in read
            ]
        return [
            replace(context, calibration=platt(logits, labels, weights, CALIBRATION_DOUBT))
            for context, (logits, labels, weights) in zip(read, told, strict=True)
        ]

    def _stack(self, begun: _Begun, common: Common) -> IclContext:
        fleet = len(common.known) > 0
        start = (self.start_own + common.shift if fleet else self.start_alone)[None]
        told = evidence(begun.left_out, begun.target, begun.weights, start)
        blend = start + moved(*told, self.log_doubt[2 if fleet else 3].exp())
        own = (begun.left_out @ blend.unsqueeze(-1)).squeeze(-1)
        part = self._part(begun.learnt, blend, begun.target, begun.weights)
        foretold = begun.level.unsqueeze(1) + begun.left_out[..., -1] + own
        calibration = common.calibration.expand(len(own), 2)
        return IclContext(common, part, 1 + blend[:, -1], begun.level, foretold, calibration)

    def _part(
        self, learnt: _Learnt, blend: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> Part:
        straight, curved, near = (blend[:, :-1] * learnt.slopes).split(
            [self.config.ridges, len(self.config.curves), len(self.config.sharpness)], dim=1
        )
        linear = (learnt.ridges * straight.unsqueeze(-1)).sum(1)
        offset = (learnt.offsets * curved).sum(1, keepdim=True)
        instead = curved.sum(1, keepdim=True) / self.config.ridges
        return Part(
            linear + F.pad(offset, (linear.shape[1] - 1, 0)),
            linear + (learnt.ridges * instead.unsqueeze(-1)).sum(1),
            learnt.curves * curved.unsqueeze(-1),
            near,
            learnt.middle,
            learnt.landmarks,
            learnt.places,
            targets,
            weights,
        )

    def _foretell(self, rows: Rows, part: Part) -> torch.Tensor:
        fitted = part.linear[:, :-1] @ rows.features.T + part.linear[:, -1:]  # (B, M)
        if part.targets.shape[1] == 0:
            return fitted
        places = _seen(rows.places, part.middle)  # (M, A) or (B, M, A)
        bent = kernel_sums(places, part.landmarks, part.curved, self.log_curve.exp())
        nearby = kernel_averages(places, part.places, part.targets, part.weights, self.log_sharpness.exp())
        return fitted + bent + (nearby @ part.blend.unsqueeze(-1)).squeeze(-1)

    def _learn(
        self,
        rows: Rows,
        target: torch.Tensor,
        weights: torch.Tensor,
        which: int,
        beside: Common | None = None,
    ) -> tuple[torch.Tensor, _Learnt]:
        """Left-out guesses (B, N, G) of every learner, and the learners. Places are seen from the fleet's middle."""
        counts = torch.tensor([*self.config.groups, self.config.axes], device=target.device)
        scales = F.pad(
            self.log_scale.exp().repeat_interleave(counts, dim=1), (0, 1), value=1.0
        )  # the offset's is 1
        fits = [
            fit_linear(rows.features * scale[:-1], target, weights, penalty)
            for scale, penalty in zip(scales, self.log_penalty[which].exp(), strict=True)
        ]
        there = (weights > 0).any(0).nonzero().squeeze(1)
        count = len(there)
        fleet = beside is not None and len(beside.known) > 0
        middle = beside.part.middle if beside and fleet else rows.places[there].sum(0) / (count + FIRM)
        places = _seen(rows.places, middle)
        most = min(count, self.config.landmarks)
        landmarks = places[there[torch.arange(most, device=places.device) * count // max(1, most)]]
        bends = [
            fit_curve(places, landmarks, target, weights, sharpness, penalty)
            for sharpness, penalty in zip(
                self.log_curve.exp(), self.log_curve_penalty[which].exp(), strict=True
            )
        ]
        nearby = kernel_averages(places, places, target * weights, weights, self.log_sharpness.exp(), skip=0)
        guesses = [fit[1] for fit in fits] + [bend[1] for bend in bends]
        left_out = torch.cat([torch.stack(guesses, dim=-1), nearby], dim=-1)
        slopes = believed(  # (B, G)
            left_out, target, weights, self.log_credit[which].exp(), self.log_rigour[which].exp()
        )
        ridges = torch.stack([fit[0] for fit in fits], dim=1) * scales
        curves = torch.stack([bend[0] for bend in bends], dim=1)  # (B, C, L+1)
        learnt = _Learnt(ridges, curves[..., :-1], curves[..., -1], slopes, middle, landmarks, places)
        return left_out * slopes.unsqueeze(1), learnt


def _seen(places: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    """Directions of places (N, A) from a middle (A,), or from several (B, 1, A)."""
    return F.normalize(places - middle, dim=-1)


def _levels(labels: torch.Tensor, weights: torch.Tensor, fleet: torch.Tensor) -> torch.Tensor:
    """Mean outcome (B,) of each model, drawn to the fleet's."""
    return (labels.sum(1) + LEVEL_ROWS * fleet) / (weights.sum(1) + LEVEL_ROWS)
