"""Leaner books: fewer pages to write for every paid call."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from tintype_studio import clock
from tintype_studio.ledger.calendar import midnight
from tintype_studio.storage.append_only import guards, unguards
from tintype_studio.storage.column_types import BigId, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Holds belong to processes that run; none does while the schema changes."""
    op.add_column("api_keys", sa.Column("spent_on", UtcDateTime(), nullable=True))
    op.add_column("api_keys", sa.Column("spent_today", sa.BigInteger(), server_default="0", nullable=False))
    _count_today()
    op.drop_index("ix_ledger_entries_of_key", table_name="ledger_entries")
    _entries_unique(unique=False)
    op.drop_index("ix_idempotency_records_expires_at", table_name="idempotency_records")
    _holds(
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_holds")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take back."""
    _holds(
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
        sa.UniqueConstraint("call_id", name=op.f("uq_holds_call_id")),
    )
    op.create_index("ix_idempotency_records_expires_at", "idempotency_records", ["expires_at"])
    _entries_unique(unique=True)
    op.create_index("ix_ledger_entries_of_key", "ledger_entries", ["api_key_id", "created_at"])
    op.drop_column("api_keys", "spent_today")
    op.drop_column("api_keys", "spent_on")


def _count_today() -> None:
    """What each key was charged today, refunds of that taken off."""
    today = midnight(clock.now())
    entries = sa.table(
        "ledger_entries",
        sa.column("id", sa.BigInteger),
        sa.column("api_key_id", sa.BigInteger),
        sa.column("amount", sa.BigInteger),
        sa.column("refund_of", sa.BigInteger),
        sa.column("created_at", UtcDateTime),
    )
    keys = sa.table(
        "api_keys",
        sa.column("id", sa.BigInteger),
        sa.column("spent_on", UtcDateTime),
        sa.column("spent_today", sa.BigInteger),
    )
    charge = entries.alias("charge")
    spent = (
        sa.select(sa.func.coalesce(-sa.func.sum(entries.c.amount), 0))
        .select_from(entries.outerjoin(charge, charge.c.id == entries.c.refund_of))
        .where(
            entries.c.api_key_id == keys.c.id,
            entries.c.created_at >= today,
            sa.or_(charge.c.id.is_(None), charge.c.created_at >= today),
        )
        .scalar_subquery()
    )
    op.execute(sa.update(keys).values(spent_on=today, spent_today=spent))


def _entries_unique(*, unique: bool) -> None:
    dialect = op.get_bind().dialect.name
    for statement in unguards(dialect, "ledger_entries"):
        op.execute(statement)
    with op.batch_alter_table("ledger_entries") as table:
        if unique:
            table.create_unique_constraint(op.f("uq_ledger_entries_uuid"), ["uuid"])
        else:
            table.drop_constraint(op.f("uq_ledger_entries_uuid"), type_="unique")
    for statement in guards(dialect, "ledger_entries"):
        op.execute(statement)


def _holds(*own: sa.schema.SchemaItem, **options: Any) -> None:
    """Make the table anew; what it held is given back to the accounts."""
    op.execute("UPDATE accounts SET held = 0")
    op.drop_table("holds")
    op.create_table(
        "holds",
        *own,
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("api_key_id", BigId, nullable=True),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("operation", sa.String(length=80), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_holds_positive")),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_holds_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_holds_api_key_id_api_keys"), ondelete="CASCADE"
        ),
        **options,
    )
