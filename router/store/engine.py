"""Opening the store: SQLite in a file, or PostgreSQL by URL, at the newest schema."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from router.store.errors import StoreError, reason_of

MIGRATIONS = "router.store:migrations"
MIGRATION_LOCK = 0x5630  # any number that every router uses and nobody else: "V0"


def open_store(url: str, *, busy_timeout_s: float = 5.0) -> Engine:
    """
    The store at a URL such as `sqlite:///router.db` or `postgresql://user:secret@host/name`.

    A missing SQLite file is created, and an older schema upgraded; several processes may do so at once, and
    then use the store side by side. A statement waits `busy_timeout_s` for another writer before it fails.
    Raises `StoreError`, which names the store without its password, when it cannot be opened.
    """
    target = _target(url)
    shown = target.render_as_string(hide_password=True)
    try:
        engine = _sqlite(target, busy_timeout_s) if _is_sqlite(target) else _postgres(target, busy_timeout_s)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{shown} needs the package {error.name}: pip install 'v0-router[postgres]'"
        ) from None
    except (OSError, NoSuchModuleError) as error:
        raise StoreError(f"cannot open the store {shown}: {error}") from None
    try:
        migrate(engine)
    except DBAPIError as error:
        engine.dispose()
        raise StoreError(f"cannot open the store {shown}: {reason_of(error)}") from None
    except StoreError as error:
        engine.dispose()
        raise StoreError(f"cannot open the store {shown}: {error}") from None
    return engine


def writing(engine: Engine) -> Engine:
    """The same store, its transactions meant to write: SQLite's then take the write lock when they begin."""
    return engine.execution_options(immediate=True)


def migrate(engine: Engine) -> None:
    """
    Bring the schema to its newest revision: one transaction, one process at a time.

    Raises `StoreError` when the schema is newer than this program.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    script = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == script.get_current_head():
        return
    try:
        script.get_revision(found or "head")
    except CommandError:
        raise StoreError(f"its schema, revision {found}, is newer than this router") from None
    with writing(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _target(url: str) -> URL:
    try:
        target = make_url(url)
    except ArgumentError:
        raise StoreError("the store's URL cannot be read; it should look like sqlite:///router.db") from None
    if target.drivername in ("postgres", "postgresql"):
        target = target.set(drivername="postgresql+psycopg")
    if target.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"the store can be sqlite or postgresql, not {target.get_backend_name()}")
    if _is_sqlite(target) and target.database in (None, "", ":memory:"):
        raise StoreError("the store needs a file: sqlite:///router.db")
    return target


def _is_sqlite(target: URL) -> bool:
    return target.get_backend_name() == "sqlite"


def _sqlite(target: URL, busy_timeout_s: float) -> Engine:
    Path(target.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(target, hide_parameters=True, connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself: `_begin` does
        _write_ahead(connection, busy_timeout_s)
        connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _write_ahead(connection: Any, busy_timeout_s: float) -> None:
    """Switch the file to WAL. SQLite does not wait for its busy timeout here, so we do."""
    import sqlite3

    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _postgres(target: URL, busy_timeout_s: float) -> Engine:
    timeout = {} if "connect_timeout" in target.query else {"connect_timeout": max(2, round(busy_timeout_s))}
    engine = create_engine(target, hide_parameters=True, pool_pre_ping=True, connect_args=timeout)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {round(busy_timeout_s * 1000)}")
        connection.commit()

    return engine
