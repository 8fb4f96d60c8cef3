"""Starts, lists, awaits and cancels jobs. The work itself is done by workers (``jobs.worker``).

A job is a row, written in the transaction of the call that starts it. Everything that is true of it stands
here; the queue that workers take it from (``jobs.queues``) can be lost and is filled again from here. So
starting a job needs neither the queue nor a worker, and none of their libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.alone import Alone
from tintype_studio.jobs.ends import tell_end
from tintype_studio.jobs.job import Item, Job, JobStatus, LogLine, job_of, listed
from tintype_studio.jobs.kind import JobPlan, find_kind
from tintype_studio.jobs.supervisor import Supervisor
from tintype_studio.ledger.job_holds import hand_over, release_rest
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.database import rehearsing
from tintype_studio.storage.job_tables import job_items, job_logs, jobs
from tintype_studio.storage.tables import datasets
from tintype_studio.tasks import own_jobs
from tintype_studio.waiting import Waiters

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

KEPT = timedelta(days=90)
"""How long an ended job can be looked up."""
MAX_PAGE = 500
MAX_WAITERS = 24
"""Callers of one process that wait for jobs at a time; further ones get the job as it stands."""

Progress = Callable[[int, int | None, str], None]
"""Called with ``(done, total, message)`` while waiting; may raise to stop waiting."""


class Jobs:
    """Jobs of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._db = studio.database
        self._waiters = Waiters(MAX_WAITERS)
        self.supervisor = Supervisor(studio.workspace, self.any_unfinished)
        self.alone = Alone(studio.workspace, studio.database, studio.liveness, self.supervisor)
        self.secrets: dict[str, str] = {}
        """By job, in the process that does it."""

    def plan(self, principal: Principal, kind: str, args: dict[str, Any]) -> JobPlan:
        """What a job would do and cost at most; refuses what it would refuse."""
        return find_kind(kind).plan(self._studio, principal, args)

    def start(
        self, principal: Principal, kind: str, args: dict[str, Any], *, secret: str | None = None
    ) -> Job:
        """Write the job down, in the caller's transaction if there is one, and see to a worker.

        ``args`` must be JSON. A job that costs something needs the hold of its call handed over in the same
        transaction (``take_hold``); without one its items cannot be charged and fail.

        ``secret`` is something that the job needs and that is not to be kept anywhere: a process of its own
        gets it and does the job (see ``jobs.alone``). Nobody can go on with it when that process dies.
        """
        found = find_kind(kind)
        found.require(principal.role)
        planned = found.plan(self._studio, principal, args)
        now, uuid = clock.now(), clock.new_id()
        with self._db.write() as connection:
            row_id = connection.execute(
                sa.insert(jobs)
                .values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    api_key_id=principal.key_id,
                    call_id=principal.call_id,
                    session=principal.session,
                    tool=principal.tool,
                    kind=kind,
                    queue=found.queue.value,
                    title=planned.title[:200],
                    dataset_id=planned.dataset_row_id,
                    args=args,
                    total=planned.total,
                    credits_planned=planned.credits,
                    created_at=now,
                    updated_at=now,
                    **({"status": JobStatus.QUEUED.value} if secret is None else self.alone.begun()),
                )
                .returning(jobs.c.id)
            ).scalar_one()
            own_jobs.begin(
                connection,
                organization_id=principal.organization_id,
                api_key_id=principal.key_id,
                job_row_id=row_id,
                kind=kind,
                queue=found.queue.value,
                title=planned.title,
                dataset_row_id=planned.dataset_row_id,
                now=now,
            )
            found.begun(self._studio, connection, principal, row_id, args)
        if not rehearsing():
            if secret is None:
                self.supervisor.wake()
            else:
                self._db.after_commit(partial(self.alone.launch, uuid, secret))
        return self.get(principal, uuid)

    def take_hold(self, connection: sa.Connection, job_id: str, call_id: str) -> int:
        """Give the job the hold of the call that starts it, in their transaction; returns the credits.

        ``Conflict`` (``price_changed``) when the work has grown since it was quoted.
        """
        amount = hand_over(connection, call_id)
        planned = connection.execute(
            sa.update(jobs)
            .where(jobs.c.uuid == job_id)
            .values(credits_held=amount)
            .returning(jobs.c.credits_planned)
        ).scalar_one()
        if planned > amount:
            raise Conflict(
                f"The work has grown since it was quoted: {planned} credits instead of {amount}.",
                code="price_changed",
                fix="Send the call again.",
                retryable=True,
            )
        return amount

    def get(self, principal: Principal, job_id: str) -> Job:
        """A job by its UUID."""
        with self._db.read() as connection:
            return job_of(self._row(connection, principal, job_id))

    def started_by(self, principal: Principal, call_id: str) -> Job | None:
        """The job that a call has started, if it has."""
        query = listed().where(jobs.c.call_id == call_id, jobs.c.organization_id == principal.organization_id)
        with self._db.read() as connection:
            row = connection.execute(query.order_by(jobs.c.id.desc()).limit(1)).mappings().first()
        return None if row is None else job_of(row)

    def list(
        self,
        principal: Principal,
        *,
        limit: int = 50,
        before: str | None = None,
        status: JobStatus | None = None,
        kind: str | None = None,
        dataset: str | None = None,
    ) -> Sequence[Job]:
        """Jobs, newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = listed().where(jobs.c.organization_id == principal.organization_id)
        if status is not None:
            query = query.where(jobs.c.status == status.value)
        if kind is not None:
            query = query.where(jobs.c.kind == kind)
        if dataset is not None:
            query = query.where(datasets.c.name == lookup_name(dataset))
        with self._db.read() as connection:
            if before is not None:
                query = query.where(jobs.c.id < self._row(connection, principal, before)["id"])
            rows = connection.execute(query.order_by(jobs.c.id.desc()).limit(limit)).mappings()
            return [job_of(row) for row in rows]

    def items(
        self, job: Job, *, outcome: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[Item]:
        """What became of a job's items, by key; ``after`` is the last key of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = sa.select(job_items).where(job_items.c.job_id == job.row_id)
        if outcome is not None:
            query = query.where(job_items.c.outcome == outcome)
        if after is not None:
            query = query.where(job_items.c.key > after)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(job_items.c.key).limit(limit)).mappings().all()
        return [
            Item(
                row["key"],
                row["outcome"],
                row["detail"] or {},
                row["error_code"],
                row["error_message"],
                row["credits"],
            )
            for row in rows
        ]

    def count(self, job: Job, *, outcome: str) -> int:
        """How many of a job's items came out so."""
        query = sa.select(sa.func.count()).where(
            job_items.c.job_id == job.row_id, job_items.c.outcome == outcome
        )
        with self._db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def logs(self, job: Job, *, limit: int = 20) -> Sequence[LogLine]:
        """The last lines of a job's log, oldest first."""
        query = sa.select(job_logs).where(job_logs.c.job_id == job.row_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(job_logs.c.id.desc()).limit(limit)).all()
        return [LogLine(row.at, row.level, row.text) for row in reversed(rows)]

    def wait(
        self,
        principal: Principal,
        job_id: str,
        seconds: float,
        *,
        progress: Progress = lambda _done, _total, _message: None,
        check: Callable[[], None] = lambda: None,
    ) -> Job:
        """The job when it has ended, or as it stands after ``seconds``; ending the wait does not end it."""
        seen: tuple[int, int | None, str] | None = None

        def attempt() -> Job | None:
            nonlocal seen
            job = self.get(principal, job_id)
            now = (job.done, job.total, job.message or job.stage or "")
            if now != seen and job.status is not JobStatus.QUEUED:
                seen = now
                progress(*now)
            return job if job.ended else None

        return self._waiters.until(attempt, seconds, check) or self.get(principal, job_id)

    def cancel(self, principal: Principal, job_id: str) -> Job:
        """Ask a job to stop: at once if it only waits, otherwise its worker stops it within a second.

        Finished items stay, and stay charged. A member stops what it started itself, by this key or another
        of the same user; an admin all. Raises ``Conflict`` for a job that has ended.
        """
        with self._db.write() as connection:
            row = self._row(connection, principal, job_id, lock=True)
            _require_cancellable(principal, row)
            nobody = row["instance"] is None or self._studio.liveness.is_dead(row["instance"])
            now = clock.now()
            values: dict[str, Any] = {"cancel_requested_at": now, "updated_at": now}
            if nobody:
                values |= {"status": JobStatus.CANCELLED.value, "finished_at": now}
            connection.execute(sa.update(jobs).where(jobs.c.id == row["id"]).values(**values))
            if nobody and row["call_id"] is not None:
                release_rest(connection, row["call_id"])
            if nobody:
                tell_end(self._studio, connection, row["id"])
        return self.get(principal, job_id)

    def require_cancellable(self, principal: Principal, job_id: str) -> Job:
        """The job, if ``cancel`` would take it; raises what that would raise."""
        with self._db.read() as connection:
            row = self._row(connection, principal, job_id)
            _require_cancellable(principal, row)
            return job_of(row)

    def any_unfinished(self) -> bool:
        """Whether a worker has something to do."""
        with self._db.read() as connection:
            return (
                connection.execute(sa.select(jobs.c.id).where(jobs.c.finished_at.is_(None)).limit(1)).first()
                is not None
            )

    def sweep(self) -> None:
        """Forget jobs that ended long ago."""
        old = jobs.c.finished_at < clock.now() - KEPT
        with self._db.write(durable=False) as connection:
            own_jobs.forget(connection, sa.select(jobs.c.id).where(old))
            connection.execute(sa.delete(jobs).where(old))

    def close(self) -> None:
        """Let this process's worker go; its jobs are handed back."""
        self.supervisor.close()

    @staticmethod
    def _row(
        connection: sa.Connection, principal: Principal, job_id: str, *, lock: bool = False
    ) -> sa.RowMapping:
        query = listed().where(jobs.c.uuid == job_id, jobs.c.organization_id == principal.organization_id)
        if lock:
            query = query.with_for_update(of=jobs)
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"No job has the id {printable(job_id[:80])!r}.",
                code="job_not_found",
                fix="Call list_jobs to see the ids.",
            )
        return row


def _require_cancellable(principal: Principal, row: sa.RowMapping) -> None:
    if row["finished_at"] is not None:
        raise Conflict(
            f"The job is {row['status']} already.",
            code="job_ended",
            fix="Nothing is left to cancel; get_job shows what it did.",
        )
    if not principal.role.covers(Role.ADMIN):
        _require_own(principal, row)


def _require_own(principal: Principal, row: sa.RowMapping) -> None:
    same_user = principal.user_id is not None and row["user_id"] == principal.user_id
    if row["api_key_id"] == principal.key_id or same_user:
        return
    raise Forbidden(
        "A member cancels only its own jobs; this one was started by someone else.",
        code="not_your_own",
        fix="Use a key with the role admin, or ask whoever started it.",
        details={"required_role": Role.ADMIN.value, "role": principal.role.value},
    )
