"""Every router by name. Nothing of a router is imported before it is made."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.settings import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.baselines.base import Router
    from benchmarks.outcomes import ModelFacts


def _make(module: str, name: str, **settings: Any) -> Router:
    made: Router = getattr(import_module(f"benchmarks.baselines.{module}"), name)(**settings)
    return made


REGISTRY: dict[str, Callable[..., Router]] = {
    # references
    "random": partial(_make, "random_choice", "RandomChoice"),
    "cheapest": partial(_make, "cheapest", "Cheapest"),
    "best-single": partial(_make, "best_single", "BestSingle"),
    "per-dataset-best": partial(_make, "per_dataset_best", "PerDatasetBest"),
    # learned
    "knn-embedllm": partial(_make, "knn", "MajorityKnn"),
    "knn-routerbench": partial(_make, "knn", "CosineKnn"),
    "umr": partial(_make, "umr", "Umr"),
    "embedllm": partial(_make, "embedllm", "EmbedLlm"),
    "model-sat": partial(_make, "model_sat", "ModelSat"),
    "avengers-pro": partial(_make, "avengers_pro", "AvengersPro"),
    "carrot-knn": partial(_make, "carrot", "CarrotKnn"),
    "carrot-linear": partial(_make, "carrot", "CarrotLinear"),
    "mirt": partial(_make, "mirt", "Mirt"),
    "routerdc": partial(_make, "routerdc", "RouterDc"),
    "routellm-mf": partial(_make, "routellm_mf", "RouteLlmMf"),
    "ridge": partial(_make, "ridge", "RidgePerModel"),
    "logistic": partial(_make, "logistic", "LogisticPerModel"),
    # V0: contexts of this many outcomes, success and cost apart or in one label
    "v0-256": partial(_make, "v0", "V0Router", context_size=256),
    "v0-1024": partial(_make, "v0", "V0Router", context_size=1024),
    "v0-all": partial(_make, "v0", "V0Router", context_size=None),
    "v0-256-weighted": partial(_make, "v0", "V0Weighted", context_size=256),
    "v0-1024-weighted": partial(_make, "v0", "V0Weighted", context_size=1024),
    "v0-all-weighted": partial(_make, "v0", "V0Weighted", context_size=None),
}


ON_V0 = "@v0"
LEARNED = tuple(name for name in REGISTRY if name not in REFERENCES and not name.startswith("v0"))


def constants(models: Sequence[ModelFacts]) -> dict[str, Callable[[], Router]]:
    """One reference for each model, which always chooses that model: "constant:NAME"."""
    return {
        f"constant:{model.name}": partial(_make, "constant", "Constant", model=model.name) for model in models
    }


def on_v0() -> dict[str, Callable[..., Router]]:
    """The learned baselines once more, on V0's embedding in place of the sentence embedding: "ridge@v0"."""

    def make(name: str, weights: Path | None = None) -> Router:
        return _make("on_v0", "OnV0", router=REGISTRY[name](), weights=weights)

    return {f"{name}{ON_V0}": partial(make, name) for name in LEARNED}


def with_tabpfn(tabpfn: Path) -> dict[str, Callable[..., Router]]:
    """V0's embedding under TabPFN in place of our head, where its weights lie on this machine."""
    return {"v0-256-tabpfn": partial(_make, "v0_tabpfn", "V0Tabpfn", tabpfn=tabpfn, context_size=256)}
