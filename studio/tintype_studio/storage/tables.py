"""The relational schema, the same on SQLite and PostgreSQL.

Every row that a caller can name has an integer ``id`` (fast joins; dialects that need u64) and a public
``uuid``. Times are UTC. Names are unique among rows that are not deleted.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from tintype_studio.storage.append_only import APPEND_ONLY, guard_on_create
from tintype_studio.storage.column_types import BigId, UtcDateTime

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


def _uuid() -> sa.Column[str]:
    return sa.Column("uuid", sa.String(36), nullable=False, unique=True)


def _created() -> sa.Column[datetime]:
    return sa.Column("created_at", UtcDateTime, nullable=False)


def _ref(column: str, table: str, *, nullable: bool = False, index: bool = True) -> sa.Column[int]:
    return sa.Column(
        column, BigId, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=nullable, index=index
    )


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _unique_while_alive(table: str, *columns: str, gone: str = "deleted_at") -> sa.Index:
    alive = sa.text(f"{gone} IS NULL")
    return sa.Index(f"uq_{table}_alive", *columns, unique=True, sqlite_where=alive, postgresql_where=alive)


def _unique_where_set(table: str, column: str, *within: str) -> sa.Index:
    """Rows that leave the column empty cost nothing: most do."""
    there = sa.text(f"{column} IS NOT NULL")
    return sa.Index(
        f"uq_{table}_{column}", *within, column, unique=True, sqlite_where=there, postgresql_where=there
    )


IN_BIN = sa.text("deleted_at IS NOT NULL")
IN_SEQUENCE = sa.text("sequence_id IS NOT NULL")

organizations = sa.Table(
    "organizations",
    metadata,
    _id(),
    _uuid(),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("slug", sa.String(120), nullable=False, unique=True),
    sa.Column("tier", sa.String(20), nullable=False),
    sa.Column("billing_email", sa.String(254), nullable=True),
    _created(),
    sa.Column("updated_at", UtcDateTime, nullable=True),
)

users = sa.Table(
    "users",
    metadata,
    _id(),
    _uuid(),
    sa.Column("email", sa.String(254), nullable=False, unique=True),
    sa.Column("full_name", sa.String(120), nullable=True),
    _created(),
)

memberships = sa.Table(
    "memberships",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations", index=False),
    _ref("user_id", "users"),
    sa.Column("role", sa.String(10), nullable=False),
    _created(),
    sa.Column("removed_at", UtcDateTime, nullable=True),
    # Digest of issuer and subject of the access tokens that it takes, from the first one on.
    sa.Column("subject", sa.String(64), nullable=True),
    _unique_while_alive("memberships", "organization_id", "user_id", gone="removed_at"),
)

invites = sa.Table(
    "invites",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("invited_by", sa.String(36), nullable=True),
    _created(),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("accepted_at", UtcDateTime, nullable=True),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("prefix", sa.String(12), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("toolsets", sa.JSON, nullable=True),
    sa.Column("credit_cap", sa.BigInteger, nullable=True),
    _count("credits_used"),
    sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("expires_at", UtcDateTime, nullable=True),
    sa.Column("last_used_at", UtcDateTime, nullable=True),
    _created(),
    sa.Column("user_id", BigId, nullable=True, index=True),
    sa.Column("daily_credit_cap", sa.BigInteger, nullable=True),
    sa.Column("rate_limit", sa.Integer, nullable=True),
    sa.Column("max_concurrent", sa.Integer, nullable=True),
    sa.Column("max_response_tokens", sa.Integer, nullable=True),
    sa.Column("confirm_by", sa.String(10), nullable=True),
    # What the key was charged since the midnight of ``spent_on``.
    sa.Column("spent_on", UtcDateTime, nullable=True),
    _count("spent_today"),
    # The membership whose access tokens the key stands for; nobody holds the secret of such a key.
    sa.Column("membership_id", BigId, nullable=True, index=True),
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column(
        "organization_id",
        BigId,
        sa.ForeignKey("organizations.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    _count("balance"),
    _count("held"),
    sa.Column("monthly_allowance", sa.BigInteger, nullable=False, server_default="0"),
    _count("allowance_left"),
    sa.Column("reset_at", UtcDateTime, nullable=True),
    sa.CheckConstraint("held >= 0 AND balance >= held", name="never_below_zero"),
)

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("call_id", sa.String(36), primary_key=True),
    _ref("organization_id", "organizations", index=False),
    _ref("api_key_id", "api_keys", nullable=True, index=False),
    sa.Column("instance", sa.String(32), nullable=False),
    sa.Column("operation", sa.String(80), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    _created(),
    sa.CheckConstraint("amount > 0", name="positive"),
    # Made and removed by every paid call: one page to write instead of two.
    sqlite_with_rowid=False,
)

ledger_entries = sa.Table(
    "ledger_entries",
    metadata,
    _id(),
    # Nobody looks an entry up by it, and an index of random keys would be a page more to every charge.
    sa.Column("uuid", sa.String(36), nullable=False),
    _ref("organization_id", "organizations"),
    _ref("api_key_id", "api_keys", nullable=True, index=False),
    sa.Column("call_id", sa.String(36), nullable=True, unique=True),
    sa.Column("operation", sa.String(80), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("balance_after", sa.BigInteger, nullable=False),
    sa.Column("description", sa.String(200), nullable=True),
    _created(),
    sa.Column("from_allowance", sa.BigInteger, nullable=True),
    sa.Column("refund_of", BigId, nullable=True),
    sa.Column("reference", sa.String(80), nullable=True),
    _unique_where_set("ledger_entries", "refund_of"),
    _unique_where_set("ledger_entries", "reference", "organization_id"),
)

projects = sa.Table(
    "projects",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    _created(),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
    _unique_while_alive("projects", "organization_id", "name"),
)

datasets = sa.Table(
    "datasets",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    _ref("project_id", "projects"),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("classes_declared", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("annotation_types", sa.JSON, nullable=True),
    _count("image_count"),
    _count("completed_image_count"),
    _count("annotation_count"),
    _count("total_size"),
    # How often images left or came back between others, so that places in the list moved.
    _count("reordered"),
    _created(),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
    sa.Column("deleted_call", sa.String(36), nullable=True),
    _unique_while_alive("datasets", "organization_id", "name"),
)

dataset_classes = sa.Table(
    "dataset_classes",
    metadata,
    _id(),
    _ref("dataset_id", "datasets", index=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("type", sa.String(20), nullable=True),
    sa.Column("color", sa.String(9), nullable=True),
    # Stable and sparse: what files and models call the class. Unique but for the middle of a swap.
    sa.Column("label_index", sa.BigInteger, nullable=False, server_default="0"),
    # ``[{"name", "options"}]``: what may be chosen for each object of the class.
    sa.Column("attributes", sa.JSON(none_as_null=True), nullable=True),
    sa.UniqueConstraint("dataset_id", "name"),
)

samples = sa.Table(
    "samples",
    metadata,
    _id(),
    _uuid(),
    _ref("dataset_id", "datasets", index=False),
    sa.Column("filename", sa.String(255), nullable=False),
    sa.Column("display_name", sa.String(255), nullable=True),
    sa.Column("folder", sa.String(500), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    # The group: train, val, test or another. (SQLite keeps to no length.)
    sa.Column("split", sa.String(20).with_variant(sa.String(120), "postgresql"), nullable=True),
    sa.Column("width", sa.Integer, nullable=True),
    sa.Column("height", sa.Integer, nullable=True),
    _count("annotation_count"),
    _created(),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
    sa.Column("created_by", BigId, nullable=True),
    sa.Column("created_call", sa.String(36), nullable=True),
    sa.Column("deleted_call", sa.String(36), nullable=True),
    sa.Column("sequence_id", BigId, nullable=True),
    sa.Column("frame_number", sa.Integer, nullable=True),
    # When and where it was taken, in what state: see ``multisensor/sample_meta.py``.
    sa.Column("meta", sa.JSON(none_as_null=True), nullable=True),
    _unique_while_alive("samples", "dataset_id", "folder", "filename"),
    sa.Index("ix_samples_listing", "dataset_id", "id"),
    sa.Index("ix_samples_bin", "dataset_id", "id", sqlite_where=IN_BIN, postgresql_where=IN_BIN),
    sa.Index("ix_samples_filename", "dataset_id", "filename"),
    sa.Index(
        "ix_samples_sequence",
        "sequence_id",
        "frame_number",
        sqlite_where=IN_SEQUENCE,
        postgresql_where=IN_SEQUENCE,
    ),
)

sample_files = sa.Table(
    "sample_files",
    metadata,
    _id(),
    _ref("sample_id", "samples", index=False),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mime_type", sa.String(100), nullable=False),
    # As it was called where it came from; None for the name of the sample.
    sa.Column("filename", sa.String(255), nullable=True),
    sa.UniqueConstraint("sample_id", "type"),
)

annotation_sets = sa.Table(
    "annotation_sets",
    metadata,
    _id(),
    _uuid(),
    _ref("dataset_id", "datasets", index=False),
    sa.Column("name", sa.String(120), nullable=False),
    _created(),
    sa.Column("description", sa.Text, nullable=True),
    # A deleted set gives its name up, and keeps it here.
    sa.Column("deleted_name", sa.String(120), nullable=True),
    sa.Column("deleted_at", UtcDateTime, nullable=True),
    sa.Column("deleted_call", sa.String(36), nullable=True),
    sa.UniqueConstraint("dataset_id", "name"),
)

annotation_revisions = sa.Table(
    "annotation_revisions",
    metadata,
    _id(),
    _ref("sample_id", "samples", index=False),
    _ref("annotation_set_id", "annotation_sets", index=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("annotation_count", sa.Integer, nullable=False),
    # The image's, which an undo of the revision gives back; none where the image came with its annotations.
    sa.Column("status_before", sa.String(20), nullable=True),
    sa.Column("call_id", sa.String(36), nullable=True, index=True),
    sa.Column("created_by", sa.String(36), nullable=True),
    _created(),
    sa.UniqueConstraint("sample_id", "annotation_set_id", "revision"),
)

exports = sa.Table(
    "exports",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    _ref("dataset_id", "datasets", index=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("format", sa.String(20), nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("include_images", sa.Boolean, nullable=False),
    sa.Column("class_filter", sa.JSON, nullable=True),
    sa.Column("status_filter", sa.String(20), nullable=True),
    sa.Column("error_message", sa.String(500), nullable=True),
    sa.Column("notes", sa.JSON, nullable=True),
    sa.Column("sha256", sa.String(64), nullable=True),
    sa.Column("file_size", sa.BigInteger, nullable=True),
    sa.Column("image_count", sa.BigInteger, nullable=True),
    sa.Column("annotation_count", sa.BigInteger, nullable=True),
    sa.Column("instance", sa.String(32), nullable=True),
    sa.Column("job_id", sa.String(36), nullable=True),
    _created(),
    sa.Column("completed_at", UtcDateTime, nullable=True),
    sa.UniqueConstraint("dataset_id", "name"),
)

calls = sa.Table(
    "calls",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations", nullable=True),
    _ref("api_key_id", "api_keys", nullable=True, index=False),
    sa.Column("role", sa.String(10), nullable=True),
    sa.Column("door", sa.String(12), nullable=False),
    sa.Column("agent", sa.String(120), nullable=True),
    sa.Column("tool", sa.String(80), nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(60), nullable=False),
    sa.Column("replayed", sa.Boolean, nullable=False, server_default=sa.false()),
    _count("credits"),
    sa.Column("duration_us", sa.BigInteger, nullable=False),
    _created(),
    sa.Column("session", sa.String(64), nullable=True),
    sa.Column("dry_run", sa.Boolean, nullable=False, server_default=sa.false()),
)

idempotency_records = sa.Table(
    "idempotency_records",
    metadata,
    _id(),
    _ref("api_key_id", "api_keys", index=False),
    sa.Column("tool", sa.String(80), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("call_id", sa.String(36), nullable=False),
    sa.Column("instance", sa.String(32), nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=True),
    _created(),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("api_key_id", "tool", "key"),
)

stored_results = sa.Table(
    "stored_results",
    metadata,
    _id(),
    sa.Column("handle", sa.String(43), nullable=False, unique=True),
    _ref("api_key_id", "api_keys"),
    sa.Column("tool", sa.String(80), nullable=False),
    sa.Column("path", sa.String(200), nullable=False),
    sa.Column("items", sa.LargeBinary, nullable=False),
    _created(),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
)

changes = sa.Table(
    "changes",
    metadata,
    _id(),
    _ref("organization_id", "organizations", index=False),
    # What was purged stays in the history without its dataset.
    sa.Column("dataset_id", BigId, sa.ForeignKey("datasets.id", ondelete="SET NULL"), nullable=True),
    sa.Column("call_id", sa.String(36), nullable=False, index=True),
    sa.Column("api_key_id", BigId, nullable=True),
    sa.Column("session", sa.String(64), nullable=True),
    sa.Column("tool", sa.String(80), nullable=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("subject", sa.String(36), nullable=True),
    sa.Column("label", sa.String(300), nullable=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("detail", sa.JSON, nullable=True),
    sa.Column("undone_by", sa.String(36), nullable=True),
    sa.Column("undo_of", sa.String(36), nullable=True),
    _created(),
    sa.Index("ix_changes_of_organization", "organization_id", "id"),
    sa.Index("ix_changes_of_dataset", "dataset_id", "id"),
    sa.Index("ix_changes_of_session", "organization_id", "session"),
)

restore_points = sa.Table(
    "restore_points",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    sa.Column("call_id", sa.String(36), nullable=False),
    sa.Column("tool", sa.String(80), nullable=False),
    sa.Column("last_change", BigId, nullable=False),
    _created(),
)

approvals = sa.Table(
    "approvals",
    metadata,
    _id(),
    _uuid(),
    _ref("organization_id", "organizations"),
    _ref("api_key_id", "api_keys", index=False),
    sa.Column("call_id", sa.String(36), nullable=False),
    sa.Column("tool", sa.String(80), nullable=False),
    sa.Column("required_role", sa.String(10), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("arguments", sa.LargeBinary, nullable=False),
    sa.Column("idempotency_key", sa.String(255), nullable=True),
    sa.Column("credits", sa.BigInteger, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("agent", sa.String(120), nullable=True),
    sa.Column("decided_by", sa.String(36), nullable=True),
    sa.Column("decided_at", UtcDateTime, nullable=True),
    sa.Column("used_by", sa.String(36), nullable=True),
    sa.Column("instance", sa.String(32), nullable=True),
    sa.Column("by_human", sa.Boolean, nullable=False),
    _created(),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
)

for _name in APPEND_ONLY:
    guard_on_create(metadata.tables[_name])

# Tables in files of their own; ``metadata`` is whole only with them.
import tintype_studio.storage.search_tables  # noqa: E402, F401  (completes the metadata)
from tintype_studio.storage import (  # noqa: E402
    job_tables,  # noqa: F401
    login_tables,  # noqa: F401
    prediction_tables,  # noqa: F401
    sensor_tables,  # noqa: F401
    session_tables,  # noqa: F401
    training_tables,  # noqa: F401
    upkeep_tables,  # noqa: F401
)
