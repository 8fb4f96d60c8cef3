"""A prediction task as callers see it, and its row.

A task is about one picture or video. It waits for its file, is queued, processed, and predicted or failed;
until it has its outcome, the job that works on it tells where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

import sqlalchemy as sa

from tintype_studio.predictions.shapes import Media
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.prediction_tables import prediction_tasks

PREDICTED, FAILED = "predicted", "failed"
"""Outcomes."""


class TaskStatus(StrEnum):
    """Where a task stands."""

    AWAITING_UPLOAD = "awaiting_upload"
    """No prediction was asked for yet."""
    QUEUED = "queued"
    PROCESSING = "processing"
    PREDICTED = "predicted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: exactly one of an upload (its path), a file of this machine, and a stored image."""

    upload: str | None = None
    local: str | None = None
    image: str | None = None
    """UUID of an image of a dataset."""


@dataclass(frozen=True, slots=True)
class PredictionTask:
    """A task."""

    row_id: int
    id: str
    media: Media
    status: TaskStatus
    mime_type: str | None
    file_name: str | None
    """As its maker called the file; nothing is looked up by it."""
    subject: Subject
    frames_per_second: int | None
    """Of a video: how many frames a second are looked at."""
    model: str | None
    """As it was asked for."""
    job_id: str | None
    progress: tuple[int, int | None]
    """Items of the job that are done, and of how many."""
    error_code: str | None
    error_message: str | None
    """Why it failed."""
    result_sha256: str | None
    facts: dict[str, Any]
    """``predicted_by`` and the like."""
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime
    """When the task, its file and its result are forgotten."""

    @property
    def word(self) -> str:
        """The status as the dialect has it: a failed one says why, as in ``failed_damaged_video``."""
        if self.status is TaskStatus.FAILED:
            return f"{self.status}_{self.error_code or 'internal'}"
        return self.status.value

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in {TaskStatus.PREDICTED, TaskStatus.FAILED}


def listed() -> sa.Select[Any]:
    """Tasks with what their jobs tell."""
    return sa.select(
        prediction_tasks,
        jobs.c.uuid.label("job_uuid"),
        jobs.c.status.label("job_status"),
        jobs.c.done.label("job_done"),
        jobs.c.total.label("job_total"),
    ).outerjoin(jobs, jobs.c.id == prediction_tasks.c.job_id)


def task_of(row: sa.RowMapping) -> PredictionTask:
    """From a row of ``listed``."""
    facts = row["facts"] or {}
    return PredictionTask(
        row_id=row["id"],
        id=row["uuid"],
        media=cast(Media, row["media"]),
        status=_status(row),
        mime_type=row["mime_type"],
        file_name=row["file_name"],
        subject=Subject(row["upload"], facts.get("local"), facts.get("image")),
        frames_per_second=row["frames_per_second"],
        model=row["model"],
        job_id=row["job_uuid"],
        progress=(row["job_done"] or 0, row["job_total"]),
        error_code=row["error_code"],
        error_message=row["error_message"],
        result_sha256=row["result_sha256"],
        facts=facts,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        expires_at=row["expires_at"],
    )


def _status(row: sa.RowMapping) -> TaskStatus:
    if row["outcome"] is not None:
        return TaskStatus.PREDICTED if row["outcome"] == PREDICTED else TaskStatus.FAILED
    if row["job_status"] is None:
        return TaskStatus.AWAITING_UPLOAD
    return TaskStatus.QUEUED if row["job_status"] == "queued" else TaskStatus.PROCESSING
