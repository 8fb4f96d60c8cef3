"""The queues that workers take jobs from: DBOS, on a database of its own beside ours.

DBOS decides which worker runs which turn of which job, within the limits of each worker and organization.
What is true of a job stands in our tables (``jobs.service``); a queue that is lost is filled again from
there, and a turn that DBOS gives out twice runs once. So DBOS needs none of its checkpoints here, its
database can be relaxed about power cuts, and neither its locks nor its table names meet ours. On PostgreSQL
it lives in a schema of its own.

DBOS is one per process, which is why only workers import it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

from tintype_studio.jobs.kind import AT_A_TIME, Queue
from tintype_studio.storage.database import use_wal

if TYPE_CHECKING:
    from tintype_studio.storage.database import Database

log = logging.getLogger("tintype.jobs")

APPLICATION = "tintype"
VERSION = "1"
"""Pinned: by default it is a hash of the code, and after any change of that nobody takes up what waits."""
WORKFLOW = "run_job"
POLL_SECONDS = 0.25
PER_ORGANIZATION = 4
"""Jobs of one organization that run at a time, in each queue, over all workers."""
KEPT = timedelta(hours=1)
"""How long DBOS remembers turns that are over."""
WAITING = frozenset({"ENQUEUED", "DELAYED"})
RUNNING = "PENDING"
DAMAGED = ".damaged"
"""Appended to the name of a file that could not be read; one is kept."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a turn stands in its queue."""

    waiting: bool
    executor: str | None
    """The worker that has taken it, while it runs."""


def turn_id(job_id: str, turn: int) -> str:
    """What a turn is called in the queue."""
    return f"{job_id}.{turn}"


class Queues:
    """This process's access to the queues. At most one may be open in a process."""

    def __init__(self, database: Database, file: Path, instance: str) -> None:
        self._database = database
        self._file = file
        self._instance = instance
        self._opened: int | None = None

    def launch(self, execute: Callable[[str, int], None]) -> None:
        """Begin to take turns and to run them with ``execute(job_id, turn)``, each in a thread.

        A file that is damaged is moved aside first: the jobs are put into a new one.
        """
        from dbos import DBOS, DBOSPortableJSONSerializer

        config: dict[str, Any] = {
            "name": APPLICATION,
            "application_version": VERSION,
            # By default every process has the same, and takes the others' running work for its own.
            "executor_id": self._instance,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
        if self._database.is_sqlite:
            config["system_database_url"] = f"sqlite:///{APPLICATION}"
            _move_aside_if_damaged(self._file)
            config["system_database_engine"] = _engine(self._file)
        else:
            config["system_database_url"] = self._database.engine.url.render_as_string(hide_password=False)
        DBOS(config=config)  # type: ignore[arg-type]

        # How often a turn was interrupted is counted in the job, where progress sets it back.
        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        def run_job(job_id: str, turn: int) -> None:
            execute(job_id, turn)

        DBOS.launch()
        self._opened = _inode(self._file)
        for queue, at_a_time in AT_A_TIME.items():
            DBOS.register_queue(
                _name(queue),
                # Not ``global_concurrency``: that frees the place of a job that was cancelled and still runs.
                worker_concurrency=at_a_time,
                partition_concurrency=PER_ORGANIZATION,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )

    def enqueue(self, job_id: str, turn: int, queue: Queue, organization_id: int) -> None:
        """Let a turn wait for a worker. Doing so twice does nothing."""
        from dbos import DBOS

        DBOS.enqueue_workflow_with_options(
            {
                "workflow_name": WORKFLOW,
                "queue_name": _name(queue),
                "workflow_id": turn_id(job_id, turn),
                "queue_partition_key": str(organization_id),
                "app_version": VERSION,
            },
            job_id,
            turn,
        )

    def withdraw(self, job_id: str, turn: int) -> None:
        """Take a turn out, and free the place that a dead worker has taken with it."""
        from dbos import DBOS

        DBOS.cancel_workflow(turn_id(job_id, turn))

    def places(self, turns: list[str]) -> dict[str, Place]:
        """Where turns stand; those that are over, or unknown, are left out."""
        from dbos import DBOS

        found = DBOS.list_workflows(workflow_ids=turns, load_input=False, load_output=False)
        return {
            status.workflow_id: Place(status.status in WAITING, status.executor_id)
            for status in found
            if status.status in WAITING or status.status == RUNNING
        }

    def are_lost(self) -> bool:
        """Whether the file became damaged, or another worker has moved it aside for that: launch anew."""
        if not self._database.is_sqlite:
            return False
        return _inode(self._file) != self._opened or _is_damaged(self._file)

    def forget_old(self) -> None:
        """Remove turns that are over; DBOS keeps them for ever otherwise."""
        from dbos import DBOS

        until = (datetime.now(UTC) - KEPT).isoformat()
        old = DBOS.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            end_time=until,
            limit=500,
            load_input=False,
            load_output=False,
        )
        if old:
            DBOS.delete_workflows([status.workflow_id for status in old])


def _name(queue: Queue) -> str:
    return f"tintype-{queue}"


def _move_aside_if_damaged(file: Path) -> None:
    if not _is_damaged(file):
        return
    with _alone_in(file.parent):
        if not _is_damaged(file):  # another worker came first
            return
        # The log first: beside a new file it would be taken for that one's.
        for suffix in ("-wal", "-shm", ""):
            part = file.with_name(file.name + suffix)
            aside = file.with_name(file.name + DAMAGED + suffix)
            aside.unlink(missing_ok=True)
            if part.exists():
                part.rename(aside)
    log.warning("%s is damaged and was moved to %s; the queues are filled again", file.name, aside.name)


def _is_damaged(file: Path) -> bool:
    """Whether SQLite takes the file for none of its own, or finds it broken; not when it cannot be opened."""
    if not file.exists():
        return False
    try:
        # Autocommit, so that nothing is held between the statements.
        with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        # Extended codes keep the plain one in their lowest byte.
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return found is not None and found[0] != "ok"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _engine(file: Path) -> sa.Engine:
    """DBOS opens SQLite without a write-ahead log, which costs it ten times as long."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(file)))

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        use_wal(connection)

    return engine
