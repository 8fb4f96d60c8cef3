"""Tells a job's task and its kind that the job is over, in the transaction that makes it so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import End, find_kind
from tintype_studio.storage.job_tables import jobs
from tintype_studio.tasks import own_jobs

if TYPE_CHECKING:
    from tintype_studio.studio import Studio


def tell_end(studio: Studio, connection: sa.Connection, job_row_id: int) -> None:
    """End the task of a job and call ``Kind.ended``, for a job whose row has just become an ended one."""
    own_jobs.end(connection, job_row_id)
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_row_id)).mappings().one()
    try:
        kind = find_kind(row["kind"])
    except Unavailable:  # of a newer version, which then finds out by itself
        return
    error = None
    if row["error_code"]:
        error = {"code": row["error_code"], "message": row["error_message"], "fix": row["error_fix"]}
    kind.ended(
        studio,
        connection,
        End(
            job_row_id=job_row_id,
            job_id=row["uuid"],
            organization_id=row["organization_id"],
            call_id=row["call_id"],
            status=JobStatus(row["status"]),
            error=error,
            credits_held=row["credits_held"],
            credits_charged=row["credits_charged"],
            started_at=row["started_at"],
        ),
    )
