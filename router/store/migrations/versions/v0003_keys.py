"""What a key may do and what it has spent; what kinds of tokens a reply used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DAY_S = 86_400


def upgrade() -> None:
    """Lead from 0002 to this revision; what keys have spent so far is added up from their decisions."""
    op.add_column("keys", sa.Column("admin", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("keys", sa.Column("limits", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("keys", sa.Column("hint", sa.Text(), nullable=False, server_default=""))
    op.add_column("keys", sa.Column("changed_at", sa.Double(), nullable=False, server_default="0"))
    for name in ("cache_write_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens"):
        op.add_column("decisions", sa.Column(name, sa.Integer()))
    spending = op.create_table(
        "spending",
        sa.Column("key_id", Id, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(length=32), nullable=False),
        sa.Column("requests", Id, nullable=False),
        sa.Column("input_tokens", Id, nullable=False),
        sa.Column("output_tokens", Id, nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_spending_key_id"),
        sa.PrimaryKeyConstraint("key_id", "day", "process", name="pk_spending"),
    )
    decisions = sa.table(
        "decisions",
        sa.column("key_id", Id),
        sa.column("created_at", sa.Double()),
        sa.column("input_tokens", sa.Integer()),
        sa.column("output_tokens", sa.Integer()),
        sa.column("cost_usd", sa.Double()),
    )
    day = sa.cast(sa.func.floor(decisions.c.created_at / DAY_S), sa.Integer)
    before = (
        sa.select(
            decisions.c.key_id,
            day,
            sa.literal("before 0003"),
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(decisions.c.input_tokens), 0),
            sa.func.coalesce(sa.func.sum(decisions.c.output_tokens), 0),
            sa.func.coalesce(sa.func.sum(decisions.c.cost_usd), 0.0),
        )
        .where(decisions.c.key_id.is_not(None))
        .group_by(decisions.c.key_id, day)
    )
    op.execute(spending.insert().from_select([column.name for column in spending.columns], before))
