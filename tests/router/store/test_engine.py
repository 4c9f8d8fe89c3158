"""Opening a store: what is created, what is upgraded, what is refused, and in which words."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from router.keys.limits import Limits
from router.keys.spending import Sum
from router.store import queries
from router.store.engine import open_store
from router.store.errors import StoreError
from router.store.keys import find_key, list_keys, spent_by_day
from router.store.policies import list_policies

SCHEMAS = Path(__file__).parent / "schemas"
ROOT = Path(__file__).parents[3]

OPEN_AND_WRITE = """
import sys
from router.store.batch import write_batch
from router.store.engine import open_store
from tests.router.store.rows import decision, feedback
engine = open_store(sys.argv[1])
for i in range(60):
    name = f"dec_{sys.argv[2]}_{i}"
    write_batch(engine, [decision(name)], [feedback(name)])
"""


def test_a_missing_file_is_created_with_its_folders(tmp_path):
    open_store(f"sqlite:///{tmp_path}/deep/er/router.db").dispose()
    assert (tmp_path / "deep" / "er" / "router.db").exists()


def test_sqlite_writes_ahead_and_syncs_every_commit(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db", busy_timeout_s=3)
    with engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 3000}
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("router.db", "should look like sqlite:///router.db"),
        ("mysql://root@localhost/x", "sqlite or postgresql, not mysql"),
        ("postgresql+nonsense://u:secret@127.0.0.1/x", "cannot open"),
        ("postgresql://u:secret@127.0.0.1:1/x", "cannot open the store .*OperationalError"),
        ("sqlite:////proc/nowhere/router.db", "cannot open"),
    ],
)
def test_what_cannot_be_opened_says_why_without_the_password(url, words):
    with pytest.raises(StoreError, match=words) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "router.db"
    path.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match="NOTADB"):
        open_store(f"sqlite:///{path}")
    assert path.read_text() == "dear diary, " * 100


def test_a_schema_from_the_future_is_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path}/router.db"
    open_store(url).dispose()
    with sqlite3.connect(tmp_path / "router.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="9999, is newer than this router"):
        open_store(url)


@pytest.mark.parametrize("dump", sorted(SCHEMAS.glob("*.sql")), ids=lambda path: path.stem)
def test_a_store_of_every_earlier_schema_opens_with_its_rows(tmp_path, dump):
    with sqlite3.connect(tmp_path / "router.db") as database:
        database.executescript(dump.read_text())
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    (outcome,) = queries.outcomes_since(engine, 0)
    assert (outcome.model, outcome.score, outcome.decision_id) == ("small", 1.0, "dec_1")
    decision = queries.decision(engine, "dec_1")
    assert decision is not None
    assert decision.prompt.text == "What is 2 + 2?"
    assert [key.name for key in list_keys(engine)] == ["ci"]
    engine.dispose()


def test_a_store_of_0002_opens_with_its_policies(tmp_path):
    with sqlite3.connect(tmp_path / "router.db") as database:
        database.executescript((SCHEMAS / "0002.sql").read_text())
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    (policy,) = list_policies(engine)
    assert (policy.name, policy.size, policy.step, policy.mean_reward) == ("run", 2, 3, 0.5)
    engine.dispose()


def test_a_store_of_0003_opens_with_limits_and_spending(tmp_path):
    with sqlite3.connect(tmp_path / "router.db") as database:
        database.executescript((SCHEMAS / "0003.sql").read_text())
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    assert find_key(engine, "ci").limits == Limits(month_usd=5.0, pace=True, models=("gpt-*",))
    assert spent_by_day(engine) == {1: {0: Sum(1, 12, 34, 0.5)}}
    decision = queries.decision(engine, "dec_3")
    assert decision is not None
    assert decision.reasoning_tokens == 7
    engine.dispose()


def test_what_keys_had_spent_before_0003_is_added_up(tmp_path):
    with sqlite3.connect(tmp_path / "router.db") as database:
        database.executescript((SCHEMAS / "0002.sql").read_text())
        database.execute("UPDATE decisions SET key_id = 1, created_at = 3 * 86400.0 - 1, cost_usd = 0.25")
        [(count, tokens)] = database.execute("SELECT count(*), sum(input_tokens) FROM decisions").fetchall()
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    [(day, spent)] = spent_by_day(engine)[1].items()
    assert (day, spent.requests, spent.input_tokens, spent.cost_usd) == (2, count, tokens, 0.25 * count)
    engine.dispose()


def test_processes_may_create_and_write_one_file_together(tmp_path):
    url = f"sqlite:///{tmp_path}/router.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_WRITE, url, str(i)], cwd=ROOT, stderr=subprocess.PIPE
        )
        for i in range(3)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    engine = open_store(url)
    rows = queries.outcomes_since(engine, 0)
    assert [row.revision for row in rows] == list(range(1, 181))
    assert len({row.decision_id for row in rows}) == 180
    engine.dispose()
