"""What the REST surface tells and changes: annotation types, display names, exports that are jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("datasets", sa.Column("annotation_types", sa.JSON(), nullable=True))
    op.add_column("samples", sa.Column("display_name", sa.String(length=255), nullable=True))
    op.add_column("exports", sa.Column("job_id", sa.String(length=36), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("exports", "job_id")
    op.drop_column("samples", "display_name")
    op.drop_column("datasets", "annotation_types")
