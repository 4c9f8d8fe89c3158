"""Calibration in context: a context's logits, scaled by what each half of it foretells of the other half.

The head learnt how sure to be on prompts that it was trained on, and is too sure of others; how much too sure differs
from policy to policy. Where models are compared, the surest error wins.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from router.value.heads.icl import IclContext, IclHead

LEAST_ROWS = 32  # fewer say too little about the scale
DOUBT = (5.0, 1.25)  # of slope and offset: how much evidence, as Fisher information, moves them half way
SLOPES = (0.1, 3.0)
STEPS = 25


def read_calibrated(head: IclHead, embeddings: torch.Tensor, labels: torch.Tensor) -> IclContext:
    """
    Read one context, embeddings (N, D) and labels (N,) in [0, 1], and calibrate it.

    Neighbours along the prompts' first principal axis fall into different halves, in whatever order the rows come.
    """
    context = head.read(embeddings[None], labels[None])
    if len(labels) < LEAST_ROWS:
        return context
    order = context.places[0, :, 0].argsort()
    halves = order[::2], order[1::2]
    foretold = torch.empty_like(labels)
    for seen, asked in (halves, halves[::-1]):
        half = head.read(embeddings[seen][None], labels[seen][None])
        foretold[asked] = head.value(embeddings[asked], half)[0]
    return replace(context, calibration=scale(foretold, labels)[None])


def scale(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Slope and offset (2,) that make logits (N,) foretell labels (N,): Platt's scaling (1999), drawn to (1, 0).

    A logistic regression by Newton's method.
    """
    features = torch.stack([logits, torch.ones_like(logits)], dim=-1).double()
    target, doubt = labels.double(), torch.tensor(DOUBT, dtype=torch.float64, device=logits.device)
    neutral = torch.tensor([1.0, 0.0], dtype=torch.float64, device=logits.device)
    found = neutral.clone()
    for _ in range(STEPS):
        predicted = torch.sigmoid(features @ found)
        gradient = features.T @ (predicted - target) + doubt * (found - neutral)
        weight = predicted * (1 - predicted) + 1e-6
        found = found - torch.linalg.solve((features.T * weight) @ features + doubt.diag(), gradient)
        found[0] = found[0].clamp(*SLOPES)
    return found.to(logits.dtype)
