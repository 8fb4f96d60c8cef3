"""A task as callers see it, and its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.session_tables import tasks
from tintype_studio.storage.tables import projects
from tintype_studio.wire_ids import wire_id

PREFIX = "task"
HERE = "cloud"
"""Manager of what this server's workers do."""
USER = "user"
"""Manager of what is done elsewhere."""
AT_ONCE = "at-once"
"""Instance of what an app had done before its caller was answered, so that it needed no job."""

SAME_STATUS = (
    frozenset({"completed", "complete", "done", "succeeded"}),
    frozenset({"failed", "error"}),
    frozenset({"cancelled", "canceled", "stopped"}),
    frozenset({"queued", "pending"}),
)
"""Words for one and the same: a filter by one finds all."""
OVER = SAME_STATUS[0] | SAME_STATUS[1] | SAME_STATUS[2]
"""Words after which nothing more is expected."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a task. ``percentage`` is 0 to 100."""

    name: str
    description: str | None = None
    status: str | None = None
    message: str | None = None
    percentage: int = 0

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "stage": self.name,
            "description": self.description,
            "status": self.status,
            "message": self.message,
            "percentage": self.percentage,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Stage:
        """What ``as_json`` gave."""
        return cls(
            found["stage"], found["description"], found["status"], found["message"], found["percentage"]
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task: a job of this server, or work elsewhere that tells how it is doing."""

    row_id: int
    id: str
    project_row_id: int | None
    project: str | None
    name: str
    description: str | None
    type: str
    """trainer, validation, snapshot-create, snapshot-restore, import, export, auto-ann and the like."""
    status: str
    """queued, running, completed, failed or cancelled of a job; of other work what was told."""
    manager: str
    """``cloud``: a worker of this server; ``user``: somebody else."""
    instance: str
    """The queue of a job (cpu, gpu, io)."""
    stages: tuple[Stage, ...]
    job_id: str | None
    """Of a job, until it is forgotten."""
    job_kind: str | None
    is_job: bool
    """Whether a worker of this server did it; then it tells its status itself."""
    created_at: datetime
    finished_at: datetime | None

    @property
    def wire_id(self) -> str:
        """As dialects show it."""
        return wire_id(PREFIX, self.row_id)

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.status.lower() in OVER


def status_column() -> sa.ColumnElement[str]:
    """Where a task stands: its own word, or its job's while that goes on."""
    return sa.func.coalesce(tasks.c.status, jobs.c.status, "unknown")


def columns() -> list[sa.ColumnElement[Any]]:
    """What ``task_of`` reads, under names that clash with no other table's."""
    own = ["id", "uuid", "project_id", "name", "description", "type", "manage_type", "instance_type"]
    own += ["stages", "created_at", "finished_at"]
    of_job = ("uuid", "kind", "stage", "done", "total", "message", "error_message", "finished_at")
    return [
        *(tasks.c[name].label(f"of_task_{name}") for name in own),
        *(jobs.c[name].label(f"of_job_{name}") for name in of_job),
        status_column().label("of_task_status"),
        projects.c.name.label("of_task_project"),
    ]


def with_job(base: sa.FromClause) -> sa.Join:
    """``base``, which holds ``tasks``, with what the columns are read from beside."""
    return base.outerjoin(jobs, jobs.c.id == tasks.c.job_id).outerjoin(
        projects, projects.c.id == tasks.c.project_id
    )


def task_of(row: sa.RowMapping) -> Task:
    """From a row with ``columns``."""
    is_job = row["of_task_manage_type"] == HERE
    stages = tuple(Stage.from_json(each) for each in row["of_task_stages"])
    if row["of_job_uuid"] is not None and not stages:
        stages = (job_stage(row, row["of_task_status"]),)
    return Task(
        row_id=row["of_task_id"],
        id=row["of_task_uuid"],
        project_row_id=row["of_task_project_id"],
        project=row["of_task_project"],
        name=row["of_task_name"],
        description=row["of_task_description"],
        type=row["of_task_type"],
        status=row["of_task_status"],
        manager=row["of_task_manage_type"] or USER,
        instance=row["of_task_instance_type"] or "",
        stages=stages,
        job_id=row["of_job_uuid"],
        job_kind=row["of_job_kind"],
        is_job=is_job,
        created_at=row["of_task_created_at"],
        finished_at=row["of_task_finished_at"] or row["of_job_finished_at"],
    )


def job_stage(row: sa.RowMapping, status: str) -> Stage:
    """The one stage that a job shows: where it is. ``row`` has its columns with ``of_job_`` before them."""
    done, total = row["of_job_done"], row["of_job_total"]
    share = 100 if status == "completed" else 0 if not total else min(99, 100 * done // total)
    return Stage(
        name=row["of_job_stage"] or row["of_job_kind"],
        status=status,
        message=row["of_job_error_message"] or row["of_job_message"],
        percentage=share,
    )
