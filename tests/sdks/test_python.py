"""The official SDKs for Python before a real `router serve`, cell by cell; `make test-sdks` has the others."""

from __future__ import annotations

import pytest

from tests.sdks.anthropic_python import anthropic_python
from tests.sdks.openai_python import openai_python
from tests.sdks.places import serving

PROGRAMS = (openai_python, anthropic_python)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("sdks"), [each.column for each in PROGRAMS]) as found:
        yield found


@pytest.mark.parametrize(
    ("program", "name"),
    [pytest.param(each, name, id=f"{each.column}: {name}") for each in PROGRAMS for name in each.cells],
)
def test_every_cell_works(places, program, name):
    program.cells[name](places[program.column])


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: each.column)
def test_no_cell_is_left_out_silently(program):
    program.check()
