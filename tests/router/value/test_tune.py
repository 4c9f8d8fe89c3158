from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from router.value import tune as module
from router.value.backbone import Backbone, BackboneError
from router.value.corpus import Source
from router.value.episodes import split
from router.value.tune import TuneConfig, tune

TEXTS = [f"What is {i} + {i * 7 % 11}?" for i in range(30)] + [f"Where is city {i}?" for i in range(30)]
CONFIG = TuneConfig(layers=1, steps=4, batch=6, warmup=2, rank=4, most_passes=100)


@pytest.fixture(scope="module")
def parts():
    scores = np.array([[float((p < 30) == (m % 2 == 0)) for m in range(6)] for p in range(60)], np.float32)
    scores[::7, 1] = np.nan
    ids = [str(p) for p in range(60)]
    source = Source("toy", ids, TEXTS, ["a"] * 40 + ["b"] * 20, [f"m{i}" for i in range(6)], scores)
    return [(source, split(source, 0.3, 0.25, seed=0))]


def backbone():
    return Backbone.load(device="cpu")


def test_a_run_that_was_stopped_ends_with_the_layers_of_one_that_was_not(parts, tmp_path, monkeypatch):
    whole = tune(backbone(), parts, CONFIG, tmp_path / "whole")
    advance = module._Tuning.advance

    def stop_at_two(run):
        if run.step == 2:
            raise KeyboardInterrupt
        return advance(run)

    monkeypatch.setattr(module._Tuning, "advance", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        tune(backbone(), parts, CONFIG, tmp_path / "parts")
    monkeypatch.setattr(module._Tuning, "advance", advance)
    again = tune(backbone(), parts, CONFIG, tmp_path / "parts")
    for name, layer in whole.items():
        torch.testing.assert_close(layer, again[name], atol=1e-6, rtol=1e-4)


def test_only_the_last_layers_are_tuned_and_they_change_what_is_embedded(parts, tmp_path):
    layers = tune(backbone(), parts, CONFIG, tmp_path)
    assert {name.split(".")[2] for name in layers} == {"5"}
    tuned, plain = backbone(), backbone()
    tuned.put_layers(layers)
    assert tuned.version.startswith(plain.version + "+")
    there, here = (each.encode(TEXTS[:2]).pooled() for each in (tuned, plain))
    assert 0.9 < (there * here).sum(1).min() < 0.99999


def test_tuning_lowers_the_loss(parts, tmp_path):
    run = module._Tuning(backbone(), parts, replace(CONFIG, steps=40, batch=16), tmp_path / "state")
    losses = [run.advance() for _ in range(40)]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.05


def test_layers_of_another_backbone_are_refused():
    with pytest.raises(BackboneError, match=r"encoder\.layer\.9"):
        backbone().put_layers({"encoder.layer.9.output.dense.bias": torch.zeros(384)})


def test_no_prompt_of_a_small_source_is_drawn_too_often(parts):
    (source, part), config = parts[0], TuneConfig(steps=100, batch=10, most_passes=2)
    large = Source("large", *([] for _ in range(4)), source.scores)
    wide = replace(part, train_prompts=np.arange(10_000))
    shares = module._shares([(source, part), (large, wide)], config)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] * 100 * 10 <= 2 * len(part.train_prompts) + 1e-6
