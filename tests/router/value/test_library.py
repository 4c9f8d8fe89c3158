"""V0 without a gateway: pairs in, values out; and behind scikit-learn's interface."""

from __future__ import annotations

import pickle
import re
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from router.value import checkpoint as checkpoints
from router.value import estimator
from router.value.checkpoint import SHIPPED
from router.value.estimator import V0Classifier, V0Regressor

LIBRARY = Path(__file__).parents[3] / "docs" / "library.md"

CITIES = [
    f"Which country is city {name} in?" for name in ("Lima", "Oslo", "Kyoto", "Accra", "Quito", "Turin")
]
SUMS = [f"Compute {a} * {a + 17} - {a * 3}. Show your work." for a in range(31, 37)]
PAIRS = [(text, float(text in CITIES)) for text in CITIES[:5] + SUMS[:5]]
ASKED = [CITIES[5], SUMS[5]]


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch, value_model):
    """The estimators take the V0 that is loaded already."""
    monkeypatch.setattr(estimator, "_load", lambda *_: value_model)


def test_pairs_a_fitted_context_and_rows_give_the_same_values(value_model):
    values = value_model.predict(PAIRS, ASKED)
    assert values[0] > values[1] + 0.2
    np.testing.assert_allclose(value_model.predict(value_model.fit_context(PAIRS), ASKED), values, atol=1e-5)
    prompts, scores = zip(*PAIRS, strict=True)
    np.testing.assert_allclose(
        value_model.predict(zip(prompts, scores, strict=True), ASKED), values, atol=1e-5
    )
    rows = value_model.embed([text for text, _ in PAIRS])
    fitted = value_model.fit_context(rows, np.array([score for _, score in PAIRS]))
    np.testing.assert_allclose(value_model.predict(fitted, ASKED), values, atol=1e-4)


def test_many_texts_of_any_length_are_embedded_as_each_alone(value_model):
    texts = [*CITIES, "A", "", *SUMS, *(f"word {n} " * n for n in range(1, 25))]
    alone = value_model.embed(["A"])[0]
    together = value_model.embed_all(texts)
    assert together.shape == (len(texts), value_model.dim)
    np.testing.assert_allclose(together[6], alone, atol=1e-3)


@pytest.mark.parametrize(
    ("context", "prompts", "message"),
    [
        (["Hello"], ["x"], r"context\[0\] should be \(prompt, score\), not str"),
        ([("a", 1.0), (2, 1.0)], ["x"], r"context\[1\] should be"),
        ([("a", 2.0)], ["x"], r"in \[0, 1\]"),
        ([], "x", "prompts should be a list"),
        ([], [None], r"prompts\[0\] should be a text, not NoneType"),
    ],
)
def test_what_is_no_context_is_told(value_model, context, prompts, message):
    with pytest.raises(ValueError, match=message):
        value_model.predict(context, prompts)


def test_the_classifier_works_where_scikit_learn_puts_it(value_model):
    X, y = np.array(CITIES + SUMS), np.array([1] * 6 + [0] * 6)
    chances = cross_val_predict(V0Classifier(), X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert chances[:6, 1].mean() > chances[6:, 1].mean() + 0.2
    fitted = V0Classifier().fit(X, y)
    np.testing.assert_allclose(
        fitted.predict_proba(ASKED)[:, 1], value_model.predict(list(zip(X, y, strict=True)), ASKED), atol=1e-4
    )
    assert fitted.predict(CITIES).tolist() == [1] * 6
    assert fitted.score(X, y) > 0.8


def test_partial_credit_and_tables_of_one_column_are_taken():
    import pandas as pd

    table = pd.DataFrame({"prompt": CITIES + SUMS})
    model = V0Regressor().fit(table, [0.75] * 12)
    assert model.predict(table["prompt"][:2]) == pytest.approx([0.75, 0.75], abs=0.15)
    assert model.predict(pd.Series(ASKED)).shape == (2,)


def test_a_fitted_estimator_travels_without_the_model():
    model = V0Classifier(device="cpu").fit(CITIES + SUMS, [1] * 6 + [0] * 6)
    packed = pickle.dumps(model)
    assert len(packed) < 2_000_000  # the context, not the 90 MB of backbone
    np.testing.assert_allclose(
        pickle.loads(packed).predict_proba(ASKED), model.predict_proba(ASKED), atol=1e-6
    )
    assert not hasattr(clone(model), "context_")


def test_weights_are_read_from_a_plain_folder_beside_their_card(tmp_path):
    shipped = Path(str(files("router.value"))) / "weights"
    shutil.copy(shipped / SHIPPED, tmp_path / "mine.safetensors")
    shutil.copy(shipped / "MODEL_CARD.md", tmp_path)
    assert checkpoints.load(tmp_path).backbone == checkpoints.load().backbone
    shutil.copy(tmp_path / "mine.safetensors", tmp_path / "other.safetensors")
    with pytest.raises(checkpoints.CheckpointError, match=r"one \.safetensors file, and holds 2"):
        checkpoints.load(tmp_path)


@pytest.mark.parametrize(("X", "y"), [("text", [1]), (["a", "b"], [1]), ([["a", "b"]], [1]), ([1.5], [1])])
def test_what_is_no_list_of_prompts_is_told(X, y):
    with pytest.raises(ValueError, match=r"X (should be|holds)"):
        V0Classifier().fit(X, y)


def test_the_examples_of_the_page_run(capsys, monkeypatch, tmp_path, value_model):
    """Every python block of docs/library.md, one after the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("router.value.model.V0.load", classmethod(lambda *_, **__: value_model))
    blocks = re.findall(r"```python\n(.*?)```", LIBRARY.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(LIBRARY), "exec"), names)
    assert "0." in capsys.readouterr().out
