"""The first schema: models, prompts, keys, decisions, outcomes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Lead from an empty database to this revision."""
    _parents()
    op.create_table(
        "decisions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("completion_id", sa.Text()),
        sa.Column("prompt_id", Id, nullable=False),
        sa.Column("key_id", Id),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("beta", sa.Double(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("propensity", sa.Double(), nullable=False),
        sa.Column("candidates", sa.JSON(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("input_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("cached_tokens", sa.Integer()),
        sa.Column("usage_estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("first_byte_ms", sa.Double()),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_decisions_key_id"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name="fk_decisions_prompt_id"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_completion_id", "decisions", ["completion_id"])
    op.create_index("ix_decisions_created_at", "decisions", ["created_at"])
    op.create_table(
        "outcomes",
        sa.Column("id", Id, nullable=False),
        sa.Column("revision", Id, nullable=False),
        sa.Column("decision_id", sa.Text()),
        sa.Column("prompt_id", Id, nullable=False),
        sa.Column("model_id", Id, nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("comment", sa.Text()),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("input_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("score >= 0 AND score <= 1", name=op.f("ck_outcomes_score_in_unit_interval")),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_outcomes_decision_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_outcomes_model_id"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name="fk_outcomes_prompt_id"),
        sa.PrimaryKeyConstraint("id", name="pk_outcomes"),
        sa.UniqueConstraint("decision_id", "source", name="uq_outcomes_decision_id_source"),
        sa.UniqueConstraint("revision", name="uq_outcomes_revision"),
    )
    op.create_index("ix_outcomes_model_id_id", "outcomes", ["model_id", "id"])


def _parents() -> None:
    op.create_table(
        "models",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
    )
    op.create_table(
        "prompts",
        sa.Column("id", Id, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary()),
        sa.Column("text", sa.Text()),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prompts"),
        sa.UniqueConstraint("digest", "version", name="uq_prompts_digest_version"),
    )
    op.create_table(
        "keys",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("hash", name="uq_keys_hash"),
    )
    living = sa.text("revoked_at IS NULL")
    op.create_index(
        "uq_keys_name_living", "keys", ["name"], unique=True, sqlite_where=living, postgresql_where=living
    )
    revisions = op.create_table(
        "revisions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", Id, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_revisions_single_row")),
        sa.PrimaryKeyConstraint("id", name="pk_revisions"),
    )
    op.bulk_insert(revisions, [{"id": 1, "last": 0}])
