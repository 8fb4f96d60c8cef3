"""Runs turns of jobs in this process, and stops them when they shall stop.

A turn begins with a condition on the job's row, so that of several processes that try the same turn one runs
it, whatever the queue says.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Forbidden, TintypeError, Unavailable
from tintype_studio.identity.key_rows import invalid_key, works
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.commits import Commits, Lost, Notes, Stopped
from tintype_studio.jobs.ends import tell_end
from tintype_studio.jobs.job import JobStatus, error_columns, job_of, listed
from tintype_studio.jobs.kind import find_kind
from tintype_studio.jobs.run import Cancelled, HandedBack, Refused, Run
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import api_keys, organizations

if TYPE_CHECKING:
    from tintype_studio.jobs.pool import Pool
    from tintype_studio.studio import Studio

log = logging.getLogger("tintype.jobs")

MAX_ATTEMPTS = 4
"""Turns that may end with their worker, one after the other and without a finished item in between."""
RETRY_SECONDS = 1.0


class Executor:
    """The jobs that run in this process."""

    def __init__(self, studio: Studio, pool: Pool) -> None:
        self._studio = studio
        self._db = studio.database
        self._instance = studio.liveness.instance
        self._pool = pool
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._entered: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._idle = threading.Condition(self._lock)

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return bool(self._runs)

    def has(self, job_id: str) -> bool:
        """Whether this process works on a job that says so; otherwise the end of its turn was not written."""
        with self._lock:
            return self._entered[job_id] > 0

    def execute(self, job_id: str, turn: int, *, owner: str | None = None) -> None:
        """Run a turn to its end. Nothing when it is not, or no longer, the job's turn.

        ``owner``: the process that has begun the turn and leaves it to this one (see ``jobs.alone``).
        """
        with self._lock:
            self._entered[job_id] += 1
        try:
            row = self._begin(job_id, turn, owner)
            if row is not None:
                self._execute(row)
        finally:
            with self._lock:
                self._entered[job_id] -= 1
                self._entered += Counter()  # drops what is zero

    def _execute(self, row: sa.RowMapping) -> None:
        commits = Commits(self._db, row, self._instance)
        try:
            status, notes, values = self._run(row, commits)
            self._end(commits, status, notes, values)
            if status is not None:
                self._clear(row)
        except Lost:
            return
        finally:
            with self._lock:
                self._runs.pop(row["uuid"], None)
                self._idle.notify_all()

    def _begin(self, job_id: str, turn: int, owner: str | None) -> sa.RowMapping | None:
        if self._stopping.is_set():
            return None
        now = clock.now()
        waits = jobs.c.status == JobStatus.QUEUED.value
        if owner is not None:
            waits = sa.and_(jobs.c.status == JobStatus.RUNNING.value, jobs.c.instance == owner)
        with self._db.write() as connection:
            begun = connection.execute(
                sa.update(jobs)
                .where(jobs.c.uuid == job_id, jobs.c.turn == turn, waits)
                .values(
                    status=JobStatus.RUNNING.value,
                    instance=self._instance,
                    attempts=jobs.c.attempts + 1,
                    started_at=sa.func.coalesce(jobs.c.started_at, sa.literal(now, jobs.c.started_at.type)),
                    updated_at=now,
                )
            ).rowcount
            if not begun:
                return None
            return connection.execute(listed().where(jobs.c.uuid == job_id)).mappings().one()

    def _run(self, row: sa.RowMapping, commits: Commits) -> tuple[JobStatus | None, Notes, dict[str, Any]]:
        """How the job ended (None: it is handed back), what is left to be noted, and the columns of it."""
        run: Run | None = None
        status: JobStatus | None = JobStatus.FAILED
        values: dict[str, Any] = {}
        try:
            if row["attempts"] > MAX_ATTEMPTS:
                raise Unavailable(
                    f"The job was given up: its worker ended {MAX_ATTEMPTS} times without a finished item.",
                    code="worker_lost",
                    fix="Ask the operator for the worker's log (memory is the usual reason).",
                    retryable=False,
                )
            principal = principal_of(self._studio, row)
            kind = find_kind(row["kind"])
            kind.require(principal.role)
            run = Run(self._studio, principal, job_of(row), kind, commits, self._pool)
            with self._lock:
                self._runs[row["uuid"]] = run
                if self._stopping.is_set():
                    run.stop(HandedBack())
            if row["turn"]:
                run.log("Resumed; what was finished stays as it is.")
            values = {"result": kind.run(run), "message": None}
            run.check()
            status = JobStatus.COMPLETED
        except Lost:
            raise
        except Cancelled:
            status, values = JobStatus.CANCELLED, {}
        except HandedBack:
            status = None
        except Refused as refused:
            values = error_columns(refused.error)
        except TintypeError as error:
            values = error_columns(error)
        except Exception as error:
            log.exception("job %s failed", row["uuid"])
            values = error_columns(error)
        finally:
            if run is not None:
                run.stop(Stopped())  # for threads that are left behind
        return status, run.take_notes() if run is not None else Notes(), values

    def _end(self, commits: Commits, status: JobStatus | None, notes: Notes, values: dict[str, Any]) -> None:
        """Write the end down, however long the disk takes; a worker that stops leaves it to the next."""
        while True:
            try:
                if status is None:
                    commits.hand_back(notes)
                else:
                    commits.finish(status, notes, partial(tell_end, self._studio), **values)
            except Unavailable:
                if self._stopping.wait(RETRY_SECONDS):
                    return
            except Exception as error:
                if status is not JobStatus.COMPLETED:
                    raise  # the worker finds the job without its turn, and gives it another one
                log.exception("the result of a job cannot be kept")
                status, values = JobStatus.FAILED, error_columns(error)
            else:
                return

    def _clear(self, row: sa.RowMapping) -> None:
        try:
            find_kind(row["kind"]).clear(self._studio, row["uuid"])
        except Exception:
            log.warning("what job %s has left is removed later", row["uuid"], exc_info=True)

    def watch(self) -> None:
        """Stop the jobs that were cancelled, were taken away, or whose key or role is not enough any more."""
        with self._lock:
            runs = dict(self._runs)
        if not runs:
            return
        query = (
            sa.select(
                jobs.c.uuid,
                jobs.c.kind,
                jobs.c.cancel_requested_at,
                api_keys.c.is_active,
                api_keys.c.expires_at,
                api_keys.c.role,
            )
            .join(api_keys, api_keys.c.id == jobs.c.api_key_id)
            .where(
                jobs.c.uuid.in_(list(runs)),
                jobs.c.status == JobStatus.RUNNING.value,
                jobs.c.instance == self._instance,
            )
        )
        with self._db.read() as connection:
            rows = {row["uuid"]: row for row in connection.execute(query).mappings()}
        for job_id, run in runs.items():
            row = rows.get(job_id)
            if row is None:
                run.stop(Lost())
            elif row["cancel_requested_at"] is not None:
                run.stop(Cancelled())
            elif not works(row):
                run.stop(Refused(invalid_key()))
            else:
                try:
                    find_kind(row["kind"]).require(Role(row["role"]))
                except Forbidden as error:
                    run.stop(Refused(error))

    def stop(self, seconds: float) -> None:
        """Hand every job back, waiting so long for the last writes."""
        self._stopping.set()
        with self._lock:
            for run in self._runs.values():
                run.stop(HandedBack())
            self._idle.wait_for(lambda: not self._runs, seconds)


def principal_of(studio: Studio, row: sa.RowMapping) -> Principal:
    """Who started a job, in the call that started it. ``Unauthorized`` when their key works no more."""
    query = (
        sa.select(api_keys, organizations.c.uuid.label("organization_uuid"), organizations.c.tier)
        .join(organizations, organizations.c.id == api_keys.c.organization_id)
        .where(api_keys.c.id == row["api_key_id"])
    )
    with studio.database.read() as connection:
        key = connection.execute(query).mappings().first()
    if key is None or not works(key):
        raise invalid_key()
    return Principal(
        organization_id=key["organization_id"],
        organization_uuid=key["organization_uuid"],
        key_id=key["id"],
        key_uuid=key["uuid"],
        key_name=key["name"],
        key_prefix=key["prefix"],
        role=Role(key["role"]),
        toolsets=frozenset(key["toolsets"]) if key["toolsets"] is not None else None,
        user_id=key["user_id"],
        tier=key["tier"],
        rate_limit=key["rate_limit"],
        max_concurrent=key["max_concurrent"],
        max_response_tokens=key["max_response_tokens"],
        confirm_by=key["confirm_by"],
        call_id=row["call_id"],
        session=row["session"],
        tool=row["tool"],
    )
