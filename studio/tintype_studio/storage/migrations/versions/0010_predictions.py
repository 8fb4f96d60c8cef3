"""Attributes of classes, heads of models that answer them, and prediction tasks with their parts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("dataset_classes", sa.Column("attributes", sa.JSON(), nullable=True))
    op.add_column("models", sa.Column("heads_sha256", sa.String(length=64), nullable=True))
    op.add_column("models", sa.Column("heads_size", sa.BigInteger(), nullable=True))
    op.add_column("models", sa.Column("attributes", sa.JSON(), nullable=True))
    op.create_index("ix_models_heads_sha256", "models", ["heads_sha256"])
    op.create_table(
        "prediction_tasks",
        sa.Column("id", big, primary_key=True, autoincrement=True),
        sa.Column("uuid", sa.String(length=36), nullable=False, unique=True),
        sa.Column(
            "organization_id",
            big,
            sa.ForeignKey("organizations.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("job_id", big, sa.ForeignKey("jobs.id", ondelete="SET NULL"), nullable=True, unique=True),
        sa.Column("media", sa.String(length=10), nullable=False),
        sa.Column("mime_type", sa.String(length=100), nullable=True),
        sa.Column("file_name", sa.String(length=255), nullable=True),
        sa.Column("upload", sa.String(length=400), nullable=True),
        sa.Column("frames_per_second", sa.Integer(), nullable=True),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("error_code", sa.String(length=60), nullable=True),
        sa.Column("error_message", sa.String(length=500), nullable=True),
        sa.Column("result_sha256", sa.String(length=64), nullable=True),
        sa.Column("result_size", sa.BigInteger(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_prediction_tasks_of_organization", "prediction_tasks", ["organization_id", "id"])
    op.create_index("ix_prediction_tasks_expires_at", "prediction_tasks", ["expires_at"])
    op.create_index("ix_prediction_tasks_result_sha256", "prediction_tasks", ["result_sha256"])
    op.create_table(
        "prediction_parts",
        sa.Column(
            "task_id",
            big,
            sa.ForeignKey("prediction_tasks.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("prediction_parts")
    op.drop_table("prediction_tasks")
    op.drop_index("ix_models_heads_sha256", table_name="models")
    op.drop_column("models", "attributes")
    op.drop_column("models", "heads_size")
    op.drop_column("models", "heads_sha256")
    op.drop_column("dataset_classes", "attributes")
