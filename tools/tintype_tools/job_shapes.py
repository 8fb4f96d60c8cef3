"""What the job tools share: arguments, and a job as agents see it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.jobs.job import Job
from tintype_tools.spec import Result

JobId = Annotated[str, Field(description="UUID of the job.", max_length=80)]
WaitSeconds = Annotated[int, Field(ge=0, le=300, description="Seconds to wait; then the job goes on.")]
DEFAULT_WAIT = 45
"""Below the minute after which common clients give a call up."""


class JobErrorShape(Result):
    """Why a job failed."""

    code: str
    message: str
    fix: str


class JobShape(Result):
    """A job. ``done`` counts items, the failed ones among them; credits are whole."""

    job_id: str
    kind: str
    title: str
    status: str
    stage: str | None = None
    done: int
    failed: int
    total: int | None = None
    message: str | None = None
    cancelling: bool | None = None
    dataset_name: str | None = None
    call_id: str | None = None
    credits_held: int
    credits_charged: int
    error: JobErrorShape | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def of(cls, job: Job) -> JobShape:
        """From the platform's job."""
        return cls(
            job_id=job.id,
            kind=job.kind,
            title=job.title,
            status=job.status.value,
            stage=job.stage,
            done=job.done,
            failed=job.failed,
            total=job.total,
            message=job.message,
            cancelling=job.cancelling or None,
            dataset_name=job.dataset,
            call_id=job.call_id,
            credits_held=job.credits_held,
            credits_charged=job.credits_charged,
            error=JobErrorShape(**job.error) if job.error is not None else None,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )
