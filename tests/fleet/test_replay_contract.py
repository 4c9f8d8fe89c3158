from __future__ import annotations

import pytest

from fleet.model import Model, Prices
from fleet.replay import Replay
from tests.contracts.upstream import UpstreamContract


class TestReplay(UpstreamContract):
    @pytest.fixture
    def upstream(self):
        return Replay(pace=0)

    @pytest.fixture
    def model(self):
        return Model("wise", "replay/sage", Prices(5, 20))

    @pytest.fixture
    def missing(self):
        return Model("nobody", "replay/nobody", Prices(5, 20))
