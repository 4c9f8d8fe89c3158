from __future__ import annotations

import os
import secrets
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import create_engine, make_url, text, update
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.datasets import gateway
from benchmarks.datasets.decisions import exploration, read_traffic
from benchmarks.off_policy import greedy, unexplored
from benchmarks.outcomes import OutcomesError
from router.store.batch import write_batch
from router.store.engine import open_store
from router.store.rows import CandidateRow
from router.store.tables import decisions
from tests.benchmarks.traffic import world, write
from tests.router.store.rows import decision, feedback, prompt

CANDIDATES = (
    CandidateRow("large", 0.9, 0.010, 0.9 * 0.9 + 0.1 * 0.0),
    CandidateRow("small", 0.6, 0.001, 0.9 * 0.6 + 0.1 * 0.9),
    CandidateRow("tiny", 0.2, 0.0001, 0.9 * 0.2 + 0.1 * 0.99),
    CandidateRow("blind", None, None, None, "no vision"),
)


def decided(number, **changes):
    return replace(
        decision(f"dec_{number}", candidates=CANDIDATES, beta=0.9, propensity=0.8, reason="best_score", chosen="large"),
        **{"prompt": prompt(f"Prompt {number}"), "created_at": 1e9 + number, **changes},
    )  # fmt: skip


def kept(tmp_path, rows, scores, name="router.db"):
    engine = open_store(f"sqlite:///{tmp_path}/{name}")
    write_batch(engine, rows, scores)
    engine.dispose()
    return tmp_path / name


@pytest.fixture
def store(tmp_path):
    """Two decisions with outcomes, one of them two; one pinned, one without an outcome."""
    rows = [
        decided(1),
        decided(2, chosen="tiny", reason="explored", propensity=0.1, cost_usd=None),
        decided(3, chosen="small", reason="pinned", propensity=1.0),
        decided(4),
    ]
    scores = [
        feedback("dec_1", 1.0),
        feedback("dec_1", 0.5, source="verifier"),
        feedback("dec_2", 0.0),
        feedback("dec_3", 1.0),
    ]
    return kept(tmp_path, rows, scores)


def test_the_log_has_every_models_probability(store):
    traffic = read_traffic(str(store))
    log = traffic.log
    assert log.models == ("large", "small", "tiny")
    assert [log.models[m] for m in log.chosen] == ["large", "tiny"]
    assert [log.models[m] for m in log.first] == ["large", "large"]
    np.testing.assert_allclose(log.propensities, [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]])
    np.testing.assert_allclose(log.values[0], [0.9, 0.6, 0.2])
    np.testing.assert_allclose(log.scores, [0.75, 0.0])
    np.testing.assert_allclose(log.costs, [0.002, np.nan])
    np.testing.assert_allclose(log.cost_scales, 0.010)
    assert log.exploration == pytest.approx(0.3)
    assert {note.why: note.count for note in log.exclusions} == {
        "the caller named the model": 1,
        "no outcome came in": 1,
    }
    assert (traffic.decisions, traffic.begin, traffic.end) == (4, 1e9 + 1, 1e9 + 2)
    assert vars(traffic.models["large"]) == {"candidate": 3, "chosen": 2, "scored": 1}
    assert "blind" not in traffic.models


def test_what_went_in_comes_out(tmp_path):
    """Decisions of the gateway's own rule, from all its candidates' scores to V0's choice at the same β."""
    simulated = world(tmp_path / "world", prompts=40)
    rows = np.arange(40)
    made = simulated.decisions(rows, 0.8, 0.5, seed=0)
    write(f"sqlite:///{tmp_path}/router.db", simulated, rows, made)
    found, expected = read_traffic(str(tmp_path / "router.db")).log, simulated.log(rows, made, 0.5)
    assert found.models == expected.models
    for name in (
        "chosen",
        "first",
        "candidates",
        "propensities",
        "values",
        "expected_costs",
        "scores",
        "costs",
    ):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), err_msg=name)
    np.testing.assert_allclose(found.cost_scales, expected.cost_scales, rtol=1e-6)
    np.testing.assert_array_equal(greedy(found, 0.8), unexplored(found))


@pytest.mark.parametrize("epsilon", [0.0, 0.15, 1.0])
@pytest.mark.parametrize("candidates", [2, 3, 7])
def test_exploration_follows_from_any_propensity(epsilon, candidates):
    best, other = 1 - epsilon + epsilon / candidates, epsilon / candidates
    assert exploration(candidates, best, place=0) == pytest.approx(epsilon)
    if epsilon:
        assert exploration(candidates, other, place=1) == pytest.approx(epsilon)
    for failed in range(1, candidates - 1):
        after = best + failed * other  # the best of the others stands in for those that failed
        assert exploration(candidates, after, place=failed, failed=failed) == pytest.approx(epsilon)
    assert exploration(1, 1.0, place=0) == 0


@pytest.mark.parametrize(("candidates", "propensity", "place", "failed"), [
    (3, 0.2, 0, 0), (3, 0.6, 1, 0), (1, 0.5, 0, 0), (3, 0.1, 1, 1), (2, 1.0, 1, 1),
])  # fmt: skip
def test_propensities_that_no_exploration_explains_are_an_error(candidates, propensity, place, failed):
    with pytest.raises(ValueError, match=r"exploration fits|does not fit"):
        exploration(candidates, propensity, place, failed)


