"""The task of a job: made with it, ended with it, and kept when it is forgotten, if something names it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.session_tables import (
    session_files,
    task_charts,
    tasks,
    training_sessions,
    validation_sessions,
)
from tintype_studio.storage.tables import datasets
from tintype_studio.tasks.task import HERE, job_stage

TYPES = {
    "train": "trainer",
    "full_pipeline": "trainer",
    "evaluate": "validation",
    "export": "export",
    "import_files": "import",
    "import_connector": "import",
    "auto_annotate": "auto-ann",
    "create_snapshot": "snapshot-create",
    "restore_snapshot": "snapshot-restore",
}
"""By kind of job; any other has its own name, with dashes."""
OWNER = "task"
"""Of files that belong to a task."""


def type_of(kind: str) -> str:
    """The type of the task of a job of that kind."""
    return TYPES.get(kind, kind.replace("_", "-"))


def begin(
    connection: sa.Connection,
    *,
    organization_id: int,
    api_key_id: int,
    job_row_id: int,
    kind: str,
    queue: str,
    title: str,
    dataset_row_id: int | None,
    now: datetime,
) -> None:
    """Make the task of a job, in the transaction that writes the job down."""
    project = sa.select(datasets.c.project_id).where(datasets.c.id == dataset_row_id).scalar_subquery()
    connection.execute(
        sa.insert(tasks).values(
            uuid=clock.new_id(),
            organization_id=organization_id,
            project_id=None if dataset_row_id is None else project,
            job_id=job_row_id,
            name=title[:200],
            type=type_of(kind)[:40],
            manage_type=HERE,
            instance_type=queue,
            stages=[],
            created_by=api_key_id,
            created_at=now,
            updated_at=now,
        )
    )


def end(connection: sa.Connection, job_row_id: int) -> None:
    """Write how a job ended into its task, in the transaction that ends it."""
    query = sa.select(
        *(
            jobs.c[name].label(f"of_job_{name}")
            for name in ("status", "kind", "stage", "done", "total", "message", "error_message")
        )
    ).where(jobs.c.id == job_row_id)
    row = connection.execute(query).mappings().one()
    now = clock.now()
    connection.execute(
        sa.update(tasks)
        .where(tasks.c.job_id == job_row_id)
        .values(
            status=row["of_job_status"],
            stages=[job_stage(row, row["of_job_status"]).as_json()],
            updated_at=now,
            finished_at=now,
        )
    )


def forget(connection: sa.Connection, doomed: sa.Select[tuple[int]]) -> None:
    """Remove the tasks of jobs that are about to be forgotten; those that something names stay."""
    named = (
        sa.exists().where(training_sessions.c.task_id == tasks.c.id),
        sa.exists().where(validation_sessions.c.task_id == tasks.c.id),
        sa.exists().where(task_charts.c.task_id == tasks.c.id),
        sa.exists().where(session_files.c.owner == OWNER, session_files.c.owner_id == tasks.c.id),
    )
    connection.execute(sa.delete(tasks).where(tasks.c.job_id.in_(doomed), ~sa.or_(*named)))
