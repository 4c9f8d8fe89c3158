"""The state of a training run in one file: step, weights, their averages and AdamW's moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn


def save(
    file: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    average: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write it all, atomically."""
    tensors = {"step": torch.tensor(step)}
    for name, parameter in parameters.items():
        tensors[f"weight.{name}"] = parameter.detach().contiguous()
        for key, value in optimiser.state[parameter].items():
            tensors[f"{key}.{name}"] = value.contiguous()
    tensors |= {f"average.{name}": value.contiguous() for name, value in average.items()}
    partial = file.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(file)


@torch.no_grad()
def resume(
    file: Path,
    parameters: Mapping[str, nn.Parameter],
    average: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
) -> int:
    """Take up what was saved, in place; returns the step, 0 where nothing was."""
    if not file.exists():
        return 0
    tensors = load_file(file)
    for name, parameter in parameters.items():
        parameter.copy_(tensors[f"weight.{name}"])
        if f"step.{name}" not in tensors:  # frozen, or never used
            continue
        moments = {key: tensors[f"{key}.{name}"].to(parameter.device) for key in ("exp_avg", "exp_avg_sq")}
        optimiser.state[parameter] = {"step": tensors[f"step.{name}"], **moments}
    for name, value in average.items():
        value.copy_(tensors[f"average.{name}"])
    return int(tensors["step"])
