"""In-context learners with closed forms, and how they are stacked by what they foretell of left-out rows."""

from __future__ import annotations

import torch

BLOCK = 2048  # queries whose likeness to a context's rows is held in memory together


def fit_linear(
    features: torch.Tensor,  # (N, R)
    target: torch.Tensor,  # (B, N)
    weights: torch.Tensor,  # (B, N), 0 where there is no row
    penalty: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted ridge regression: weights and offset (B, R+1), and leave-one-out predictions (B, N; PRESS)."""
    if len(weights) > 1 and bool((weights == weights[:1]).all()):  # all have the same rows: one factor
        weights = weights[:1]
    total = weights.sum(1, keepdim=True).clamp(min=1e-6)  # (b, 1), b = 1 or B
    middle = (weights @ features) / total  # (b, R)
    level = (weights * target).sum(1, keepdim=True) / (total + 1)  # (B, 1), drawn to zero as by one row
    y = target - level
    x = features.unsqueeze(0) - middle.unsqueeze(1)  # (b, N, R)
    solve = _primal if features.shape[0] > features.shape[1] else _dual
    solution, fitted, leverage = solve(x, y, weights, penalty)
    leverage = (leverage + weights / total.clamp(min=1)).clamp(max=0.95)  # (b, N)
    left_out = level + (fitted - leverage * y) / (1 - leverage)
    offset = level - (solution * middle).sum(-1, keepdim=True)
    return torch.cat([solution, offset], dim=-1), left_out


def _primal(x, y, weights, penalty):
    identity = torch.eye(x.shape[2], device=x.device, dtype=x.dtype)
    factor = torch.linalg.cholesky((x * weights.unsqueeze(-1)).mT @ x + penalty * identity)
    # root of the inverse: rootᵀ · root = (xᵀwx + λ)⁻¹
    root = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    turned = x @ root.mT  # (b, N, R)
    leverage = turned.square().sum(-1) * weights
    if len(weights) == 1:
        inner = (y * weights) @ turned[0]  # (B, R)
        return inner @ root[0], inner @ turned[0].T, leverage
    inner = ((y * weights).unsqueeze(1) @ turned).squeeze(1)
    solution = (inner.unsqueeze(1) @ root).squeeze(1)
    return solution, (turned @ inner.unsqueeze(-1)).squeeze(-1), leverage


def _dual(x, y, weights, penalty):
    root_weights = weights.clamp(min=1e-12).sqrt() * (weights > 0)
    z = x * root_weights.unsqueeze(-1)  # (b, N, R)
    identity = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    factor = torch.linalg.cholesky(z @ z.mT + penalty * identity)
    root = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)  # rootᵀ·root = (K+λ)⁻¹
    leverage = 1 - penalty * root.square().sum(-2)
    wy = y * root_weights
    if len(weights) == 1:
        dual = (wy @ root[0].T) @ root[0]  # (B, N)
        solution = dual @ z[0]
        return solution, solution @ x[0].T, leverage
    dual = (root.mT @ (root @ wy.unsqueeze(-1))).squeeze(-1)
    solution = (z.mT @ dual.unsqueeze(-1)).squeeze(-1)
    return solution, (x @ solution.unsqueeze(-1)).squeeze(-1), leverage


def kernel_averages(
    queries: torch.Tensor,  # (M, A), unit vectors
    places: torch.Tensor,  # (N, A), or (B, N, A)
    targets: torch.Tensor,  # (B, N), times their weights
    weights: torch.Tensor,  # (B, N)
    sharpness: torch.Tensor,  # (K,)
    skip: int | None = None,  # query i does not see row skip + i
) -> torch.Tensor:
    """Averages (B, M, K) of the targets by exp(sharpness · (cosine − 1)), 0 where there are no rows."""
    if len(queries) > BLOCK:
        blocks = zip(range(0, len(queries), BLOCK), queries.split(BLOCK), strict=True)
        parts = [
            kernel_averages(block, places, targets, weights, sharpness, None if skip is None else skip + at)
            for at, block in blocks
        ]
        return torch.cat(parts, dim=1)
    likeness = queries @ places.mT - 1  # (M, N) or (B, M, N), at most 0
    averages = []
    for sharp in sharpness:
        kernel = torch.exp(likeness * sharp)
        if skip is not None:
            columns = torch.arange(places.shape[-2], device=places.device)
            kernel = kernel.masked_fill(columns == skip + columns[: len(queries), None], 0.0)
        if kernel.dim() == 2:  # all contexts share the prompts: one product
            above, below = (kernel @ torch.cat([targets, weights]).T).T.chunk(2)  # (B, M) each
        else:
            above, below = (kernel @ torch.stack([targets, weights], dim=-1)).unbind(-1)
        averages.append(above / (below + 1e-6))
    return torch.stack(averages, dim=-1)


def evidence(
    left_out: torch.Tensor,  # (B, N, G)
    target: torch.Tensor,  # (B, N)
    weights: torch.Tensor,  # (B, N)
    start: torch.Tensor,  # (B, G)
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    What rows say of the weights that stack left-out guesses, against a start: gram (B, G, G) and pull (B, G), in
    units of the targets' variance.
    """
    spread = ((target**2 * weights).sum(1) + 0.2) / (weights.sum(1) + 1)
    missing = (target - (left_out @ start.unsqueeze(-1)).squeeze(-1)).unsqueeze(-1)
    turned = (left_out * (weights / spread.unsqueeze(1)).unsqueeze(-1)).mT
    return turned @ left_out, (turned @ missing).squeeze(-1)


def moved(gram: torch.Tensor, pull: torch.Tensor, doubt: torch.Tensor) -> torch.Tensor:
    """How far the evidence moves stacking weights (…, G) from their start; `doubt` is the start's precision."""
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(gram + doubt.unsqueeze(-1) * identity, pull)


def soft_clamp(values: torch.Tensor, edge: float = 0.02) -> torch.Tensor:
    """Into (0, 1), smoothly below `edge` and above 1 − `edge`: the order of values beyond is kept."""
    low = edge * torch.exp((values.clamp(max=edge) - edge) / edge)
    high = 1 - edge * torch.exp((1 - edge - values.clamp(min=1 - edge)) / edge)
    inside = torch.where(values < edge, low, torch.where(values > 1 - edge, high, values))
    return inside.clamp(1e-4, 1 - 1e-4)
