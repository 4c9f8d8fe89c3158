"""Support buffers of the policies that a trainer names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Lead from 0001 to this revision."""
    op.create_table(
        "policies",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.UniqueConstraint("name", name="uq_policies_name"),
    )
    op.create_table(
        "support",
        sa.Column("id", Id, nullable=False),
        sa.Column("policy_id", Id, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text()),
        sa.Column("reward", sa.Double(), nullable=False),
        sa.Column("step", Id, nullable=False),
        sa.CheckConstraint("reward >= 0 AND reward <= 1", name=op.f("ck_support_reward_in_unit_interval")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name="fk_support_policy_id"),
        sa.PrimaryKeyConstraint("id", name="pk_support"),
    )
    op.create_index("ix_support_policy_id_step_id", "support", ["policy_id", "step", "id"])
