"""A disk that is full for a while."""

from __future__ import annotations

from contextlib import contextmanager

from sqlalchemy import event


@contextmanager
def full_disk(engine):
    """SQLite refuses to grow the file while this lasts, as it does on a full disk."""

    def limit(connection, _record, _proxy):
        connection.execute("PRAGMA max_page_count = 1")  # means: no page more than there are

    def unlimit(connection, _record, _proxy):
        connection.execute("PRAGMA max_page_count = 1000000")

    event.listen(engine, "checkout", limit)
    try:
        yield
    finally:
        event.remove(engine, "checkout", limit)
        event.listen(engine, "checkout", unlimit)
