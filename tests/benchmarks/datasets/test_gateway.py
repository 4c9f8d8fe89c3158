from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.datasets import gateway, recognise
from benchmarks.datasets.decisions import read_traffic
from benchmarks.outcomes import OutcomesError, read
from router.store.batch import write_batch
from router.store.engine import open_store
from tests.router.store.rows import decision, feedback, prompt

URL = "postgresql://me:secret@127.0.0.1:1/router?connect_timeout=2"


@pytest.fixture
def store(tmp_path):
    """Three decisions with outcomes; the text of one prompt was not stored."""
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    texts = {"dec_1": ("One", "large"), "dec_2": ("Two", "tiny"), "dec_3": ("Three", "small")}
    decided = [
        replace(decision(name, chosen=chosen), prompt=prompt(text, stored=text != "Two"), propensity=1.0)
        for name, (text, chosen) in texts.items()
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


def test_a_store_is_only_read(store):
    before = store.read_bytes()
    read(store)
    read_traffic(str(store))
    assert store.read_bytes() == before
    with gateway.opened(str(store)) as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM outcomes")


def test_any_file_name_will_do(store):
    strange = store.rename(store.with_name("my store?mode=rw #1 50%.db"))
    assert read(strange).model_names == ["large", "small"]
    assert gateway.name_of(str(strange)) == "my store?mode=rw #1 50%"
    assert gateway.is_store(f"sqlite:///{strange}")
    assert gateway.name_of(f"sqlite:///{strange}") == gateway.name_of(str(strange))
    assert read_traffic(f"sqlite:///{strange}").decisions == 3


def test_what_is_no_store_of_ours_is_named(tmp_path):
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cats (name)")
    connection.commit()
    connection.close()
    with pytest.raises(OutcomesError, match=r"other\.db: is no store of the gateway"):
        read(path)
    path.write_bytes(path.read_bytes()[:1000] + b"\0" * 3000)
    with pytest.raises(OutcomesError, match="cannot be read as a store of the gateway"):
        read(path)
    engine = open_store(f"sqlite:///{tmp_path}/empty.db")
    engine.dispose()
    with pytest.raises(OutcomesError, match="no outcome is usable"):
        read(tmp_path / "empty.db")


def test_a_store_of_another_schema_is_named(store, monkeypatch):
    now, *before = gateway._revisions()
    monkeypatch.setattr(gateway, "_revisions", lambda: ["coming", now, *before])
    with pytest.raises(
        OutcomesError, match=f"revision {now}, which an older router made, and this program reads coming"
    ):
        read_traffic(str(store))
    monkeypatch.undo()
    connection = sqlite3.connect(store)
    connection.execute("UPDATE alembic_version SET version_num = 'next'")
    connection.commit()
    connection.close()
    with pytest.raises(OutcomesError, match="revision next, newer than this program's"):
        read_traffic(str(store))


def test_a_url_is_a_store_and_its_password_is_never_shown():
    assert gateway.is_store(URL)
    assert not gateway.is_store("postgres")
    assert gateway.name_of(URL) == "router"
    with pytest.raises(OutcomesError, match="is a store on a server, which only `sweep` reads") as error:
        read(URL)
    assert "secret" not in str(error.value)
    for word in (URL, f"--data={URL}"):
        assert "secret" not in gateway.without_password(word)
        assert "127.0.0.1" in gateway.without_password(word)
    assert gateway.without_password("--betas=0,0.5") == "--betas=0,0.5"
    with pytest.raises(
        OutcomesError, match="cannot be read as a store of the gateway: OperationalError"
    ) as error:
        read_traffic(URL)
    assert "secret" not in str(error.value)
    with pytest.raises(OutcomesError, match="URL cannot be read"):
        read_traffic("postgresql://me@host:port/router")
