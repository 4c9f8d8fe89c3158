from __future__ import annotations

import pytest

from benchmarks.baselines.ridge import RidgePerModel
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestRidgePerModel(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return RidgePerModel
