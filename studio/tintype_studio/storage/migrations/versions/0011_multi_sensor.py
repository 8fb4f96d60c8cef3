"""Multi-sensor datasets, snapshots, versions, experiments, tasks and logins; indices of labels."""

import sqlalchemy as sa
from alembic import op

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.migrations.earlier_work import backfill

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "session_files",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("owner_id", BigId, nullable=False),
        sa.Column("path", sa.String(length=500), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_session_files_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_files")),
        sa.UniqueConstraint("owner", "owner_id", "path", name=op.f("uq_session_files_owner_owner_id_path")),
    )
    op.create_index(op.f("ix_session_files_sha256"), "session_files", ["sha256"], unique=False)
    op.create_table(
        "experiments",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_experiments_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_experiments_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("uuid", name=op.f("uq_experiments_uuid")),
    )
    op.create_index("ix_experiments_of_project", "experiments", ["project_id", "id"], unique=False)
    op.create_table(
        "logins",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("api_key_id", BigId, nullable=False),
        sa.Column("username", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_logins_api_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_logins_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logins")),
        sa.UniqueConstraint("api_key_id", name=op.f("uq_logins_api_key_id")),
        sa.UniqueConstraint("username", name=op.f("uq_logins_username")),
        sa.UniqueConstraint("uuid", name=op.f("uq_logins_uuid")),
    )
    op.create_index(op.f("ix_logins_organization_id"), "logins", ["organization_id"], unique=False)
    op.create_table(
        "dataset_versions",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("dataset_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("last_change", BigId, nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("hidden", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("current_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_call", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_dataset_versions_dataset_id_datasets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("uuid", name=op.f("uq_dataset_versions_uuid")),
    )
    op.create_index(
        op.f("ix_dataset_versions_manifest_sha256"), "dataset_versions", ["manifest_sha256"], unique=False
    )
    op.create_index(
        "uq_dataset_versions_alive",
        "dataset_versions",
        ["dataset_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_dataset_versions_of_dataset", "dataset_versions", ["dataset_id", "id"], unique=False)
    op.create_table(
        "version_files",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("version_id", BigId, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["dataset_versions.id"],
            name=op.f("fk_version_files_version_id_dataset_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_files")),
    )
    op.create_index(op.f("ix_version_files_sha256"), "version_files", ["sha256"], unique=False)
    op.create_index(op.f("ix_version_files_version_id"), "version_files", ["version_id"], unique=False)
    op.create_table(
        "sample_groups",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("dataset_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_sample_groups_dataset_id_datasets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample_groups")),
        sa.UniqueConstraint("dataset_id", "name", name=op.f("uq_sample_groups_dataset_id_name")),
        sa.UniqueConstraint("uuid", name=op.f("uq_sample_groups_uuid")),
    )
    op.create_table(
        "sequences",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("dataset_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_sequences_dataset_id_datasets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sequences")),
        sa.UniqueConstraint("dataset_id", "name", name=op.f("uq_sequences_dataset_id_name")),
        sa.UniqueConstraint("uuid", name=op.f("uq_sequences_uuid")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("type", sa.String(length=12), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("annotation_set_id", BigId, nullable=True),
        sa.Column("job_id", BigId, nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("error_message", sa.String(length=500), nullable=True),
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_call", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_snapshots_dataset_id_datasets"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_snapshots_job_id_jobs"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_snapshots_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
        sa.UniqueConstraint("uuid", name=op.f("uq_snapshots_uuid")),
    )
    op.create_index("ix_snapshots_of_organization", "snapshots", ["organization_id", "id"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=True),
        sa.Column("job_id", BigId, nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=True),
        sa.Column("manage_type", sa.String(length=40), nullable=True),
        sa.Column("instance_type", sa.String(length=40), nullable=True),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_tasks_job_id_jobs"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_tasks_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_tasks_project_id_projects"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("job_id", name=op.f("uq_tasks_job_id")),
        sa.UniqueConstraint("uuid", name=op.f("uq_tasks_uuid")),
    )
    op.create_index("ix_tasks_of_organization", "tasks", ["organization_id", "id"], unique=False)
    op.create_table(
        "snapshot_files",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("snapshot_id", BigId, nullable=False),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("upload_id", sa.String(length=36), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["snapshots.id"],
            name=op.f("fk_snapshot_files_snapshot_id_snapshots"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot_files")),
        sa.UniqueConstraint("snapshot_id", "path", name=op.f("uq_snapshot_files_snapshot_id_path")),
        sa.UniqueConstraint("upload_id", name=op.f("uq_snapshot_files_upload_id")),
    )
    op.create_index(op.f("ix_snapshot_files_sha256"), "snapshot_files", ["sha256"], unique=False)
    op.create_table(
        "task_charts",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("group_name", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("params", sa.JSON(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_task_charts_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_charts")),
        sa.UniqueConstraint(
            "task_id", "group_name", "name", name=op.f("uq_task_charts_task_id_group_name_name")
        ),
    )
    op.create_table(
        "training_sessions",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("experiment_id", BigId, nullable=False),
        sa.Column("task_id", BigId, nullable=True),
        sa.Column("run_id", BigId, nullable=True),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("annotation_set_id", BigId, nullable=True),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("train_group", sa.String(length=120), nullable=False),
        sa.Column("val_group", sa.String(length=120), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_training_sessions_dataset_id_datasets"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_training_sessions_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_training_sessions_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["training_runs.id"],
            name=op.f("fk_training_sessions_run_id_training_runs"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_training_sessions_task_id_tasks"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_sessions")),
        sa.UniqueConstraint("run_id", name=op.f("uq_training_sessions_run_id")),
        sa.UniqueConstraint("uuid", name=op.f("uq_training_sessions_uuid")),
    )
    op.create_index(
        "ix_training_sessions_of_experiment", "training_sessions", ["experiment_id", "id"], unique=False
    )
    op.create_index(
        "ix_training_sessions_of_organization", "training_sessions", ["organization_id", "id"], unique=False
    )
    op.create_table(
        "validation_sessions",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("organization_id", BigId, nullable=False),
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("experiment_id", BigId, nullable=True),
        sa.Column("training_session_id", BigId, nullable=True),
        sa.Column("task_id", BigId, nullable=True),
        sa.Column("evaluation_id", BigId, nullable=True),
        sa.Column("dataset_id", BigId, nullable=True),
        sa.Column("annotation_set_id", BigId, nullable=True),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name=op.f("fk_validation_sessions_dataset_id_datasets"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluations.id"],
            name=op.f("fk_validation_sessions_evaluation_id_evaluations"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_validation_sessions_experiment_id_experiments"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_validation_sessions_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_validation_sessions_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_validation_sessions_task_id_tasks"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["training_session_id"],
            ["training_sessions.id"],
            name=op.f("fk_validation_sessions_training_session_id_training_sessions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_validation_sessions")),
        sa.UniqueConstraint("uuid", name=op.f("uq_validation_sessions_uuid")),
    )
    op.create_index(
        "ix_validation_sessions_of_organization",
        "validation_sessions",
        ["organization_id", "id"],
        unique=False,
    )
    op.create_index(
        "ix_validation_sessions_of_project", "validation_sessions", ["project_id", "id"], unique=False
    )
    op.add_column("annotation_sets", sa.Column("description", sa.Text(), nullable=True))
    op.add_column("annotation_sets", sa.Column("deleted_name", sa.String(length=120), nullable=True))
    op.add_column("annotation_sets", sa.Column("deleted_at", UtcDateTime(), nullable=True))
    op.add_column("annotation_sets", sa.Column("deleted_call", sa.String(length=36), nullable=True))
    op.add_column(
        "dataset_classes", sa.Column("label_index", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("sample_files", sa.Column("filename", sa.String(length=255), nullable=True))
    op.add_column("samples", sa.Column("sequence_id", BigId, nullable=True))
    op.add_column("samples", sa.Column("frame_number", sa.Integer(), nullable=True))
    op.add_column("samples", sa.Column("meta", sa.JSON(none_as_null=True), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(
            "samples",
            "split",
            existing_type=sa.VARCHAR(length=20),
            type_=sa.String(length=120),
            existing_nullable=True,
        )
        op.execute("ALTER TABLE evaluations ALTER COLUMN split TYPE VARCHAR(40)")
    op.create_index(
        "ix_samples_sequence",
        "samples",
        ["sequence_id", "frame_number"],
        unique=False,
        sqlite_where=sa.text("sequence_id IS NOT NULL"),
        postgresql_where=sa.text("sequence_id IS NOT NULL"),
    )
    op.execute("UPDATE dataset_classes SET label_index = position")
    backfill(op.get_bind())


def downgrade() -> None:
    """Take back."""
    op.drop_index(
        "ix_samples_sequence",
        table_name="samples",
        sqlite_where=sa.text("sequence_id IS NOT NULL"),
        postgresql_where=sa.text("sequence_id IS NOT NULL"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(
            "samples",
            "split",
            existing_type=sa.String(length=120),
            type_=sa.VARCHAR(length=20),
            existing_nullable=True,
        )
        op.execute("ALTER TABLE evaluations ALTER COLUMN split TYPE VARCHAR(10) USING left(split, 10)")
    op.drop_column("samples", "meta")
    op.drop_column("samples", "frame_number")
    op.drop_column("samples", "sequence_id")
    op.drop_column("sample_files", "filename")
    op.drop_column("dataset_classes", "label_index")
    op.drop_column("annotation_sets", "deleted_call")
    op.drop_column("annotation_sets", "deleted_at")
    op.drop_column("annotation_sets", "deleted_name")
    op.drop_column("annotation_sets", "description")
    op.drop_index("ix_validation_sessions_of_project", table_name="validation_sessions")
    op.drop_index("ix_validation_sessions_of_organization", table_name="validation_sessions")
    op.drop_table("validation_sessions")
    op.drop_index("ix_training_sessions_of_organization", table_name="training_sessions")
    op.drop_index("ix_training_sessions_of_experiment", table_name="training_sessions")
    op.drop_table("training_sessions")
    op.drop_table("task_charts")
    op.drop_index(op.f("ix_snapshot_files_sha256"), table_name="snapshot_files")
    op.drop_table("snapshot_files")
    op.drop_index("ix_tasks_of_organization", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index("ix_snapshots_of_organization", table_name="snapshots")
    op.drop_table("snapshots")
    op.drop_table("sequences")
    op.drop_table("sample_groups")
    op.drop_index(op.f("ix_version_files_version_id"), table_name="version_files")
    op.drop_index(op.f("ix_version_files_sha256"), table_name="version_files")
    op.drop_table("version_files")
    op.drop_index("ix_dataset_versions_of_dataset", table_name="dataset_versions")
    op.drop_index(
        "uq_dataset_versions_alive",
        table_name="dataset_versions",
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index(op.f("ix_dataset_versions_manifest_sha256"), table_name="dataset_versions")
    op.drop_table("dataset_versions")
    op.drop_index(op.f("ix_logins_organization_id"), table_name="logins")
    op.drop_table("logins")
    op.drop_index("ix_experiments_of_project", table_name="experiments")
    op.drop_table("experiments")
    op.drop_index(op.f("ix_session_files_sha256"), table_name="session_files")
    op.drop_table("session_files")
