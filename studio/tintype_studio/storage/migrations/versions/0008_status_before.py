"""Revisions remember the status that their image had before."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("annotation_revisions", sa.Column("status_before", sa.String(length=20), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("annotation_revisions", "status_before")
