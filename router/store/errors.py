"""
What can go wrong in the store.

    * StoreError
      - UnknownDecision    feedback names no decision that we know
      - StoreUnavailable   the database is locked, full, gone or too far behind; worth another try
      - RowRefused         the database is well, but it does not take this row

Messages name error classes and codes, never a row's content: database drivers quote rows in theirs.
"""

from __future__ import annotations


class StoreError(Exception):
    """Something the store could not do."""


class UnknownDecision(StoreError):  # noqa: N818
    """Feedback for a decision id or completion id that was never recorded."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no decision is known by {reference!r}")
        self.reference = reference


class StoreUnavailable(StoreError):  # noqa: N818
    """The database could not be written or read now; `reason` is an error class and its code."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store is unavailable: {reason}")
        self.reason = reason


class RowRefused(StoreError):  # noqa: N818
    """The database refused one row for what it holds; trying again would change nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store refused the row: {reason}")
        self.reason = reason


def reason_of(error: BaseException) -> str:
    """An error's class and code, such as "OperationalError SQLITE_FULL", without its message."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__} {code}" if code else type(cause).__name__
