"""Rows of prediction tasks: written down, claimed by a job, ended, forgotten.

What ends a task is written in the transaction of what ended it, so that none is left without an outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.predictions.asking import MAX_MODEL_NAME, PredictionRequest, clean_file_name, fps_of
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.predictions.task import FAILED, PREDICTED
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.prediction_tables import prediction_parts, prediction_tasks
from tintype_studio.storage.sweep import keep_blobs, mark_unused

SWEPT_AT_ONCE = 500


class TaskRows:
    """Writes tasks, in the caller's transaction."""

    def __init__(self, database: Database, blobs: Blobs, keep: timedelta) -> None:
        """``keep`` is how long a task stays after its beginning, and after its end."""
        self._db = database
        self._blobs = blobs
        self.keep = keep

    def insert(
        self,
        connection: sa.Connection,
        principal: Principal,
        uuid: str,
        request: PredictionRequest,
        **values: Any,
    ) -> None:
        """Write a task down, in the caller's transaction."""
        now = clock.now()
        connection.execute(
            sa.insert(prediction_tasks).values(
                uuid=uuid,
                organization_id=principal.organization_id,
                media=request.media,
                mime_type=request.mime_type,
                file_name=clean_file_name(request.file_name),
                upload=request.subject.upload,
                created_at=now,
                expires_at=now + self.keep,
                **_asked(request),
                **values,
            )
        )

    def claim(
        self, connection: sa.Connection, principal: Principal, request: PredictionRequest, job_row_id: int
    ) -> None:
        """Have a job work on a task that waits, in the caller's transaction.

        Raises Conflict (``prediction_started``) when it waits no more.
        """
        claimed = connection.execute(
            sa.update(prediction_tasks)
            .where(
                prediction_tasks.c.uuid == request.task,
                prediction_tasks.c.organization_id == principal.organization_id,
                prediction_tasks.c.job_id.is_(None),
                prediction_tasks.c.outcome.is_(None),
            )
            .values(job_id=job_row_id, **_asked(request))
        )
        if not claimed.rowcount:
            raise Conflict(
                "Another call has asked for this prediction.",
                code="prediction_started",
                fix="Ask for the task's status.",
                retryable=True,
            )

    def settle(
        self,
        connection: sa.Connection,
        uuid: str,
        prediction: MediaPrediction,
        sha256: str,
        size: int,
        notes: Sequence[str] = (),
    ) -> None:
        """Make a task predicted, in the caller's transaction; its parts go. The result's bytes are stored."""
        if not keep_blobs(connection, {sha256}, self._blobs.exists):
            raise Unavailable("A purge removed the prediction's bytes.", code="prediction_raced")
        task_id = self._end(
            connection,
            prediction_tasks.c.uuid == uuid,
            outcome=PREDICTED,
            result_sha256=sha256,
            result_size=size,
            facts={
                "predicted_by": prediction.model,
                "width": prediction.width,
                "height": prediction.height,
                "objects": len(prediction.objects),
                "notes": list(notes),
            },
        )
        self._drop_parts(connection, task_id)

    def fail(self, connection: sa.Connection, job_row_id: int, code: str, message: str) -> bool:
        """Make the task of a job failed, in the caller's transaction; False when it has its outcome."""
        mine = sa.and_(prediction_tasks.c.job_id == job_row_id, prediction_tasks.c.outcome.is_(None))
        task_id = self._end(
            connection, mine, outcome=FAILED, error_code=code[:60], error_message=message[:500]
        )
        self._drop_parts(connection, task_id)
        return task_id is not None

    def _end(
        self,
        connection: sa.Connection,
        which: sa.ColumnElement[bool],
        *,
        facts: dict[str, Any] | None = None,
        **values: Any,
    ) -> int | None:
        row = (
            connection.execute(sa.select(prediction_tasks).where(which).with_for_update()).mappings().first()
        )
        if row is None:
            return None
        now = clock.now()
        connection.execute(
            sa.update(prediction_tasks)
            .where(prediction_tasks.c.id == row["id"])
            .values(
                **values, facts={**row["facts"], **(facts or {})}, finished_at=now, expires_at=now + self.keep
            )
        )
        return int(row["id"])

    @staticmethod
    def _drop_parts(connection: sa.Connection, task_row_id: int | None) -> None:
        if task_row_id is not None:
            connection.execute(sa.delete(prediction_parts).where(prediction_parts.c.task_id == task_row_id))

    def kept_uploads(self) -> set[str]:
        """Paths of uploads that are kept for longer than others: of tasks that are not forgotten yet."""
        query = sa.select(prediction_tasks.c.upload).where(
            prediction_tasks.c.upload.is_not(None),
            sa.or_(prediction_tasks.c.job_id.is_not(None), prediction_tasks.c.outcome.is_not(None)),
        )
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def sweep(self) -> int:
        """Forget tasks whose time is over, with what they had; returns how many."""
        swept = 0
        while rows := self._expired():
            with self._db.write() as connection:
                mine = prediction_tasks.c.id.in_([row.id for row in rows])
                connection.execute(sa.delete(prediction_tasks).where(mine))
                digests = [row.result_sha256 for row in rows if row.result_sha256 is not None]
                mark_unused(self._db, connection, digests)
            swept += len(rows)
        return swept

    def _expired(self) -> Sequence[Any]:
        query = (
            sa.select(prediction_tasks.c.id, prediction_tasks.c.result_sha256)
            .outerjoin(jobs, jobs.c.id == prediction_tasks.c.job_id)
            .where(
                prediction_tasks.c.expires_at < clock.now(),
                sa.or_(jobs.c.id.is_(None), jobs.c.finished_at.is_not(None)),
            )
            .limit(SWEPT_AT_ONCE)
        )
        with self._db.read() as connection:
            return connection.execute(query).all()


def _asked(request: PredictionRequest) -> dict[str, Any]:
    """The columns that say what is predicted, and how."""
    facts = {
        "local": request.subject.local,
        "image": request.subject.image,
        "threshold": request.threshold,
        "objects": list(request.objects) or None,
        "upload_version": request.upload_version,
    }
    return {
        "model": request.model[:MAX_MODEL_NAME] or None,
        "frames_per_second": fps_of(request.media, request.frames_per_second),
        "facts": {name: value for name, value in facts.items() if value is not None},
    }
