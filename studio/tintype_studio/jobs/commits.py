"""How a running job writes: every transaction first makes sure that the job is still this worker's.

A worker that was taken for dead, or a job that was ended by somebody else, must write nothing more, so the
first statement of each transaction is a condition on the job's row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.jobs.job import JobStatus, error_columns
from tintype_studio.jobs.kind import Done
from tintype_studio.ledger.job_holds import capture_part, hold_spent, left, release_rest
from tintype_studio.storage.job_tables import job_items, job_logs, jobs

if TYPE_CHECKING:
    from tintype_studio.storage.database import Database

MAX_LOG_LINES = 500
"""Of one job; older ones go."""
NOT_NOW = frozenset({"storage_failed", "database_busy"})
"""Refusals of the disk or the database: of no item's making, and worth waiting for."""
PATIENCE_SECONDS = 600.0
"""How long a job waits for a disk that is full."""
SLOWEST_RETRY_SECONDS = 5.0


class Stopped(BaseException):
    """Ends a run from outside. Not an ``Exception``, so that no kind takes it for an item's failure."""


class Lost(Stopped):
    """The job is no longer this worker's, or has ended."""


@dataclass(slots=True)
class Finished:
    """An item on its way into the database: ``done``, or why it failed."""

    key: str
    done: Done | None = None
    error: TintypeError | None = None


