from __future__ import annotations

import pytest

from benchmarks.baselines.registry import REGISTRY, constants, with_tabpfn
from benchmarks.outcomes import ModelFacts


def test_names_say_what_they_make():
    for name, make in REGISTRY.items():
        assert make().name == name
        assert make() is not make()


def test_each_model_is_a_reference_of_its_own():
    made = constants([ModelFacts("a"), ModelFacts("b")])
    assert [make().name for make in made.values()] == list(made) == ["constant:a", "constant:b"]


def test_tabpfn_is_there_only_with_its_weights(tmp_path):
    weights = tmp_path / "tabpfn.ckpt"
    with pytest.raises(FileNotFoundError, match=r"tabpfn\.ckpt"):
        next(iter(with_tabpfn(weights).values()))()
    weights.touch()
    for name, make in with_tabpfn(weights).items():
        assert make().name == name
