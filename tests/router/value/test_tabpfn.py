"""The tabpfn head, on a TabPFN of our own in the package's file format (see tiny_tabpfn)."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from tabpfn.checkpoint import Checkpoint, save_as_safetensors

from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.heads.levels import cut_into_levels
from router.value.heads.tabpfn import TabpfnHead
from router.value.heads.tabpfn_licences import RELEASES
from router.value.heads.tabpfn_weights import TabpfnError, TabpfnWeights
from tests.router.value.tiny_tabpfn import ASSET, SMALL, random_specs, save


@pytest.fixture(scope="module")
def weights():
    return TabpfnWeights.load(ASSET)


@pytest.fixture(scope="module")
def restricted(tmp_path_factory):
    """A checkpoint of the v2.5 architecture."""
    specs = random_specs("tabpfn_v2_5")
    return save(specs, tmp_path_factory.mktemp("tabpfn") / "any.ckpt")


def task(rows=64, width=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, width)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * X[:, 1] > 0).astype(np.float32)


def test_it_learns_in_context_and_an_inverted_context_inverts_it(weights):
    head = TabpfnHead(weights, 4)
    X, y = task(104)
    seen, asked = slice(0, 64), slice(64, None)
    values = head.value(X[asked], [head.read(X[seen], y[seen]), head.read(X[seen], 1 - y[seen])])
    assert roc_auc_score(y[asked], values[:, 0]) > 0.85
    assert roc_auc_score(y[asked], values[:, 1]) < 0.15


@pytest.mark.parametrize("architecture", SMALL)
def test_cached_values_are_those_of_the_packages_differentiable_pass(architecture, tmp_path):
    """Two ways through the package's public interface, one value; the fingerprint column is the whole difference."""
    specs = random_specs(architecture)
    plain = replace(specs, inference_config=replace(specs.inference_config, FINGERPRINT_FEATURE=False))
    path = save(plain, tmp_path / "any.ckpt")
    if architecture == "tabpfn_v3_5":  # from there on the weights come in this format
        save_as_safetensors(Checkpoint(path).load(), path := path.with_suffix(".safetensors"))
    head = TabpfnHead(TabpfnWeights.load(path, accepted=RELEASES[architecture].accept), 6)
    X, y = task(40, 6)
    X[:, 4] = 3.0  # a column that says nothing
    X[:, 5] = X[:, 5] > 0  # and one that could be taken for a category
    queries, context = X[:5] + np.float32(0.1), head.read(X, y)
    logits = head.logits(torch.from_numpy(queries), torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_allclose(head.value(queries, [context])[:, 0], torch.sigmoid(logits).numpy(), atol=1e-5)


def test_gradients_flow_through_the_frozen_head_into_every_part_of_an_adapter(weights):
    torch.manual_seed(0)
    adapter = ResidualQueryAdapter(AdapterConfig(input_width=8, queries=4, query_width=6, generator_width=8))
    states, mask = torch.randn(24, 5, 8), torch.ones(24, 5, dtype=torch.bool)
    features = adapter(states, mask, states.mean(1))
    labels = (states[:20, :, 0].mean(1) > 0).float()
    logits = TabpfnHead(weights, 24).logits(features[20:], features[:20], labels)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([0.0, 1, 1, 0])).backward()
    for name, parameter in adapter.named_parameters():
        # the generator's first layers see nothing until its last one, zero at the start, has moved
        if not name.startswith(("generator.0", "generator.1")):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None and not p.requires_grad for p in weights.specs.model.parameters())


def test_an_adapter_trained_through_the_frozen_head_foretells_better(weights):
    """The head reads two of its columns; only a turn of the plane, learnt by gradient, puts the signal into them."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    hidden = torch.from_numpy(rng.normal(size=(64, 12)).astype(np.float32))
    labels = (hidden[:, 7] > 0).float()
    adapter = torch.nn.Linear(12, 2)
    head = TabpfnHead(weights, 2, estimators=1)
    optimiser = torch.optim.Adam(adapter.parameters(), lr=0.1)
    losses = []
    for _ in range(12):
        features = adapter(hidden)
        logits = head.logits(features[40:], features[:40], labels[:40])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[40:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


def test_every_column_reaches_the_network_however_many(restricted):
    """The paper's 168×6 = 1,008 features, and the fingerprint beside them."""
    weights = TabpfnWeights.load(restricted, accepted="tabpfn-v2.5-non-commercial")
    seen = []
    hook = weights.specs.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    X = np.random.default_rng(0).normal(size=(8, 1008)).astype(np.float32)
    head = TabpfnHead(weights, 1008, estimators=1)
    head.value(X[:2], [head.read(X, np.arange(8) % 2)])
    hook.remove()
    assert seen == [1009, 1009]
    with pytest.raises(TabpfnError, match="499 columns at most, not 1008"):
        head.logits(torch.from_numpy(X), torch.from_numpy(X), torch.arange(8) % 2)


def test_a_width_beyond_the_release_is_refused(weights):
    with pytest.raises(TabpfnError, match="1008 features and TabPFN v2 reads 500 at most"):
        TabpfnHead(weights, 1008)


