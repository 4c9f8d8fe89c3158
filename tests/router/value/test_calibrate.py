from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from router.value.heads import calibrate
from router.value.heads.calibrate import scale


def world(value_model, n, seed=0):
    """Embeddings of one topic and noise, and a policy that tosses a coin for each: (N, D), (N,)."""
    rng = np.random.default_rng(seed)
    texts = [f"What is {rng.integers(100)} plus {rng.integers(1000)}, and then {i}?" for i in range(n)]
    return value_model.embed(texts), rng.integers(0, 2, n).astype(np.float32)


def test_it_is_a_logistic_regression_where_there_is_much_evidence():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=20_000) * 2
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits + 0.7)))
    found = scale(torch.tensor(logits), torch.tensor(labels, dtype=torch.float64)).numpy()
    plain = LogisticRegression(C=1e6).fit(logits[:, None], labels)
    np.testing.assert_allclose(found, [plain.coef_[0, 0], plain.intercept_[0]], atol=0.01)


def test_little_evidence_changes_little():
    torch.manual_seed(0)
    logits = torch.randn(4)
    slope, offset = scale(logits, torch.sigmoid(-logits))
    assert 0.5 < slope < 1
    assert abs(offset) < 0.5


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_only_is_bounded(label):
    slope, offset = scale(torch.full((500,), 3.0 * (2 * label - 1)), torch.full((500,), label))
    assert calibrate.SLOPES[0] <= slope <= calibrate.SLOPES[1]
    assert abs(offset) < 5


def test_what_cannot_be_foretold_is_valued_near_its_mean(value_model, monkeypatch):
    embeddings, labels = world(value_model, 200)
    calibrated = value_model.value(
        embeddings[100:], [value_model.fit_context(embeddings[:100], labels[:100])]
    )
    monkeypatch.setattr(calibrate, "LEAST_ROWS", 1000)
    plain = value_model.value(embeddings[100:], [value_model.fit_context(embeddings[:100], labels[:100])])
    assert calibrated.std() < plain.std()
    assert ((calibrated - labels[100:, None]) ** 2).mean() < ((plain - labels[100:, None]) ** 2).mean()


def test_the_ranking_of_prompts_stays(value_model, monkeypatch):
    embeddings, labels = world(value_model, 80, seed=2)
    one = value_model.value(embeddings, [value_model.fit_context(embeddings[:60], labels[:60])])[:, 0]
    monkeypatch.setattr(calibrate, "LEAST_ROWS", 1000)
    other = value_model.value(embeddings, [value_model.fit_context(embeddings[:60], labels[:60])])[:, 0]
    assert np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1] > 0.9999


def test_the_order_of_the_rows_does_not_matter(value_model):
    embeddings, labels = world(value_model, 61, seed=3)
    order = np.random.default_rng(0).permutation(60)
    there = value_model.value(embeddings[60:], [value_model.fit_context(embeddings[:60], labels[:60])])
    back = value_model.value(embeddings[60:], [value_model.fit_context(embeddings[order], labels[order])])
    np.testing.assert_allclose(there, back, atol=1e-4)