@dataclass(slots=True)
class Notes:
    """What a run says of itself, written with the next transaction."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)


class Commits:
    """Writes for one turn of one job."""

    def __init__(self, database: Database, row: sa.RowMapping, instance: str) -> None:
        self._db = database
        self._id: int = row["id"]
        self._uuid: str = row["uuid"]
        self._call_id: str | None = row["call_id"]
        self._tool: str = row["tool"] or row["kind"]
        self._turn: int = row["turn"]
        self._instance = instance
        self._charges: int = row["charges"]

    def finished_keys(self) -> set[str]:
        """Items that are finished, by this or an earlier turn."""
        with self._db.read() as connection:
            return set(
                connection.execute(sa.select(job_items.c.key).where(job_items.c.job_id == self._id)).scalars()
            )

    def credits_left(self) -> int:
        """What the job may still charge."""
        if self._call_id is None:
            return 0
        with self._db.read() as connection:
            return left(connection, self._call_id)

    def items(self, batch: Sequence[Finished], notes: Notes) -> list[Finished]:
        """Write finished items with what they change and cost, in one transaction; returns them as written.

        An item whose own writing is refused is written as failed, and its changes are undone alone.
        """
        with self._db.unit_of_work():
            with self._db.write() as connection:
                self._require_ours(connection)
            written, charged = self._each_alone(batch)
            failed = sum(f.error is not None for f in written)
            with self._db.write() as connection:
                values: dict[str, Any] = {
                    "done": jobs.c.done + len(written),
                    "failed": jobs.c.failed + failed,
                    "attempts": 0,
                }
                if charged and self._call_id is not None:
                    values |= self._charge(connection, self._call_id, charged, written)
                self._note(connection, notes, values)
        self._charges += bool(charged)
        return written

    def _charge(
        self, connection: sa.Connection, call_id: str, charged: int, written: Sequence[Finished]
    ) -> dict[str, Any]:
        count = sum(f.done is not None and f.done.credits > 0 for f in written)
        capture_part(
            connection,
            call_id,
            charged,
            reference=f"job:{self._uuid}:{self._charges}",
            description=f"{self._tool}: {count} {'item' if count == 1 else 'items'}",
        )
        return {
            "credits_charged": jobs.c.credits_charged + charged,
            "charges": jobs.c.charges + 1,
        }

    def _each_alone(self, batch: Sequence[Finished]) -> tuple[list[Finished], int]:
        """The items as written, and the credits of those that came out well."""
        written: list[Finished] = []
        available = self.credits_left() if any(f.done and f.done.credits for f in batch) else 0
        charged = 0
        for finished in batch:
            kept = self._item(finished, available - charged)
            charged += kept.done.credits if kept.done is not None else 0
            written.append(kept)
        return written, charged

    def _item(self, finished: Finished, available: int) -> Finished:
        if finished.done is not None:
            try:
                if finished.done.credits > available:
                    raise hold_spent(finished.done.credits, available)
                with self._db.write() as connection:
                    if finished.done.write is not None:
                        finished.done.write(connection)
                    self._insert(connection, finished)
                return finished
            except TintypeError as error:
                if error.code in NOT_NOW:
                    raise
                finished = Finished(finished.key, error=error)
        with self._db.write() as connection:
            self._insert(connection, finished)
        return finished

    def _insert(self, connection: sa.Connection, finished: Finished) -> None:
        done, error = finished.done, finished.error
        values: dict[str, Any] = {
            "job_id": self._id,
            "key": finished.key,
            "finished_at": clock.now(),
        }
        if done is not None:
            values |= {
                "outcome": "skipped" if done.skipped else "done",
                "detail": done.detail or None,
                "credits": done.credits,
            }
        else:
            columns = error_columns(error) if error is not None else {}
            columns.pop("error_fix", None)
            values |= {"outcome": "failed", **columns}
        connection.execute(sa.insert(job_items).values(**values))

    def notes(self, notes: Notes) -> None:
        """Write progress and logs. Not durable: it only matters while somebody works."""
        with self._db.write(durable=False) as connection:
            self._require_ours(connection)
            self._note(connection, notes, {})

    def finish(
        self, status: JobStatus, notes: Notes, tell: Callable[[sa.Connection, int], None], **values: Any
    ) -> None:
        """End the job, free what is left of its hold, and ``tell`` of it with the job's row id."""
        now = clock.now()
        with self._db.write() as connection:
            self._require_ours(connection)
            if self._call_id is not None:
                release_rest(connection, self._call_id)
            self._note(connection, notes, {"status": status.value, "finished_at": now, **values})
            tell(connection, self._id)

    def hand_back(self, notes: Notes) -> None:
        """Give the job up for another worker; what is finished stays."""
        with self._db.write() as connection:
            self._require_ours(connection)
            self._note(connection, notes, {**handed_back(self._turn), "attempts": 0})

    def _note(self, connection: sa.Connection, notes: Notes, values: dict[str, Any]) -> None:
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.id == self._id)
            .values(**{**notes.values, **values}, updated_at=clock.now())
        )
        if notes.lines:
            connection.execute(
                sa.insert(job_logs), [{"job_id": self._id, **line} for line in notes.lines[-MAX_LOG_LINES:]]
            )
            oldest = (
                sa.select(job_logs.c.id)
                .where(job_logs.c.job_id == self._id)
                .order_by(job_logs.c.id.desc())
                .limit(1)
                .offset(MAX_LOG_LINES - 1)
                .scalar_subquery()
            )
            connection.execute(
                sa.delete(job_logs).where(job_logs.c.job_id == self._id, job_logs.c.id < oldest)
            )

    def _require_ours(self, connection: sa.Connection) -> None:
        ours = connection.execute(
            sa.update(jobs)
            .where(
                jobs.c.id == self._id,
                jobs.c.status == JobStatus.RUNNING.value,
                jobs.c.instance == self._instance,
                jobs.c.turn == self._turn,
            )
            .values(updated_at=clock.now())
        ).rowcount
        if not ours:
            raise Lost


def handed_back(turn: int) -> dict[str, Any]:
    """The columns of a job that waits for its next turn."""
    return {
        "status": JobStatus.QUEUED.value,
        "instance": None,
        "turn": turn + 1,
        "enqueued": False,
    }


def patiently(work: Callable[[], None], pause: Callable[[float], None]) -> None:
    """Do a piece of writing, waiting for a disk that is full or a database that is busy.

    ``pause`` waits so many seconds and raises to give up. After ``PATIENCE_SECONDS`` the refusal is raised.
    """
    until, seconds = time.monotonic() + PATIENCE_SECONDS, 0.1
    while True:
        try:
            return work()
        except Unavailable as error:
            if error.code not in NOT_NOW or time.monotonic() > until:
                raise
        pause(seconds)
        seconds = min(2 * seconds, SLOWEST_RETRY_SECONDS)
