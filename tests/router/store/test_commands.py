"""`router contexts`, as typed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from router.cli import app
from router.store.batch import write_batch
from router.store.engine import open_store
from tests.router.store.rows import decision, feedback


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    yield engine
    engine.dispose()


@pytest.fixture
def router(tmp_path):
    """Runs `router` with a router.yaml whose store is `engine`."""
    settings = tmp_path / "router.yaml"
    settings.write_text(
        "fleet:\n"
        "  - name: small\n"
        "    target: hosted_vllm/small\n"
        "    api_base: http://127.0.0.1:9/v1\n"
        "    prices: {input: 1, output: 2}\n"
        "store:\n"
        "  url: sqlite:///router.db\n"
    )

    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "--config", str(settings)], env={"COLUMNS": "120"})

    return run


def test_bad_settings_end_with_2(tmp_path):
    done = CliRunner().invoke(app, ["contexts", "--config", str(tmp_path / "none.yaml")])
    assert done.exit_code == 2
    assert "none.yaml" in done.stderr


def test_contexts_shows_what_was_seen_of_each_model(router, engine):
    assert "No outcomes yet" in router("contexts").stdout
    rows = [
        decision("dec_1"),
        decision("dec_2", cost_usd=0.004),
        decision("dec_3", chosen="x", cost_usd=None),
    ]
    write_batch(engine, rows, [feedback("dec_1", 0.0), feedback("dec_2", 1.0), feedback("dec_3", 0.5)])
    shown = router("contexts").stdout
    small = next(line for line in shown.splitlines() if "small" in line)
    assert "2" in small
    assert "0.500" in small
    assert "$0.003000" in small
    assert "unknown" in next(line for line in shown.splitlines() if " x " in line)
