"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# a busy machine is no reason to fail: properties are about results, not about milliseconds
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def value_model():
    """The shipped V0, loaded once."""
    from router.value.model import V0

    return V0.load(device="cpu")
