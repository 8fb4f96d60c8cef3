"""Tables of experiments: their training and validation sessions, files and charts; and of tasks.

Our own trainings and jobs have rows here, too, made in the transaction that starts them: ids of sessions and
tasks are one series each, whoever does the work.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tintype_studio.storage.column_types import BigId, UtcDateTime
from tintype_studio.storage.tables import metadata


def _id() -> sa.Column[int]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


def _uuid() -> sa.Column[str]:
    return sa.Column("uuid", sa.String(36), nullable=False, unique=True)


def _of(column: str, table: str) -> sa.Column[int]:
    return sa.Column(column, BigId, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False)


def _once_of(column: str, table: str, *, unique: bool = False) -> sa.Column[int]:
    return sa.Column(
        column, BigId, sa.ForeignKey(f"{table}.id", ondelete="SET NULL"), nullable=True, unique=unique
    )


def _common() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("created_by", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("deleted_at", UtcDateTime, nullable=True),
    )


tasks = sa.Table(
    "tasks",
    metadata,
    _id(),
    _uuid(),
    _of("organization_id", "organizations"),
    _once_of("project_id", "projects"),
    # None for work that is done elsewhere, which tells its status itself.
    _once_of("job_id", "jobs", unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    # trainer, validation, snapshot-create, snapshot-restore, import, export, auto-ann and the like.
    sa.Column("type", sa.String(40), nullable=False),
    # Of a task without a job; of one whose job is over (jobs are forgotten, tasks of sessions stay).
    sa.Column("status", sa.String(40), nullable=True),
    sa.Column("manage_type", sa.String(40), nullable=True),
    sa.Column("instance_type", sa.String(40), nullable=True),
    # ``[{"stage", "description", "status", "message", "percentage"}]`` in order, of a task without a job.
    sa.Column("stages", sa.JSON, nullable=False),
    sa.Column("created_by", BigId, nullable=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("finished_at", UtcDateTime, nullable=True),
    sa.Index("ix_tasks_of_organization", "organization_id", "id"),
)

experiments = sa.Table(
    "experiments",
    metadata,
    _id(),
    _uuid(),
    _of("organization_id", "organizations"),
    _of("project_id", "projects"),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    *_common(),
    sa.Index("ix_experiments_of_project", "project_id", "id"),
)

training_sessions = sa.Table(
    "training_sessions",
    metadata,
    _id(),
    _uuid(),
    _of("organization_id", "organizations"),
    _of("experiment_id", "experiments"),
    _once_of("task_id", "tasks"),
    # Of one that was trained here; None for one that an outside trainer fills.
    _once_of("run_id", "training_runs", unique=True),
    _once_of("dataset_id", "datasets"),
    sa.Column("annotation_set_id", BigId, nullable=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    # The architecture or pipeline, as its trainer calls it.
    sa.Column("model", sa.String(120), nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("train_group", sa.String(120), nullable=False),
    sa.Column("val_group", sa.String(120), nullable=False),
    # Of one that an outside trainer fills; those of a run stand in its epochs.
    sa.Column("metrics", sa.JSON, nullable=False),
    *_common(),
    sa.Index("ix_training_sessions_of_experiment", "experiment_id", "id"),
    sa.Index("ix_training_sessions_of_organization", "organization_id", "id"),
)

validation_sessions = sa.Table(
    "validation_sessions",
    metadata,
    _id(),
    _uuid(),
    _of("organization_id", "organizations"),
    _of("project_id", "projects"),
    _once_of("experiment_id", "experiments"),
    _once_of("training_session_id", "training_sessions"),
    _once_of("task_id", "tasks"),
    # Of one that was evaluated here.
    _once_of("evaluation_id", "evaluations"),
    _once_of("dataset_id", "datasets"),
    sa.Column("annotation_set_id", BigId, nullable=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    *_common(),
    sa.Index("ix_validation_sessions_of_project", "project_id", "id"),
    sa.Index("ix_validation_sessions_of_organization", "organization_id", "id"),
)

# Files that came with a session or a task: artifacts, checkpoints, metrics, data.
session_files = sa.Table(
    "session_files",
    metadata,
    _id(),
    _of("organization_id", "organizations"),
    # training, validation or task; and the row's id there.
    sa.Column("owner", sa.String(12), nullable=False),
    sa.Column("owner_id", BigId, nullable=False),
    # Relative, with slashes.
    sa.Column("path", sa.String(500), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("owner", "owner_id", "path"),
)

task_charts = sa.Table(
    "task_charts",
    metadata,
    _id(),
    _of("task_id", "tasks"),
    sa.Column("group_name", sa.String(120), nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("params", sa.JSON, nullable=True),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("task_id", "group_name", "name"),
)
