"""Guardrails: members, history, approvals, limits, append-only books"""

import sqlalchemy as sa
from alembic import op

from tintype_studio import clock
from tintype_studio.ledger.calendar import next_month
from tintype_studio.storage.append_only import APPEND_ONLY, guards, unguards
from tintype_studio.storage.column_types import BigId, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Columns are added in place: rebuilding a table would empty those that refer to it."""
    op.create_table(
        "rate_windows",
        sa.Column("api_key_id", BigId, autoincrement=False, nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "minute", "instance", name=op.f("pk_rate_windows")),
    )
    op.create_table(
        "swept_blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("marked_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_swept_blobs")),
    )
    op.create_table(
        "users",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("full_name", sa.String(length=120), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("uuid", name=op.f("uq_users_uuid")),
    )
    op.create_table(
        "invites",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("invited_by", sa.String(length=36), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("accepted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_invites_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invites_token_hash")),
        sa.UniqueConstraint("uuid", name=op.f("uq_invites_uuid")),
    )
    op.create_index(op.f("ix_invites_organization_id"), "invites", ["organization_id"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("user_id", BigId, nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_memberships_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_memberships_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
        sa.UniqueConstraint("uuid", name=op.f("uq_memberships_uuid")),
    )
    op.create_index(op.f("ix_memberships_user_id"), "memberships", ["user_id"], unique=False)
    op.create_index(
        "uq_memberships_alive",
        "memberships",
        ["organization_id", "user_id"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "restore_points",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.Column("tool", sa.String(length=80), nullable=False),
        sa.Column("last_change", BigId, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_restore_points_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restore_points")),
        sa.UniqueConstraint("uuid", name=op.f("uq_restore_points_uuid")),
    )
    op.create_index(
        op.f("ix_restore_points_organization_id"), "restore_points", ["organization_id"], unique=False
    )
    op.create_table(
        "approvals",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("api_key_id", BigId, nullable=False),
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.Column("tool", sa.String(length=80), nullable=False),
        sa.Column("required_role", sa.String(length=10), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("arguments", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("agent", sa.String(length=120), nullable=True),
        sa.Column("decided_by", sa.String(length=36), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("used_by", sa.String(length=36), nullable=True),
        sa.Column("instance", sa.String(length=32), nullable=True),
        sa.Column("by_human", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_approvals_api_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_approvals_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_approvals_token_hash")),
        sa.UniqueConstraint("uuid", name=op.f("uq_approvals_uuid")),
    )
    op.create_index(op.f("ix_approvals_expires_at"), "approvals", ["expires_at"], unique=False)
    op.create_index(op.f("ix_approvals_organization_id"), "approvals", ["organization_id"], unique=False)
    op.create_table(
        "changes",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.Column("api_key_id", BigId, nullable=True),
        sa.Column("session", sa.String(length=64), nullable=True),
        sa.Column("tool", sa.String(length=80), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=36), nullable=True),
        sa.Column("label", sa.String(length=300), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.Column("undone_by", sa.String(length=36), nullable=True),
        sa.Column("undo_of", sa.String(length=36), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_changes_dataset_id_datasets"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_changes_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_call_id"), "changes", ["call_id"], unique=False)
    op.create_index("ix_changes_of_dataset", "changes", ["dataset_id", "id"], unique=False)
    op.create_index("ix_changes_of_organization", "changes", ["organization_id", "id"], unique=False)
    op.create_index("ix_changes_of_session", "changes", ["organization_id", "session"], unique=False)
    op.add_column(
        "accounts", sa.Column("allowance_left", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("accounts", sa.Column("reset_at", UtcDateTime(), nullable=True))
    op.add_column("api_keys", sa.Column("user_id", BigId, nullable=True))
    op.add_column("api_keys", sa.Column("daily_credit_cap", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("rate_limit", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("max_concurrent", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("max_response_tokens", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("confirm_by", sa.String(length=10), nullable=True))
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"], unique=False)
    op.add_column("calls", sa.Column("session", sa.String(length=64), nullable=True))
    op.add_column("calls", sa.Column("dry_run", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("datasets", sa.Column("deleted_call", sa.String(length=36), nullable=True))
    op.add_column("ledger_entries", sa.Column("from_allowance", sa.BigInteger(), nullable=True))
    op.add_column("ledger_entries", sa.Column("refund_of", BigId, nullable=True))
    op.add_column("ledger_entries", sa.Column("reference", sa.String(length=80), nullable=True))
    op.create_index("ix_ledger_entries_of_key", "ledger_entries", ["api_key_id", "created_at"], unique=False)
    op.create_index(
        "uq_ledger_entries_reference",
        "ledger_entries",
        ["organization_id", "reference"],
        unique=True,
        sqlite_where=sa.text("reference IS NOT NULL"),
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.create_index(
        "uq_ledger_entries_refund_of",
        "ledger_entries",
        ["refund_of"],
        unique=True,
        sqlite_where=sa.text("refund_of IS NOT NULL"),
        postgresql_where=sa.text("refund_of IS NOT NULL"),
    )
    op.add_column("organizations", sa.Column("billing_email", sa.String(length=254), nullable=True))
    op.add_column("samples", sa.Column("created_by", BigId, nullable=True))
    op.add_column("samples", sa.Column("created_call", sa.String(length=36), nullable=True))
    op.add_column("samples", sa.Column("deleted_call", sa.String(length=36), nullable=True))
    # What a key holds is the sum of its holds.
    op.drop_column("api_keys", "credits_held")
    # Every paid call makes and removes a hold, and nothing looks them up by organization.
    op.drop_index("ix_holds_organization_id", table_name="holds")
    op.create_index("ix_stored_results_api_key_id", "stored_results", ["api_key_id"])
    _start_allowances()
    dialect = op.get_bind().dialect.name
    for table in APPEND_ONLY:
        for statement in guards(dialect, table):
            op.execute(statement)


def _start_allowances() -> None:
    """What is left of the credits counts as allowance; the first reset is a month away."""
    accounts = sa.table(
        "accounts",
        sa.column("balance", sa.BigInteger),
        sa.column("monthly_allowance", sa.BigInteger),
        sa.column("allowance_left", sa.BigInteger),
        sa.column("reset_at", UtcDateTime),
    )
    left = sa.case(
        (accounts.c.balance < accounts.c.monthly_allowance, accounts.c.balance),
        else_=accounts.c.monthly_allowance,
    )
    op.execute(
        sa.update(accounts)
        .where(accounts.c.monthly_allowance > 0)
        .values(allowance_left=left, reset_at=next_month(clock.now()))
    )


def downgrade() -> None:
    """Take back."""
    dialect = op.get_bind().dialect.name
    for table in APPEND_ONLY:
        for statement in unguards(dialect, table):
            op.execute(statement)
    op.drop_index("ix_stored_results_api_key_id", table_name="stored_results")
    op.create_index("ix_holds_organization_id", "holds", ["organization_id"])
    op.add_column("api_keys", sa.Column("credits_held", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_index("ix_api_keys_user_id", table_name="api_keys")
    op.drop_index("ix_ledger_entries_of_key", table_name="ledger_entries")
    op.drop_index("uq_ledger_entries_reference", table_name="ledger_entries")
    op.drop_index("uq_ledger_entries_refund_of", table_name="ledger_entries")
    op.drop_column("accounts", "allowance_left")
    op.drop_column("accounts", "reset_at")
    op.drop_column("api_keys", "user_id")
    op.drop_column("api_keys", "daily_credit_cap")
    op.drop_column("api_keys", "rate_limit")
    op.drop_column("api_keys", "max_concurrent")
    op.drop_column("api_keys", "max_response_tokens")
    op.drop_column("api_keys", "confirm_by")
    op.drop_column("calls", "session")
    op.drop_column("calls", "dry_run")
    op.drop_column("datasets", "deleted_call")
    op.drop_column("ledger_entries", "from_allowance")
    op.drop_column("ledger_entries", "refund_of")
    op.drop_column("ledger_entries", "reference")
    op.drop_column("organizations", "billing_email")
    op.drop_column("samples", "created_by")
    op.drop_column("samples", "created_call")
    op.drop_column("samples", "deleted_call")
    op.drop_table("changes")
    op.drop_table("approvals")
    op.drop_table("restore_points")
    op.drop_table("memberships")
    op.drop_table("invites")
    op.drop_table("users")
    op.drop_table("swept_blobs")
    op.drop_table("rate_windows")
