"""The fleet as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from fleet.providers.keys import find_key, find_key_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleet.model import Model, Prices


def fleet_table(models: Sequence[Model], environ: Mapping[str, str]) -> Table:
    """One row a model. Of a key it shows the variable's name and whether it is set, never the key."""
    table = Table(title="Fleet", box=SIMPLE)
    for heading in ("model", "target", "USD per million\nin/cached/out", "window", "abilities", "key"):
        table.add_column(heading, overflow="fold", no_wrap=heading.startswith("USD"))
    for model in models:
        window = f"{model.context_window:,}" if model.context_window else "unknown"
        abilities = " ".join(sorted(model.abilities)) or "text only"
        cells = (model.name, model.target, _prices(model.prices), window, abilities, _key(model, environ))
        table.add_row(*map(Text, cells))  # Text: a name in brackets is no markup
    return table


def _prices(prices: Prices) -> str:
    cached = prices.input if prices.cached_input is None else prices.cached_input
    return "/".join(f"{price:g}" for price in (prices.input, cached, prices.output))


def _key(model: Model, environ: Mapping[str, str]) -> str:
    if model.api_key_file is not None:
        return f"{'yes' if find_key_in(model.api_key_file) else 'no'}, {model.api_key_file}"
    if model.api_key_env is None:
        return "none needed"
    present = find_key(model.api_key_env, environ) is not None
    return f"{'yes' if present else 'no'}, {model.api_key_env}"
