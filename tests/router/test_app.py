"""Starting is quick: what is heavy is imported when it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "litellm",
    "sentence_transformers",
    "transformers",
    "pandas",
    "matplotlib",
    "sklearn",
    "scipy",
)


@pytest.mark.parametrize("module", ["router.app", "router.cli", "router.serve", "fleet.fleet"])
def test_importing_is_light(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
