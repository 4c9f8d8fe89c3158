"""What a nano model's tokens cost: Eq. 56 of V0 (arXiv 2602.03584), parameters over the largest model's × tokens.

The paper's cost has no unit and counts the tokens a model writes. Here the largest model's million tokens cost one
(pretended) dollar, and reading a prompt costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from fleet.model import Model, Prices

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def fleet_section(models: list[Model]) -> str:
    """The `fleet:` section of router.yaml."""
    entries = [
        {
            "name": model.name,
            "target": model.target,
            "api_base": model.api_base,
            "prices": {"input": model.prices.input, "output": model.prices.output},
            "parameter_ratio": model.parameter_ratio,
            "context_window": model.context_window,
            "abilities": sorted(model.abilities),
        }
        for model in models
    ]
    return yaml.safe_dump({"fleet": entries}, sort_keys=False, default_flow_style=None, width=200)
