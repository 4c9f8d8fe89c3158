"""The shared store suite, on SQLite and, where a server answers, on PostgreSQL."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from tests.contracts.policies import PolicyContract
from tests.contracts.store import StoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

LOCAL_SERVER = "postgresql+psycopg://postgres@127.0.0.1:5432/test?connect_timeout=2"


class TestSQLite(StoreContract, PolicyContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/router.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Engine]:
    server = create_engine(
        os.environ.get("ROUTER_TEST_POSTGRES_URL", LOCAL_SERVER), isolation_level="AUTOCOMMIT"
    )
    try:
        server.connect().close()
    except (SQLAlchemyError, ImportError) as error:
        pytest.skip(f"no PostgreSQL server to test with (ROUTER_TEST_POSTGRES_URL): {type(error).__name__}")
    yield server
    server.dispose()


class TestPostgres(StoreContract, PolicyContract):
    @pytest.fixture
    def url(self, postgres_server: Engine) -> Iterator[str]:
        schema = f"router_test_{secrets.token_hex(6)}"
        with postgres_server.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        url = make_url(postgres_server.url).update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
        with postgres_server.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
