"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def value_model():
    """The shipped V0, loaded once."""
    from router.value.model import V0

    return V0.load(device="cpu")
