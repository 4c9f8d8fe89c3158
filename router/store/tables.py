"""The tables, as SQLAlchemy Core sees them. A change here needs a revision: see `migrations/__init__.py`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only a column called INTEGER


class AnyText(TypeDecorator[str]):
    """Text from callers: NUL and lone surrogates, which databases refuse, become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else clean(value)


def clean(value: str) -> str:
    """The text without what databases refuse; how `AnyText` stores it, and so how to look it up."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


models = Table(
    "models",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", AnyText, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("version", AnyText, nullable=False),
    Column("embedding", LargeBinary),
    Column("text", AnyText),
    Column("tokens", Integer, nullable=False),
    UniqueConstraint("digest", "version"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("admin", Boolean, nullable=False, server_default=false()),
    Column("limits", JSON, nullable=False, server_default="{}"),
    Column("hint", AnyText, nullable=False, server_default=""),
    Column("changed_at", Double, nullable=False, server_default="0"),
)
# A name may return once its key is revoked; two living keys of one name may not be.
Index(
    "uq_keys_name_living",
    keys.c.name,
    unique=True,
    sqlite_where=text("revoked_at IS NULL"),
    postgresql_where=text("revoked_at IS NULL"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("completion_id", AnyText, index=True),
    Column("prompt_id", Id, ForeignKey("prompts.id"), nullable=False),
    Column("key_id", Id, ForeignKey("keys.id")),
    Column("created_at", Double, nullable=False, index=True),
    Column("beta", Double, nullable=False),
    Column("chosen", AnyText, nullable=False),
    Column("target", AnyText),
    Column("reason", AnyText, nullable=False),
    Column("propensity", Double, nullable=False),
    Column("candidates", JSON, nullable=False),
    Column("status", Integer, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_usd", Double),
    Column("latency_ms", Double),
    Column("first_byte_ms", Double),
    Column("cache_write_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("audio_input_tokens", Integer),
    Column("audio_output_tokens", Integer),
)

# What keys have spent, a row a key, day (since 1970, UTC) and process: each process writes rows of its own only, with
# whole sums, so what a process knows of itself and reads of the others never overlap, and nothing is added twice.
spending = Table(
    "spending",
    metadata,
    Column("key_id", Id, ForeignKey("keys.id"), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("process", String(32), primary_key=True),
    Column("requests", Id, nullable=False),
    Column("input_tokens", Id, nullable=False),
    Column("output_tokens", Id, nullable=False),
    Column("cost_usd", Double, nullable=False),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("revision", Id, nullable=False, unique=True),
    Column("decision_id", AnyText, ForeignKey("decisions.id")),
    Column("prompt_id", Id, ForeignKey("prompts.id"), nullable=False),
    Column("model_id", Id, ForeignKey("models.id"), nullable=False),
    Column("score", Double, nullable=False),
    Column("source", String(20), nullable=False),
    Column("comment", AnyText),
    Column("cost_usd", Double),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("latency_ms", Double),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("decision_id", "source"),
    CheckConstraint("score >= 0 AND score <= 1", name="score_in_unit_interval"),
    Index("ix_outcomes_model_id_id", "model_id", "id"),
)

# One row. Whoever writes updates it first, and so holds it until the commit: revisions are committed in
# their own order, in PostgreSQL as in SQLite, and a reader past revision n has missed nothing before n.
revisions = Table(
    "revisions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", Id, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)

# What a trainer's policies earned: their newest rows only, embeddings included, so a buffer's size is bounded.
policies = Table(
    "policies",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", AnyText, nullable=False, unique=True),
    Column("revision", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

support = Table(
    "support",
    metadata,
    Column("id", Id, primary_key=True),
    Column("policy_id", Id, ForeignKey("policies.id"), nullable=False),
    Column("version", AnyText, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    Column("text", AnyText),
    Column("reward", Double, nullable=False),
    Column("step", Id, nullable=False),
    CheckConstraint("reward >= 0 AND reward <= 1", name="reward_in_unit_interval"),
    Index("ix_support_policy_id_step_id", "policy_id", "step", "id"),
)
