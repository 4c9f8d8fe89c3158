"""The gateway's own store, opened read-only, and its outcomes as a matrix. `decisions` reads its log."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pandas as pd
from sqlalchemy import Engine, NullPool, create_engine, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from benchmarks.datasets.collector import Collector
from benchmarks.datasets.files import check_file
from benchmarks.outcomes import OutcomesError
from router.store.engine import MIGRATIONS
from router.store.errors import reason_of
from router.store.tables import models, outcomes, prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection

    from benchmarks.outcomes import Outcomes

SQLITE = b"SQLite format 3\0"
SERVERS = ("postgresql", "postgres")  # beginnings of a store's URL, before "://" or "+driver://"
BATCH_ROWS = 10_000
CONNECT_S = 10


def recognises(path: Path) -> bool:
    """A SQLite file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def is_store(reference: str) -> bool:
    """A SQLite file, also as `sqlite:///FILE`, or the URL of a store on a server."""
    return is_url(reference) or recognises(_path(reference))


def is_url(reference: str) -> bool:
    """A URL such as `postgresql://user@host/name`, whether or not it can be read."""
    scheme, separator, _ = reference.partition("://")
    return bool(separator) and scheme.partition("+")[0] in SERVERS


def name_of(reference: str) -> str:
    """What a report calls a store: its file without the ending, its database."""
    return _url(reference).database or "postgresql" if is_url(reference) else _path(reference).stem


def shown(reference: str) -> str:
    """The reference as it may be printed and kept: a URL without its password."""
    return _url(reference).render_as_string(hide_password=True) if is_url(reference) else reference


def without_password(word: str) -> str:
    """A word of a command line as it may be kept, be it `URL` or `--data=URL`."""
    option, separator, value = word.partition("=")
    return f"{option}{separator}{shown(value)}" if option.startswith("--") else shown(word)


def read(path: Path) -> Outcomes:
    """
    The outcomes whose prompts were stored with their text, each model's on each prompt averaged.

    Traffic is no experiment: a model is only seen on what was sent to it. For what another policy would have
    earned, take `decisions.read_traffic`. Raises `OutcomesError`.
    """
    collector = Collector(path.stem, repeats="average")
    query = (
        select(
            outcomes.c.id, prompts.c.digest, prompts.c.text, models.c.name, outcomes.c.score,
            outcomes.c.input_tokens, outcomes.c.output_tokens, outcomes.c.cost_usd,
        )
        .select_from(outcomes.join(prompts).join(models))
        .order_by(outcomes.c.id)
    )  # fmt: skip
    columns = ["row", "prompt_id", "text", "model", "score", "input_tokens", "output_tokens", "cost"]
    with opened(str(path)) as connection:
        for batch in connection.execute(query).partitions():
            frame = pd.DataFrame([tuple(row) for row in batch], columns=columns).set_index("row")
            kept = frame[frame["text"].notna()].assign(dataset="gateway")
            collector.note("outcomes", "the text of their prompt was not stored", len(frame) - len(kept))
            collector.prompts(kept, path)
            collector.outcomes(kept, path)
    return collector.finish()


@contextmanager
def opened(reference: str) -> Iterator[Connection]:
    """A connection that reads in batches and writes nothing. Raises `OutcomesError`, which shows no password."""
    engine: Engine | None = None
    try:
        engine = _server(reference) if is_url(reference) else _file(_path(reference))
        with engine.connect() as connection:
            _check_schema(connection)
            yield connection.execution_options(yield_per=BATCH_ROWS)
    except ModuleNotFoundError as error:
        raise OutcomesError(
            f"needs the package {error.name}: pip install 'v0-router[postgres]'", shown(reference)
        ) from None
    except DBAPIError as error:
        said = str(error.orig) if isinstance(error.orig, sqlite3.Error) else reason_of(error)
        raise OutcomesError(f"cannot be read as a store of the gateway: {said}", shown(reference)) from None
    except (SQLAlchemyError, _OtherSchema) as error:
        raise OutcomesError(str(error), shown(reference)) from None
    finally:
        if engine is not None:
            engine.dispose()


def _path(reference: str) -> Path:
    return Path(reference.removeprefix("sqlite:///")).expanduser()


def _file(path: Path) -> Engine:
    check_file(path)
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    return create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True),
        poolclass=NullPool,
        hide_parameters=True,
    )


def _server(url: str) -> Engine:
    target = _url(url)
    timeout = {} if "connect_timeout" in target.query else {"connect_timeout": CONNECT_S}
    return create_engine(
        target.set(drivername="postgresql+psycopg"),
        connect_args=timeout,
        execution_options={"postgresql_readonly": True},
        poolclass=NullPool,
        hide_parameters=True,
    )


def _url(reference: str) -> URL:
    try:
        return make_url(reference)
    except (ArgumentError, ValueError):  # the second: a port that is no number
        raise OutcomesError(
            "the store's URL cannot be read; it should look like postgresql://user@host/name"
        ) from None


class _OtherSchema(Exception):  # noqa: N818
    """A database whose tables are not those that this program reads."""


def _check_schema(connection: Connection) -> None:
    from alembic.migration import MigrationContext

    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        raise _OtherSchema("is no store of the gateway: it does not say which revision its tables have")
    newest, *older = _revisions()
    if found in older:
        raise _OtherSchema(
            f"has the tables of revision {found}, which an older router made, and this program reads {newest}; "
            "`router contexts` with its router.yaml brings it up to date"
        )
    if found != newest:
        raise _OtherSchema(f"has the tables of revision {found}, newer than this program's {newest}")


def _revisions() -> list[str]:
    """Every revision of the schema, the newest first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
