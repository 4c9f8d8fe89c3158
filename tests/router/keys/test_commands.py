"""`router keys`, as typed."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from typer.testing import CliRunner

from router.cli import app
from router.keys.spending import Sum, day_of
from router.store.engine import open_store
from router.store.keys import Keyring, find_key, save_spending


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    yield engine
    engine.dispose()


@pytest.fixture
def router(tmp_path):
    """Runs `router keys` with a router.yaml whose store is `engine`."""
    settings = tmp_path / "router.yaml"
    settings.write_text(
        "fleet:\n"
        "  - {name: small, target: hosted_vllm/small, api_base: http://127.0.0.1:9/v1, prices: {input: 1, output: 2}}\n"
        "store: {url: sqlite:///router.db}\n"
    )

    def run(*arguments):
        command = ["keys", *arguments, "--config", str(settings)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "200"})

    return run


def test_a_key_is_made_shown_once_listed_limited_rotated_and_revoked(router, engine):
    made = router(
        "create", "ci", "--month-usd", "5", "--rpm", "60", "-m", "gpt-*", "-m", "sage", "--expires", "30d"
    )
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    key = asyncio.run(Keyring(engine).verify(secret))
    assert key is not None
    assert (key.limits.month_usd, key.limits.requests_per_minute) == (5.0, 60)
    assert key.limits.models == ("gpt-*", "sage")
    assert key.limits.expires_at == pytest.approx(key.created_at + 30 * 86_400, abs=60)

    save_spending(engine, "gateway", {(key.id, day_of(time.time())): Sum(1, 12, 34, 1.25)})
    listed = router("list").stdout
    assert "1.2500" in listed
    assert "month_usd=5.0" in listed
    assert secret not in listed
    shown = router("show", "ci").stdout
    assert re.search(r"models\s+gpt-\*,sage", shown)
    assert secret not in shown

    assert router("limit", "ci", "--day-usd", "1", "--without", "models").exit_code == 0
    assert find_key(engine, "ci").limits.to_json().keys() == {
        "day_usd", "month_usd", "requests_per_minute", "expires_at",
    }  # fmt: skip
    rotated = router("rotate", "ci").stdout.strip()
    assert asyncio.run(Keyring(engine).verify(secret)) is None
    assert asyncio.run(Keyring(engine).verify(rotated)).id == key.id
    assert router("revoke", "ci").exit_code == 0
    assert asyncio.run(Keyring(engine).verify(rotated)) is None
    assert "ci" not in router("list").stdout
    assert "revoked" in router("list", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "a b"), 2, "name: should be 1 to 128"),
        (("create", "x", "--pace"), 2, "pace needs month_usd"),
        (("create", "x", "--min-success", "0"), 2, "min_success: Input should be greater than 0"),
        (("create", "x", "--beta-min", "0.9", "--beta-max", "0.1"), 2, "beta_min should not be above"),
        (("create", "x", "--expires", "soon"), 2, "should be like 30d"),
        (("create", "x", "--admin", "--rpm", "3"), 2, "an admin key asks no model"),
        (("limit", "ci", "--without", "money"), 2, "there is no limit 'money'"),
        (("limit", "nobody", "--rpm", "3"), 1, "no living key is named 'nobody'"),
        (("show", "nobody"), 1, "no living key"),
        (("rotate", "nobody"), 1, "no living key"),
        (("revoke", "nobody"), 1, "no living key"),
        (("create", "ci"), 1, "exists already"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(router, arguments, code, words):
    assert router("add", "ci").exit_code == 0  # as it was called before
    failed = router(*arguments)
    assert (failed.exit_code, failed.stdout) == (code, "")
    assert words in failed.stderr


def test_an_admin_key_may_expire(router, engine):
    secret = router("create", "boss", "--admin", "--expires", "2100-01-01").stdout.strip()
    key = asyncio.run(Keyring(engine).verify(secret))
    assert key is not None
    assert key.admin
    assert secret.startswith("sk-v0-admin-")
