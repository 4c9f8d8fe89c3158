"""Alembic runs this file; `router.store.engine.migrate` hands it the connection."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from router.store.tables import AnyText, metadata


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Revisions outlive our code, so they name plain column types."""
    return "sa.Text()" if kind == "type" and isinstance(item, AnyText) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
