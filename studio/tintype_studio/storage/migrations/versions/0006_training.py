"""Training: runs, their epochs, models and their evaluations."""

import sqlalchemy as sa
from alembic import op

from tintype_studio.storage.column_types import BigId, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "training_runs",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("api_key_id", BigId, nullable=True),
        sa.Column("job_id", BigId, nullable=True),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("dataset_name", sa.String(length=120), nullable=False),
        sa.Column("export_id", BigId, nullable=True),
        sa.Column("export_name", sa.String(length=100), nullable=False),
        sa.Column("data_sha256", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("pipeline", sa.String(length=40), nullable=False),
        sa.Column("gpu", sa.String(length=20), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("class_filter", sa.JSON(), nullable=True),
        sa.Column("status_filter", sa.String(length=20), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("epochs_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trained_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("best_epoch", sa.Integer(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("credits_held", sa.BigInteger(), nullable=True),
        sa.Column("credits_charged", sa.BigInteger(), nullable=True),
        sa.Column("credits_refunded", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(length=60), nullable=True),
        sa.Column("error_message", sa.String(length=500), nullable=True),
        sa.Column("error_fix", sa.String(length=500), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("cleared_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_runs")),
        sa.UniqueConstraint("uuid", name=op.f("uq_training_runs_uuid")),
        sa.UniqueConstraint("job_id", name=op.f("uq_training_runs_job_id")),
        _to("training_runs", "organization_id", "organizations", gone="CASCADE"),
        _to("training_runs", "api_key_id", "api_keys"),
        _to("training_runs", "job_id", "jobs"),
        _to("training_runs", "dataset_id", "datasets"),
        _to("training_runs", "export_id", "exports"),
    )
    op.create_index("ix_training_runs_of_organization", "training_runs", ["organization_id", "id"])
    uncleared = sa.text("cleared_at IS NULL")
    op.create_index(
        "ix_training_runs_uncleared",
        "training_runs",
        ["id"],
        sqlite_where=uncleared,
        postgresql_where=uncleared,
    )
    op.create_index("ix_training_runs_data_sha256", "training_runs", ["data_sha256"])
    op.create_table(
        "training_epochs",
        sa.Column("run_id", BigId, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("best", sa.Boolean(), nullable=False),
        sa.Column("stop", sa.Boolean(), nullable=False),
        sa.Column("checkpoint", sa.String(length=200), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_training_epochs")),
        _to("training_epochs", "run_id", "training_runs", gone="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "models",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("run_id", BigId, nullable=False),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("dataset_name", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model_type", sa.String(length=30), nullable=False),
        sa.Column("pipeline", sa.String(length=40), nullable=False),
        sa.Column("architecture", sa.String(length=120), nullable=True),
        sa.Column("initialization", sa.String(length=300), nullable=True),
        sa.Column("signature", sa.JSON(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("card", sa.JSON(), nullable=True),
        sa.Column("onnx_sha256", sa.String(length=64), nullable=True),
        sa.Column("onnx_size", sa.BigInteger(), nullable=True),
        sa.Column("checkpoint_sha256", sa.String(length=64), nullable=True),
        sa.Column("checkpoint_size", sa.BigInteger(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("ready_at", UtcDateTime(), nullable=True),
        sa.Column("archived_at", UtcDateTime(), nullable=True),
        sa.Column("archived_call", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("uuid", name=op.f("uq_models_uuid")),
        sa.UniqueConstraint("run_id", name=op.f("uq_models_run_id")),
        sa.UniqueConstraint("dataset_id", "name", "version", name=op.f("uq_models_dataset_id_name_version")),
        _to("models", "organization_id", "organizations", gone="CASCADE"),
        _to("models", "run_id", "training_runs", gone="CASCADE"),
        _to("models", "dataset_id", "datasets"),
    )
    op.create_index("ix_models_of_organization", "models", ["organization_id", "id"])
    op.create_index(op.f("ix_models_onnx_sha256"), "models", ["onnx_sha256"])
    op.create_index(op.f("ix_models_checkpoint_sha256"), "models", ["checkpoint_sha256"])
    op.create_table(
        "evaluations",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("model_id", BigId, nullable=False),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("dataset_name", sa.String(length=120), nullable=False),
        sa.Column("split", sa.String(length=10), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("pictures", sa.JSON(), nullable=False),
        sa.Column("call_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("uuid", name=op.f("uq_evaluations_uuid")),
        _to("evaluations", "organization_id", "organizations", gone="CASCADE"),
        _to("evaluations", "model_id", "models", gone="CASCADE"),
        _to("evaluations", "dataset_id", "datasets"),
    )
    op.create_index(op.f("ix_evaluations_model_id"), "evaluations", ["model_id"])
    op.create_index(op.f("ix_evaluations_sha256"), "evaluations", ["sha256"])


def downgrade() -> None:
    """Take back. The files of models stay in the blob store."""
    for table in ("evaluations", "models", "training_epochs", "training_runs"):
        op.drop_table(table)


def _to(table: str, column: str, other: str, *, gone: str = "SET NULL") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}_{other}"), ondelete=gone
    )
