"""Worlds, made once; and training that is over in a moment."""

from __future__ import annotations

import pytest

from tests.benchmarks.baselines.worlds import world


@pytest.fixture(scope="session")
def topical_world():
    """Six models and four topics."""
    return world()


@pytest.fixture(scope="session")
def valued_world(topical_world, value_model):
    """The same, as V0 sees it."""
    return topical_world.with_values(value_model.embed)


@pytest.fixture(scope="package", autouse=True)
def _brief_training():
    """Fewer and larger steps than published: the worlds are small and easy."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("embedllm", "mirt", "routellm_mf"):
            patch.setattr(f"benchmarks.baselines.{module}.LEARNING_RATE", 1e-2)
            patch.setattr(f"benchmarks.baselines.{module}.LEAST_STEPS", 100)
        for module in ("model_sat", "routerdc"):
            patch.setattr(f"benchmarks.baselines.{module}.ROUNDS", 4)
        patch.setattr("benchmarks.baselines.routerdc.STEPS", 10)
        yield
