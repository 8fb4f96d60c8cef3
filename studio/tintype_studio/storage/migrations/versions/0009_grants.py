"""Memberships remember whose access tokens they take, and keys that they stand for such tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("memberships", sa.Column("subject", sa.String(length=64), nullable=True))
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("api_keys", sa.Column("membership_id", big, nullable=True))
    op.create_index("ix_api_keys_membership_id", "api_keys", ["membership_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_api_keys_membership_id", table_name="api_keys")
    op.drop_column("api_keys", "membership_id")
    op.drop_column("memberships", "subject")
