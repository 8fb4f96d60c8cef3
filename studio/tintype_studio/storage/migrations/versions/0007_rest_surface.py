"""What the REST surface tells and changes, and what lists of millions of images are paged by."""

import sqlalchemy as sa
from alembic import op

from tintype_studio.storage.column_types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("datasets", sa.Column("annotation_types", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("reordered", sa.BigInteger(), server_default="0", nullable=False))
    in_bin = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "ix_samples_bin", "samples", ["dataset_id", "id"], sqlite_where=in_bin, postgresql_where=in_bin
    )
    op.add_column("samples", sa.Column("display_name", sa.String(length=255), nullable=True))
    op.add_column("organizations", sa.Column("updated_at", UtcDateTime(), nullable=True))
    op.add_column("exports", sa.Column("job_id", sa.String(length=36), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("exports", "job_id")
    op.drop_column("organizations", "updated_at")
    op.drop_column("samples", "display_name")
    op.drop_index("ix_samples_bin", table_name="samples")
    op.drop_column("datasets", "reordered")
    op.drop_column("datasets", "annotation_types")
