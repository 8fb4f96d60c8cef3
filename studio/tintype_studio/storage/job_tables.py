"""Tables of the jobs: what each is to do, what became of each of its items, and what it says of itself."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata

_unfinished = sa.text("finished_at IS NULL")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column(
        "organization_id", BigId, sa.ForeignKey("organizations.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("api_key_id", BigId, sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    sa.Column("call_id", sa.String(36), nullable=True, index=True),
    sa.Column("session", sa.String(64), nullable=True),
    sa.Column("tool", sa.String(80), nullable=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("queue", sa.String(8), nullable=False),
    sa.Column("title", sa.String(200), nullable=False),
    # The history of what was done stays when its dataset is purged.
    sa.Column("dataset_id", BigId, sa.ForeignKey("datasets.id", ondelete="SET NULL"), nullable=True),
    sa.Column("args", sa.JSON, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("stage", sa.String(40), nullable=True),
    sa.Column("done", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("failed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("total", sa.BigInteger, nullable=True),
    sa.Column("message", sa.String(200), nullable=True),
    sa.Column("result", sa.JSON, nullable=True),
    sa.Column("error_code", sa.String(60), nullable=True),
    sa.Column("error_message", sa.String(500), nullable=True),
    sa.Column("error_fix", sa.String(500), nullable=True),
    # The most that it may cost, as planned when it was started.
    sa.Column("credits_planned", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("credits_held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("credits_charged", sa.BigInteger, nullable=False, server_default="0"),
    # How many entries of the ledger these are.
    sa.Column("charges", sa.Integer, nullable=False, server_default="0"),
    # Which turn of the job is the valid one: counted up whenever it is handed back or taken over.
    sa.Column("turn", sa.Integer, nullable=False, server_default="0"),
    # Turns that ended with their worker since an item was last finished.
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    # Whether the valid turn stands in its queue.
    sa.Column("enqueued", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("instance", sa.String(32), nullable=True),
    sa.Column("cancel_requested_at", UtcDateTime, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=True),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    sa.Index("ix_jobs_of_organization", "organization_id", "id"),
    sa.Index("ix_jobs_unfinished", "status", sqlite_where=_unfinished, postgresql_where=_unfinished),
)

job_items = sa.Table(
    "job_items",
    metadata,
    sa.Column(
        "job_id",
        BigId,
        sa.ForeignKey("jobs.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("outcome", sa.String(10), nullable=False),
    sa.Column("detail", sa.JSON, nullable=True),
    sa.Column("error_code", sa.String(60), nullable=True),
    sa.Column("error_message", sa.String(500), nullable=True),
    sa.Column("credits", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("finished_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)

job_logs = sa.Table(
    "job_logs",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("job_id", BigId, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("level", sa.String(8), nullable=False),
    sa.Column("text", sa.String(500), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)
