"""Tables of multi-sensor datasets: groups and sequences of samples, snapshots, and named versions."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata


def _id() -> sa.Column[int]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


def _uuid() -> sa.Column[str]:
    return sa.Column("uuid", sa.String(36), nullable=False, unique=True)


def _of(column: str, table: str, *, index: bool = False) -> sa.Column[int]:
    return sa.Column(
        column, BigId, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False, index=index
    )


def _once_of(column: str, table: str) -> sa.Column[int]:
    return sa.Column(column, BigId, sa.ForeignKey(f"{table}.id", ondelete="SET NULL"), nullable=True)


# A group is known before it has samples; these name theirs in ``samples.split``.
sample_groups = sa.Table(
    "sample_groups",
    metadata,
    _id(),
    _uuid(),
    _of("dataset_id", "datasets"),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("dataset_id", "name"),
)

sequences = sa.Table(
    "sequences",
    metadata,
    _id(),
    _uuid(),
    _of("dataset_id", "datasets"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("dataset_id", "name"),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    _id(),
    _uuid(),
    _of("organization_id", "organizations"),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    # edgefirst (Arrow and ZIP), mcap, or files (whatever else was put).
    sa.Column("type", sa.String(12), nullable=False),
    # pending until its bytes are there; processing, available, failed.
    sa.Column("status", sa.String(12), nullable=False),
    # What it was made from.
    _once_of("dataset_id", "datasets"),
    sa.Column("annotation_set_id", BigId, nullable=True),
    _once_of("job_id", "jobs"),
    # Topics, counts, schema version and the like.
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("error_message", sa.String(500), nullable=True),
    sa.Column("created_by", BigId, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("completed_at", UtcDateTime, nullable=True),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
    sa.Column("deleted_call", sa.String(36), nullable=True),
    sa.Index("ix_snapshots_of_organization", "organization_id", "id"),
)

snapshot_files = sa.Table(
    "snapshot_files",
    metadata,
    _id(),
    _of("snapshot_id", "snapshots"),
    sa.Column("path", sa.String(1000), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    # None until all parts were put and joined.
    sa.Column("sha256", sa.String(64), nullable=True, index=True),
    sa.Column("upload_id", sa.String(36), nullable=True, unique=True),
    sa.Column("completed_at", UtcDateTime, nullable=True),
    sa.UniqueConstraint("snapshot_id", "path"),
)

_VERSION_ALIVE = sa.text("deleted_at IS NULL")

dataset_versions = sa.Table(
    "dataset_versions",
    metadata,
    _id(),
    _uuid(),
    _of("dataset_id", "datasets"),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    # The newest change of the dataset that it holds.
    sa.Column("last_change", BigId, nullable=False),
    # The state as a file: which samples, files, revisions, groups and labels (``versions/manifest.py``).
    sa.Column("manifest_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("summary", sa.JSON, nullable=False),
    sa.Column("created_by", BigId, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    # What a restore replaced: kept for its undo, and shown to nobody.
    sa.Column("hidden", sa.Boolean, nullable=False, server_default=sa.false()),
    # When the dataset was last in its state: made or restored.
    sa.Column("current_at", UtcDateTime, nullable=True),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
    sa.Column("deleted_call", sa.String(36), nullable=True),
    sa.Index(
        "uq_dataset_versions_alive",
        "dataset_id",
        "name",
        unique=True,
        sqlite_where=_VERSION_ALIVE,
        postgresql_where=_VERSION_ALIVE,
    ),
    sa.Index("ix_dataset_versions_of_dataset", "dataset_id", "id"),
)

# Files that a restore took from samples: no sample names them, and its undo needs them.
version_files = sa.Table(
    "version_files",
    metadata,
    _id(),
    _of("version_id", "dataset_versions", index=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
)
