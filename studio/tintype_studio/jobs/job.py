"""A job as callers see it, and its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tintype_studio.errors import Internal, TintypeError
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import api_keys, datasets


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """Waits for a worker or its turn."""
    RUNNING = "running"
    COMPLETED = "completed"
    """Came to its end; single items of it may have failed."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


@dataclass(frozen=True, slots=True)
class Job:
    """A job. ``done`` and ``failed`` count items; whole credits."""

    row_id: int
    id: str
    kind: str
    title: str
    tool: str | None
    call_id: str | None
    dataset: str | None
    """The dataset's name, while it is there."""
    args: dict[str, Any]
    status: JobStatus
    stage: str | None
    done: int
    """Items that are finished, failed ones among them."""
    failed: int
    total: int | None
    message: str | None
    result: dict[str, Any] | None
    """What the kind returned, when it is completed."""
    error: dict[str, Any] | None
    """``code``, ``message`` and ``fix``, when it failed."""
    credits_held: int
    """Set aside when it started."""
    credits_charged: int
    cancelling: bool
    """Whether somebody asked it to stop."""
    key_prefix: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status.ended


@dataclass(frozen=True, slots=True)
class Item:
    """What became of an item."""

    key: str
    outcome: str
    """done, skipped or failed."""
    detail: dict[str, Any]
    error_code: str | None
    error_message: str | None
    credits: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log."""

    at: datetime
    level: str
    text: str


def listed() -> sa.Select[Any]:
    """Jobs with the names that belong to them."""
    return (
        sa.select(jobs, datasets.c.name.label("dataset_name"), api_keys.c.prefix, api_keys.c.user_id)
        .join(api_keys, api_keys.c.id == jobs.c.api_key_id)
        .outerjoin(datasets, sa.and_(datasets.c.id == jobs.c.dataset_id, datasets.c.deleted_at.is_(None)))
    )


def job_of(row: sa.RowMapping) -> Job:
    """From a row of ``listed``."""
    error = None
    if row["error_code"]:
        error = {"code": row["error_code"], "message": row["error_message"], "fix": row["error_fix"]}
    return Job(
        row_id=row["id"],
        id=row["uuid"],
        kind=row["kind"],
        title=row["title"],
        tool=row["tool"],
        call_id=row["call_id"],
        dataset=row["dataset_name"],
        args=row["args"],
        status=JobStatus(row["status"]),
        stage=row["stage"],
        done=row["done"],
        failed=row["failed"],
        total=row["total"],
        message=row["message"],
        result=row["result"],
        error=error,
        credits_held=row["credits_held"],
        credits_charged=row["credits_charged"],
        cancelling=row["cancel_requested_at"] is not None and row["finished_at"] is None,
        key_prefix=row["prefix"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def error_columns(error: BaseException) -> dict[str, Any]:
    """The columns that say why a job failed; what is no ``TintypeError`` says nothing of itself."""
    told = error if isinstance(error, TintypeError) else Internal()
    return {
        "error_code": told.code[:60],
        "error_message": told.message[:500],
        "error_fix": told.fix[:500],
    }