@pytest.mark.parametrize(("down", "chosen", "drawn"), [
    (["large"], "small", ["large"]),
    (["small"], "large", ["small"]),  # explored, and the best stood in
    (["tiny"], "large", ["tiny"]),
    (["large", "small"], "tiny", ["large", "small"]),  # either may have been drawn
    (["large", "tiny"], "small", ["tiny"]),  # the large one would have been followed by the small
])  # fmt: skip
def test_after_failures_it_is_the_draw_that_counts(tmp_path, down, chosen, drawn):
    """ε = 0.3 over four candidates, as the gateway records it."""
    four = (*CANDIDATES[:3], CandidateRow("mini", 0.1, 0.0001, 0.1))
    failed = tuple(replace(each, excluded="failed: 500") if each.model in down else each for each in four)
    propensity = 1 - 0.3 * (3 - len(down)) / 4
    rows = [decided(1, chosen=chosen, reason="fallback", propensity=propensity, candidates=failed)]
    log = read_traffic(str(kept(tmp_path, rows, [feedback("dec_1", 1.0)]))).log
    assert log.models == ("large", "mini", "small", "tiny")
    np.testing.assert_allclose(log.propensities, [[0.775, 0.075, 0.075, 0.075]])
    assert [log.models[m] for m in np.flatnonzero(log.drawn[0])] == drawn
    assert log.models[log.chosen[0]] == chosen
    assert log.models[log.first[0]] == "large"
    assert log.candidates.all()


def test_every_decision_that_is_left_out_is_counted(tmp_path):
    rows = [
        decided(1),
        decided(2, propensity=0.0),
        decided(3, chosen="blind"),
        decided(4, propensity=0.3),
        decided(5),
        decided(6),
    ]
    path = kept(tmp_path, rows, [feedback(row.id, 1.0) for row in rows])
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        broken = update(decisions).values(candidates=[{"name": "large"}])
        connection.execute(broken.where(decisions.c.id == "dec_5"))
        connection.execute(update(decisions).values(candidates=None).where(decisions.c.id == "dec_6"))
    engine.dispose()
    traffic = read_traffic(str(path))
    assert {note.why: note.count for note in traffic.log.exclusions} == {
        "the recorded propensity is not in (0, 1]": 1,
        "the model that answered is not among the candidates": 1,
        "what was recorded does not tell how the model was drawn": 3,
    }
    assert (len(traffic.log.scores), traffic.decisions) == (1, 6)


def test_values_of_success_and_cost_together_are_not_taken_for_success(tmp_path):
    """combine: weighted records the score itself as the value."""
    together = tuple(replace(each, value=each.score) for each in CANDIDATES)
    rows = [decided(1, candidates=together), decided(2), decided(3, candidates=together, beta=1.0)]
    log = read_traffic(str(kept(tmp_path, rows, [feedback(row.id, 1.0) for row in rows]))).log
    assert np.isnan(log.values).any(axis=1).tolist() == [True, False, False]  # at β = 1 it is success alone
    assert np.isnan(log.cost_scales).tolist() == [True, False, True]


def test_fleets_change_over_time(tmp_path):
    """A model leaves and another joins; a probability of 0 stands where one was not there."""
    later = tuple(replace(each, model="young") if each.model == "tiny" else each for each in CANDIDATES)
    rows = [decided(1), decided(2, candidates=later, chosen="young", reason="explored", propensity=0.1)]
    log = read_traffic(str(kept(tmp_path, rows, [feedback(row.id, 1.0) for row in rows]))).log
    assert log.models == ("large", "small", "tiny", "young")
    np.testing.assert_allclose(log.propensities, [[0.8, 0.1, 0.1, 0], [0.8, 0.1, 0, 0.1]], atol=1e-12)
    assert log.candidates.tolist() == [[True, True, True, False], [True, True, False, True]]


def test_an_empty_store_is_named(tmp_path):
    with pytest.raises(OutcomesError, match="no decision can be evaluated: the store has none"):
        read_traffic(str(kept(tmp_path, [], [])))
    rows = [decided(1), decided(2, reason="pinned", propensity=1.0)]
    with pytest.raises(
        OutcomesError, match=r"no decision can be evaluated of 2 \(1: no outcome came in; 1: the c"
    ):
        read_traffic(str(kept(tmp_path, rows, [], "unscored.db")))


@pytest.fixture
def postgres():
    """The URL of an empty schema; see tests/router/store/test_store.py."""
    local = "postgresql+psycopg://postgres@127.0.0.1:5432/test?connect_timeout=2"
    server = create_engine(os.environ.get("ROUTER_TEST_POSTGRES_URL", local), isolation_level="AUTOCOMMIT")
    schema = f"router_test_{secrets.token_hex(6)}"
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
    except (SQLAlchemyError, ImportError) as error:
        pytest.skip(f"no PostgreSQL server to test with (ROUTER_TEST_POSTGRES_URL): {type(error).__name__}")
    url = make_url(server.url).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.set(drivername="postgresql").render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


def test_a_store_on_a_server_is_read_by_its_url(postgres):
    engine = open_store(postgres)
    rows = [decided(1), decided(2, chosen="tiny", reason="explored", propensity=0.1)]
    write_batch(engine, rows, [feedback("dec_1", 1.0), feedback("dec_2", 0.0)])
    engine.dispose()
    assert gateway.is_store(postgres)
    log = read_traffic(postgres).log
    np.testing.assert_allclose(log.propensities, [[0.8, 0.1, 0.1]] * 2)
    np.testing.assert_allclose(log.scores, [1.0, 0.0])
    with gateway.opened(postgres) as connection:
        assert (
            connection.execute(text("SELECT current_setting('transaction_read_only')")).scalar_one() == "on"
        )
