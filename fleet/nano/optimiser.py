"""Muon for the matrices inside the blocks, AdamW for the rest.

Muon (Jordan et al., 2024) replaces a matrix's momentum by the nearest orthogonal matrix, so that every direction
learns at the same speed; the scale 0.2·√max(rows, columns) gives its steps AdamW's size (Liu et al.,
arXiv 2502.16982); twice that was learnt from faster. In float32: processors without bfloat16 units are 20 times
slower with it, and torch.optim.Muon insists on it. Matrices of one shape are treated together.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

FASTER = 2.0  # Muon's learning rate over AdamW's
ROUNDS = 5  # of Newton and Schulz
A, B, C = 3.4445, -4.7750, 2.0315  # their quintic's coefficients


def optimisers(network: nn.Module, learning_rate: float, decay: float) -> list[torch.optim.Optimizer]:
    """Both optimisers of a network; each group remembers its `initial_lr`."""
    inner = [weight for name, weight in network.named_parameters() if "blocks" in name and weight.dim() == 2]
    chosen = {id(weight) for weight in inner}
    rest = [weight for weight in network.parameters() if id(weight) not in chosen]
    both: list[torch.optim.Optimizer] = [
        Muon(inner, FASTER * learning_rate, decay=decay),
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    for optimiser in both:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return both


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for weight matrices."""

    def __init__(
        self, weights: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.0
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002 (torch's signature)
        """One step of every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for shape, weights in alike.items():
                updates = orthogonal(
                    torch.stack([self._push(weight, group["momentum"]) for weight in weights])
                )
                scale = 0.2 * max(shape) ** 0.5
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-group["lr"] * scale)

    def _push(self, weight: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's momentum after this gradient."""
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum"], momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest orthogonal matrix of each of (N,R,C): singular values between 0.7 and 1.2."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.mT if tall else x
