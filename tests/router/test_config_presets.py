"""Presets in router.yaml, and their mistakes with their lines."""

from __future__ import annotations

import pytest

from router.config import ConfigError, Preset, load

ONE = "fleet: [{name: sage, target: replay/sage}]\n"


@pytest.fixture
def settings(tmp_path):
    def read(text):
        path = tmp_path / "router.yaml"
        path.write_text(text)
        return load(path, {})

    return read


@pytest.fixture
def problems(settings):
    def find(text):
        with pytest.raises(ConfigError) as caught:
            settings(text)
        return [(problem.line, problem.message) for problem in caught.value.problems]

    return find


def test_presets_are_a_beta_and_an_allow_list_each_may_be_left_out(settings):
    text = ONE + "presets: {auto-cheap: {beta: 0.3}, auto-best: {beta: 1, models: [sage]}, plain: {}}"
    assert settings(text).presets == {
        "auto-cheap": Preset(0.3),
        "auto-best": Preset(1, ("sage",)),
        "plain": Preset(),
    }
    assert settings(ONE + "presets:").presets == {}


def test_what_is_wrong_with_presets_is_told_with_its_line(problems):
    found = problems(
        ONE
        + """
presets:
  auto: {beta: 1}
  sage: {}
  two words: {}
  far: {beta: 2}
  odd: {bta: 1}
  list: [1]
  none: {models: []}
  meant:
    models:
      - sage
      - sagee
  number: {models: [7]}
"""
    )
    text = "\n".join(f"{line} {message}" for line, message in found)
    first = ONE.count("\n") + 3
    for line, message in enumerate(
        (
            "presets.auto 'auto' is the name that callers use to be routed; choose another",
            "presets.sage is the name of a model of the fleet; choose another",
            "presets.two words should be 1 to 128 visible ASCII characters",
            "presets.far.beta should be less than or equal to 1",
            "unknown key 'bta'; did you mean 'beta'?",
            "presets.list should be a mapping with the keys beta, models",
            "presets.none.models ",
        ),
        first,
    ):
        assert f"{line} {message}" in text, text
    assert f"{first + 10} presets.meant: the fleet has no model 'sagee'; did you mean 'sage'?" in text
    assert f"{first + 11} presets.number.models[0] should be a valid string" in text
    assert len(found) == 9


def test_presets_that_are_no_mapping_are_a_problem(problems):
    ((line, message),) = problems(ONE + "presets: [auto-cheap]")
    assert (line, message) == (
        ONE.count("\n") + 1,
        "presets should be a mapping, each a name with beta and models",
    )
