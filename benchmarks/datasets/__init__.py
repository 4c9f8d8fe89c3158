"""One reader a format. A format is a module with `recognises(path)` and `read(path)`; adding one touches one line."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from benchmarks.outcomes import Outcomes

FORMATS = {
    "native": "a folder with prompts.parquet, outcomes.parquet and models.json",
    "gateway": "the gateway's own store: router.db",
    "routerbench": "RouterBench's wide table: .pkl or .csv",
    "routereval": "RouterEval's *_router_dataset.pkl, or a folder of them",
    "sprout": "SPROUT's parquet files (CARROT)",
    "embedllm": "EmbedLLM's train, val and test .csv",
    "routellm": "RouteLLM's response .csv files",
    "routerarena": "RouterArena's cached_results folder of .jsonl files",
    "llmrouterbench": "LLMRouterBench's results/bench folder of .json files",
    "v0_jsonl": "V0's .jsonl files beside prompt_dict.json",
}
"""Module name and what it reads, in the order in which a path is offered to them."""


def read_any(path_or_name: str | Path) -> Outcomes:
    """Read a path in whichever format it is, or a dataset by its name. Raises `OutcomesError`."""
    from benchmarks.datasets import gateway

    if gateway.is_url(str(path_or_name)):
        raise OutcomesError(
            "is a store on a server, which only `sweep` reads", gateway.shown(str(path_or_name))
        )
    path = Path(path_or_name).expanduser()
    if not path.exists():
        from benchmarks.fetch import local_folder

        path = local_folder(str(path_or_name))
    reader = recognise(path)
    if reader is None:
        listed = "\n".join(f"  {name}: {what}" for name, what in FORMATS.items())
        raise OutcomesError(f"is in none of the formats that can be read:\n{listed}", path)
    outcomes: Outcomes = reader.read(path)
    return outcomes


def recognise(path: Path) -> ModuleType | None:
    """The module that reads this path, None if none does."""
    modules = (import_module(f"benchmarks.datasets.{name}") for name in FORMATS)
    return next((module for module in modules if module.recognises(path)), None)
