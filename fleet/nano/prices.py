"""What a nano model's tokens cost: Eq. 56 of V0 (arXiv 2602.03584), parameters over the largest model's × tokens.

The paper's cost has no unit and counts the tokens a model writes. Here the largest model's million tokens cost one
(pretended) dollar, and reading a prompt costs nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from fleet.model import Model, Prices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST_USD = 1.0  # per million tokens
PROVIDER = "custom_openai"


def fleet_models(parameters: Mapping[str, int], window: int, api_base: str) -> list[Model]:
    """The fleet's models, cheapest first, from their parameter counts and the address of their server."""
    largest = max(parameters.values())
    return [
        Model(
            name=name,
            target=f"{PROVIDER}/{name}",
            prices=Prices(0.0, round(LARGEST_USD * count / largest, 6)),
            api_base=api_base,
            parameter_ratio=round(count / largest, 6),
            context_window=window,
            abilities=frozenset({"logprobs"}),
        )
        for name, count in sorted(parameters.items(), key=lambda pair: (pair[1], pair[0]))
    ]


def models_in(folder: Path, api_base: str) -> list[Model]:
    """The models in a folder, cheapest first. Raises NetworkError where there are none."""
    from fleet.nano.network import CONFIG, NetworkError, shape_of  # imports torch

    shapes = {
        path.parent.name: shape_of(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob(f"*/{CONFIG}"))
    }
    if not shapes:
        raise NetworkError(f"{folder}: no folder in it has a {CONFIG}")
    window = min(shape.window for shape in shapes.values())
    return fleet_models({name: shape.parameters() for name, shape in shapes.items()}, window, api_base)


def fleet_section(models: list[Model]) -> str:
    """The `fleet:` section of router.yaml."""
    return "fleet:\n" + "".join(fleet_entry(model) for model in models)


def fleet_entry(model: Model) -> str:
    """A model as one line of router.yaml's fleet."""
    told: dict[str, Any] = {
        "name": model.name,
        "target": model.target,
        "api_base": model.api_base,
        "prices": {"input": model.prices.input, "output": model.prices.output},
        "parameter_ratio": model.parameter_ratio,
        "context_window": model.context_window,
        "abilities": sorted(model.abilities),
    }
    line = yaml.safe_dump(told, sort_keys=False, default_flow_style=True, width=10_000)
    return f"  - {line}"