def test_a_licence_must_be_accepted_by_its_name(restricted):
    for accepted in (None, "tabpfn-v3-non-commercial"):
        with pytest.raises(TabpfnError, match=r"NON-COMMERCIAL.*accept_licence: tabpfn-v2.5-non-commercial"):
            TabpfnWeights.load(restricted, accepted=accepted)
    release = TabpfnWeights.load(restricted, accepted="tabpfn-v2.5-non-commercial").release
    assert release.name == "TabPFN v2.5"


def test_absent_weights_are_told_with_place_and_licence(tmp_path):
    with pytest.raises(TabpfnError) as told:
        TabpfnWeights.load(tmp_path / "absent.ckpt")
    for part in ("huggingface.co/Prior-Labs/TabPFN-v2-clf", "Apache 2.0 with attribution", "NON-COMMERCIAL"):
        assert part in str(told.value)


def test_a_file_that_is_no_checkpoint_is_told(tmp_path):
    path = Path(tmp_path / "broken.ckpt")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(TabpfnError, match=r"broken.ckpt is not a TabPFN checkpoint"):
        TabpfnWeights.load(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"state_dict": Trap(), "config": {}}, tmp_path / "trap.ckpt")
    with pytest.raises(TabpfnError, match="not a TabPFN checkpoint"):
        TabpfnWeights.load(tmp_path / "trap.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("labels", ["levels", "hard"])
def test_contexts_that_tell_nothing_apart_have_a_shrunk_mean(weights, labels):
    head = TabpfnHead(weights, 4, labels=labels)
    X, _ = task(6)
    contexts = [head.read(X[:n], np.full(n, outcome)) for n, outcome in ((0, 0), (1, 1), (6, 1), (6, 0))]
    np.testing.assert_allclose(head.value(X[:1], contexts)[0], [1 / 2, 2 / 3, 7 / 8, 1 / 8], atol=1e-6)
    same_prompt = head.read(np.repeat(X[:1], 4, axis=0), np.array([1, 0, 1, 1]))
    assert head.value(X[:1], [same_prompt])[0, 0] == pytest.approx(4 / 6)


def test_partial_credit_counts_as_what_it_is_and_hard_labels_cut_it(weights):
    X, y = task(48)
    half, most = np.where(y > 0, 0.5, 0.0), np.where(y > 0, 1.0, 0.6)
    levels, hard = TabpfnHead(weights, 4), TabpfnHead(weights, 4, labels="hard")
    full = levels.value(X, [levels.read(X, y)])
    np.testing.assert_allclose(levels.value(X, [levels.read(X, half)]), full / 2, atol=1e-5)
    np.testing.assert_allclose(levels.value(X, [levels.read(X, most)]), 0.6 + 0.4 * full, atol=1e-5)
    np.testing.assert_allclose(hard.value(X, [hard.read(X, half)]), full, atol=1e-5)
    assert hard.value(X[:1], [hard.read(X, most)])[0, 0] == pytest.approx(49 / 50)  # all of one class


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40), st.integers(1, 6))
def test_cuts_keep_the_mean_outcome_whatever_the_labels(labels, most):
    """Σ height · share reached, above the floor, is the mean: no label is over- or undervalued on the whole."""
    labels = np.array(labels, dtype=np.float32)
    floor, cuts = cut_into_levels(labels, most, most)
    assert len(cuts) <= most
    if cuts:
        assert sum(cut.estimators for cut in cuts) >= most
        assert all(cut.mixed for cut in cuts)
        mean = floor + sum(cut.height * cut.reached.mean() for cut in cuts)
        assert mean == pytest.approx(labels.mean(dtype=np.float64), abs=1e-5)
    else:
        assert len(np.unique(labels)) == 1


def test_what_is_kept_stays_in_its_bounds_and_values_stay_the_same(weights):
    X, y = task(32)
    roomy = TabpfnHead(weights, 4, estimators=1)
    one = roomy.cache_size(roomy.read(X, y))
    tight = TabpfnHead(weights, 4, estimators=1, cache_bytes=int(2.5 * one))
    contexts = [tight.read(X, np.roll(y, shift)) for shift in range(4)]
    assert tight.held_bytes <= 2.5 * one
    expected = roomy.value(X[:3], [roomy.read(X, np.roll(y, shift)) for shift in range(4)])
    np.testing.assert_allclose(tight.value(X[:3], contexts), expected, atol=1e-6)
    del contexts
    gc.collect()
    assert tight.held_bytes == 0


def test_the_cache_is_not_computed_again_for_a_query(weights):
    calls = []
    head = TabpfnHead(weights, 4, estimators=1)
    X, y = task(32)
    context = head.read(X, y)
    hook = weights.specs.model.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape[0]))
    head.value(X[:3], [context])
    hook.remove()
    assert calls == [3]  # the rows of the query alone went through the network


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_values_of_the_cpu(weights):
    X, y = task(64)
    on_gpu = TabpfnHead(TabpfnWeights.load(ASSET, "cuda"), 4)
    on_cpu = TabpfnHead(weights, 4)
    expected = on_cpu.value(X[:8], [on_cpu.read(X, y)])
    np.testing.assert_allclose(on_gpu.value(X[:8], [on_gpu.read(X, y)]), expected, atol=1e-3)
