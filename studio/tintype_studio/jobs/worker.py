"""A worker: a process that does jobs, and takes over those of workers that died.

Run as a module it is the worker of another process (see ``jobs.supervisor``): it reads where the workspace is
from standard input, and hands its jobs back when that is closed. ``tintype worker`` is one by itself.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.jobs.commits import handed_back
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import Queue
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.queues import Queues, turn_id
from tintype_studio.storage.job_tables import jobs

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

log = logging.getLogger("tintype.jobs")

TICK_SECONDS = 0.2
"""How soon a cancelled job is stopped, and a new one is put into its queue."""
RECONCILE_SECONDS = 1.0
"""How soon the jobs of a dead worker are taken over."""
HOUSEKEEPING_SECONDS = 60.0
FAREWELL_SECONDS = 2.0
"""How long a worker that stops writes down what it has finished."""
QUEUE_FILE = "queue.db"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works."""

    processes: int | None = None
    """Child processes; None for one per core."""
    idle_seconds: float | None = None
    """Ends after so long without a job; None to stay."""


class Worker:
    """Does jobs until it is told to stop. One per process, because the queue library is."""

    def __init__(self, studio: Studio, options: WorkerOptions) -> None:
        self._studio = studio
        self._db = studio.database
        self._options = options
        self._pool = Pool(options.processes)
        self._executor = Executor(studio, self._pool)
        self._queues = Queues(studio.database, studio.home / QUEUE_FILE, studio.liveness.instance)

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set or there was nothing to do for ``idle_seconds``; then hand back.

        Raises what keeps the queues from being opened, or the database error of a round when their
        file is lost under way: another worker makes a new one.
        """
        now = time.monotonic()
        reconciled, kept_house, busy_at = 0.0, now, now
        try:
            self._queues.launch(self._executor.execute)
            while not stop.wait(TICK_SECONDS):
                now = time.monotonic()
                try:
                    self._executor.watch()
                    if self._enqueue_new() or self._executor.busy:
                        busy_at = now
                    if now - reconciled >= RECONCILE_SECONDS:
                        reconciled = now
                        if self._reconcile():
                            busy_at = now
                    if now - kept_house >= HOUSEKEEPING_SECONDS:
                        kept_house = now
                        self._studio.settle()
                        self._queues.forget_old()
                except Exception:
                    if self._queues.are_lost():
                        raise
                    log.exception("the worker's round failed; it is tried again")
                idle = self._options.idle_seconds
                if idle is not None and now - busy_at > idle:
                    return
        finally:
            self._executor.stop(FAREWELL_SECONDS)
            self._pool.close()

    def _enqueue_new(self) -> bool:
        """Put every job that waits for a turn into its queue."""
        query = sa.select(jobs).where(
            jobs.c.finished_at.is_(None), jobs.c.status == JobStatus.QUEUED.value, ~jobs.c.enqueued
        )
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(jobs.c.id)).mappings().all()
        for row in rows:
            self._queues.enqueue(row["uuid"], row["turn"], Queue(row["queue"]), row["organization_id"])
            with self._db.write(durable=False) as connection:
                connection.execute(
                    sa.update(jobs)
                    .where(jobs.c.id == row["id"], jobs.c.turn == row["turn"])
                    .values(enqueued=True)
                )
        return bool(rows)

    def _reconcile(self) -> bool:
        """Take over what dead workers have left; returns whether any job is unfinished."""
        query = sa.select(jobs).where(jobs.c.finished_at.is_(None), jobs.c.enqueued)
        with self._db.read() as connection:
            rows = connection.execute(query).mappings().all()
        if not rows:
            return False
        places = self._queues.places([turn_id(row["uuid"], row["turn"]) for row in rows])
        for row in rows:
            place = places.get(turn_id(row["uuid"], row["turn"]))
            if row["status"] == JobStatus.RUNNING.value:
                alive = self._is_worked_on(row)
            else:
                # One that waits in no queue fell between two stools; one that was taken begins any moment.
                alive = place is not None and (
                    place.waiting or (place.executor is not None and not self._is_dead(place.executor))
                )
            if not alive:
                self._take_over(row, in_queue=place is not None)
        return True

    def _take_over(self, row: sa.RowMapping, *, in_queue: bool) -> None:
        if in_queue:
            self._queues.withdraw(row["uuid"], row["turn"])
        owner = jobs.c.instance == row["instance"] if row["instance"] else jobs.c.instance.is_(None)
        with self._db.write() as connection:
            # Whatever happened since the row was read wins.
            connection.execute(
                sa.update(jobs)
                .where(
                    jobs.c.id == row["id"],
                    jobs.c.status == row["status"],
                    jobs.c.turn == row["turn"],
                    jobs.c.enqueued,
                    owner,
                )
                .values(**handed_back(row["turn"]), updated_at=clock.now())
            )

    def _is_worked_on(self, row: sa.RowMapping) -> bool:
        if row["instance"] == self._studio.liveness.instance:
            return self._executor.has(row["uuid"])
        return row["instance"] is not None and not self._is_dead(row["instance"])

    def _is_dead(self, instance: str) -> bool:
        return self._studio.liveness.is_dead(instance)


def main() -> None:
    """The worker of the process at the other end of standard input."""
    from tintype_studio.studio import Studio, Workspace

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    told = json.loads(sys.stdin.readline())
    stop = threading.Event()

    def await_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=await_end, daemon=True).start()
    workspace = Workspace(**{**told["workspace"], "home": Path(told["workspace"]["home"])})
    studio = Studio(workspace)
    studio.jobs.supervisor.enabled = False
    failed = True
    try:
        Worker(studio, WorkerOptions(workspace.worker_processes, told["idle_seconds"])).run(stop)
        failed = False
    except BaseException:
        # Nobody else would tell: what is raised does not get past the exit below.
        log.exception("the worker cannot go on")
    finally:
        with suppress(Exception):
            studio.close()
        # The queue library's threads would be waited for.
        os._exit(int(failed))


if __name__ == "__main__":
    main()
