from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.datasets import recognise
from benchmarks.datasets.gateway import propensities, read_log
from benchmarks.outcomes import OutcomesError, read
from router.store.batch import write_batch
from router.store.engine import open_store
from router.store.rows import CandidateRow
from tests.router.store.rows import decision, feedback, prompt

CANDIDATES = (
    CandidateRow("large", 0.9, 0.010, 0.85),
    CandidateRow("small", 0.6, 0.001, 0.80),
    CandidateRow("tiny", 0.2, 0.0001, 0.50),
    CandidateRow("blind", None, None, None, "no vision"),
)


@pytest.fixture
def store(tmp_path):
    """A store with four decisions: two with outcomes, one pinned, one without an outcome."""
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    decided = [
        decision(
            "dec_1", text="One", chosen="large", reason="best_score", propensity=0.8, candidates=CANDIDATES
        ),
        decision(
            "dec_2", text="Two", chosen="tiny", reason="explored", propensity=0.1, candidates=CANDIDATES
        ),
        decision(
            "dec_3", text="Three", chosen="small", reason="pinned", propensity=1.0, candidates=CANDIDATES
        ),
        decision(
            "dec_4", text="Four", chosen="small", reason="best_score", propensity=0.8, candidates=CANDIDATES
        ),
    ]
    decided = [
        replace(d, prompt=prompt(text, stored=text != "Two"), created_at=float(i))
        for i, (d, text) in enumerate(zip(decided, ("One", "Two", "Three", "Four"), strict=True))
    ]
    scores = [
        feedback("dec_1", 1.0),
        feedback("dec_1", 0.5, source="verifier"),
        feedback("dec_2", 0.0),
        feedback("dec_3", 1.0),
    ]
    write_batch(engine, decided, scores)
    engine.dispose()
    return tmp_path / "router.db"


def test_traffic_is_a_sparse_matrix_of_the_prompts_with_text(store):
    assert recognise(store).__name__.endswith(".gateway")
    outcomes = read(store)
    assert outcomes.model_names == ["large", "small"]
    assert outcomes.texts == ["One", "Three"]
    np.testing.assert_array_equal(outcomes.scores, np.array([[0.75, np.nan], [np.nan, 1]], dtype=np.float32))
    np.testing.assert_allclose(outcomes.costs[0, 0], 0.002)
    notes = {f"{note.what}: {note.why}": note.count for note in outcomes.exclusions}
    assert notes["outcomes: the text of their prompt was not stored"] == 1
    assert notes["repeated outcomes: those of the same prompt and model were averaged"] == 1


def test_the_log_has_every_models_probability(store):
    log = read_log(store)
    assert log.models == ("large", "small", "tiny")
    assert [log.models[m] for m in log.chosen] == ["large", "tiny"]
    np.testing.assert_allclose(log.propensities, [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]])
    np.testing.assert_allclose(log.values[0], [0.9, 0.6, 0.2])
    np.testing.assert_allclose(log.scores, [0.75, 0.0])
    assert {note.why: note.count for note in log.exclusions} == {
        "the caller named the model": 1,
        "no outcome came in": 1,
    }


@pytest.mark.parametrize(
    ("chosen", "propensity", "explored", "expected"),
    [
        ("best", 0.9, False, [0.9, 0.05, 0.05]),
        ("best", 0.9, True, [0.9, 0.05, 0.05]),  # drawn at random, and the best by chance
        ("other", 0.05, True, [0.9, 0.05, 0.05]),
        ("best", 1.0, False, [1.0, 0.0, 0.0]),
    ],
)
def test_propensities_follow_from_the_chosen_ones(chosen, propensity, explored, expected):
    found = propensities(["best", "other", "third"], chosen, propensity, explored)
    np.testing.assert_allclose([found[name] for name in ("best", "other", "third")], expected, atol=1e-12)
    assert propensities(["only"], "only", 1.0, False) == {"only": 1.0}


def test_a_store_is_only_read(store):
    before = store.read_bytes()
    read(store)
    read_log(store)
    assert store.read_bytes() == before


def test_what_is_no_store_of_ours_is_named(tmp_path):
    import sqlite3

    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cats (name)")
    connection.commit()
    connection.close()
    with pytest.raises(OutcomesError, match="is not a store of this version of the gateway: no such table"):
        read(path)
    engine = open_store(f"sqlite:///{tmp_path}/empty.db")
    engine.dispose()
    with pytest.raises(OutcomesError, match="no outcome is usable"):
        read(tmp_path / "empty.db")
    with pytest.raises(OutcomesError, match="no decision can be evaluated"):
        read_log(tmp_path / "empty.db")
