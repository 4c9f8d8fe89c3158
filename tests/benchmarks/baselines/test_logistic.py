from __future__ import annotations

import pytest

from benchmarks.baselines.logistic import LogisticPerModel
from tests.benchmarks.baselines.contract import LearnedRouterContract


class TestLogisticPerModel(LearnedRouterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return LogisticPerModel
