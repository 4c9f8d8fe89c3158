"""In-context learners with closed forms, and how they are stacked by what they foretell of left-out rows."""

from __future__ import annotations

import torch

JITTER = 1e-3  # on the diagonal of what landmarks are to each other
FAR = -40.0  # logarithm of a likeness that is none
NEWTON = 4  # steps of a calibration
SLOPES = (0.25, 4.0)  # of logits, at the extremes
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
    solve = _by_rows if x.shape[1] < x.shape[2] else _by_features
    solution, leverage = solve(x, y * weights, weights, penalty)
    leverage = (leverage + weights / total.clamp(min=1)).clamp(max=0.95)
    fitted = solution @ x[0].T if len(weights) == 1 else (x @ solution.unsqueeze(-1)).squeeze(-1)
    left_out = level + (fitted - leverage * y) / (1 - leverage)
    offset = level - (solution * middle).sum(-1, keepdim=True)
    return torch.cat([solution, offset], dim=-1), left_out


def _by_features(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, penalty: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solution (B, R) and leverage (b, N) of rows x (b, N, R), where there are more of them than features."""
    root = _inverse_root((x * weights.unsqueeze(-1)).mT @ x, penalty)
    leverage = (x @ root.mT).square().sum(-1) * weights
    return _through(root, _times(y, x)), leverage


def _by_rows(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, penalty: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the rows' products with each other, where there are fewer of them."""
    lengths = weights.clamp(min=1e-12).sqrt()
    z = x * (lengths * (weights > 0)).unsqueeze(-1)  # (b, N, R)
    root = _inverse_root(z @ z.mT, penalty)
    leverage = 1 - penalty * root.square().sum(-2)
    return _times(_through(root, y / lengths), z), leverage


def _inverse_root(gram: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """Lower triangles (b, K, K) for which rootᵀ · root = (gram + penalty)⁻¹."""
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    factor = torch.linalg.cholesky(gram + penalty * identity)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)


def _times(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Rows (B, N) by matrices (b, N, K), one for each or one for all: (B, K)."""
    return y @ x[0] if len(x) == 1 else (y.unsqueeze(1) @ x).squeeze(1)


def _through(root: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Rows (B, K) by the inverses that roots (b, K, K) are of."""
    return _times(_times(y, root.mT), root)


def fit_curve(
    places: torch.Tensor,  # (N, A), unit vectors
    landmarks: torch.Tensor,  # (L, A), some of them
    target: torch.Tensor,  # (B, N)
    weights: torch.Tensor,  # (B, N), 0 where there is no row
    sharpness: torch.Tensor,
    penalty: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Kernel ridge regression with exp(sharpness · (cosine − 1)), spanned by landmarks (Nyström; exact where they are all
    of the rows): weights of the landmarks and offset (B, L+1), and leave-one-out predictions (B, N).
    """
    among = torch.exp((landmarks @ landmarks.T - 1) * sharpness)
    root = _inverse_root(among, among.new_tensor(JITTER))  # (L, L)
    columns = torch.exp((places @ landmarks.T - 1) * sharpness) @ root.T
    solution, left_out = fit_linear(columns, target, weights, penalty)
    return torch.cat([solution[:, :-1] @ root, solution[:, -1:]], dim=-1), left_out


def kernel_sums(
    queries: torch.Tensor,  # (M, A) or (B, M, A), unit vectors
    landmarks: torch.Tensor,  # (L, A) or (B, L, A)
    curves: torch.Tensor,  # (B, C, L)
    sharpness: torch.Tensor,  # (C,)
) -> torch.Tensor:
    """Sums (B, M) over landmarks and C curves of weight · exp(sharpness · (cosine − 1))."""
    likeness = queries @ landmarks.mT - 1  # (M, L) or (B, M, L)
    total = queries.new_zeros(())
    for sharp, curve in zip(sharpness, curves.unbind(1), strict=True):
        kernel = torch.exp(likeness * sharp)
        total = total + (
            curve @ kernel.T if kernel.dim() == 2 else (kernel @ curve.unsqueeze(-1)).squeeze(-1)
        )
    return total


def kernel_averages(
    queries: torch.Tensor,  # (M, A) or (B, M, A), unit vectors
    places: torch.Tensor,  # (N, A), or (B, N, A)
    targets: torch.Tensor,  # (B, N), times their weights
    weights: torch.Tensor,  # (B, N)
    sharpness: torch.Tensor,  # (K,)
    skip: int | None = None,  # query i does not see row skip + i
) -> torch.Tensor:
    """Averages (B, M, K) of the targets by exp(sharpness · (cosine − 1)), 0 where there are no rows."""
    if queries.shape[-2] > BLOCK:
        blocks = zip(range(0, queries.shape[-2], BLOCK), queries.split(BLOCK, dim=-2), strict=True)
        parts = [
            kernel_averages(block, places, targets, weights, sharpness, None if skip is None else skip + at)
            for at, block in blocks
        ]
        return torch.cat(parts, dim=1)
    likeness = queries @ places.mT - 1  # (M, N) or (B, M, N), at most 0
    both = torch.stack([targets, weights], dim=1)  # (B, 2, N)
    averages = []
    for sharp in sharpness:
        kernel = torch.exp((likeness * sharp).clamp(min=FAR))  # smaller numbers are denormal, and slow
        if skip is not None:
            columns = torch.arange(places.shape[-2], device=places.device)
            kernel = kernel.masked_fill(columns == skip + columns[: queries.shape[-2], None], 0.0)
        if kernel.dim() == 2:  # all contexts share the prompts: one product
            above, below = (both.flatten(0, 1) @ kernel.T).unflatten(0, (-1, 2)).unbind(1)
        else:
            above, below = (both @ kernel.mT).unbind(1)
        averages.append(above / (below + 1e-6))
    return torch.stack(averages, dim=-1)


def believed(
    left_out: torch.Tensor,  # (B, N, G)
    target: torch.Tensor,  # (B, N)
    weights: torch.Tensor,  # (B, N)
    credit: torch.Tensor,  # (G,), rows
    rigour: torch.Tensor,
) -> torch.Tensor:
    """
    What each left-out guess is to be multiplied with (B, G): the slope of the targets over it, drawn to 1 as by so many
    more rows; and its likelihood among the others to a power.
    """
    spread = ((target**2 * weights).sum(1) + 0.2) / (weights.sum(1) + 1)  # (B,)
    weighted = left_out * weights.unsqueeze(-1)
    prior = credit * spread.unsqueeze(1)
    slopes = ((weighted * target.unsqueeze(-1)).sum(1) + prior) / ((weighted * left_out).sum(1) + prior)
    errors = (target.unsqueeze(-1) - left_out * slopes.unsqueeze(1)).square() * weights.unsqueeze(-1)
    likelihood = -errors.sum(1) / spread.unsqueeze(1) / 2  # (B, G), logarithm
    return slopes * torch.softmax(likelihood * rigour, dim=-1) * left_out.shape[-1]


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
    """How far the evidence moves stacking weights (…, G) from their start, whose precisions are `doubt` (G,)."""
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(gram + doubt.unsqueeze(-1) * identity, pull)


def platt(
    logits: torch.Tensor,  # (B, N), of left-out guesses
    outcomes: torch.Tensor,  # (B, N) in [0, 1]
    weights: torch.Tensor,  # (B, N)
    doubt: float,
) -> torch.Tensor:
    """
    Slope and offset (B, 2) with which logits foretell the outcomes best (Platt, 1999), drawn to 1 and 0 by `doubt`, the
    precision of either. The slope stays positive, so that no order changes.
    """
    inputs = torch.stack([logits, torch.ones_like(logits)], dim=-1)  # (B, N, 2)
    start = torch.tensor([1.0, 0.0], device=logits.device, dtype=logits.dtype).expand(len(logits), 2)
    found = start
    for _ in range(NEWTON):
        p = torch.sigmoid((inputs @ found.unsqueeze(-1)).squeeze(-1))
        pull = (inputs.mT @ ((outcomes - p) * weights).unsqueeze(-1)).squeeze(-1) - doubt * (found - start)
        gram = (inputs * (p * (1 - p) * weights).unsqueeze(-1)).mT @ inputs
        found = found + moved(gram, pull, torch.full_like(start[0], doubt))
        found = torch.stack([found[:, 0].clamp(*SLOPES), found[:, 1]], dim=-1)
    return found


def soft_clamp(values: torch.Tensor, edge: float = 0.02) -> torch.Tensor:
    """Into (0, 1), smoothly below `edge` and above 1 − `edge`: the order of values beyond is kept."""
    low = edge * torch.exp((values.clamp(max=edge) - edge) / edge)
    high = 1 - edge * torch.exp((1 - edge - values.clamp(min=1 - edge)) / edge)
    inside = torch.where(values < edge, low, torch.where(values > 1 - edge, high, values))
    return inside.clamp(1e-4, 1 - 1e-4)
