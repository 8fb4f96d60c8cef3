"""The queues that workers take jobs from: DBOS, on a database of its own beside ours.

DBOS decides which worker runs which turn of which job, within the limits of each worker and organization.
What is true of a job stands in our tables (``jobs.service``); a queue that is lost is filled again from
there, and a turn that DBOS gives out twice runs once. So DBOS needs none of its checkpoints here, its
database can be relaxed about power cuts, and neither its locks nor its table names meet ours. On PostgreSQL
it lives in a schema of its own.

DBOS is one per process, which is why only workers import it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
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

    def launch(self, execute: Callable[[str, int], None]) -> None:
        """Begin to take turns and to run them with ``execute(job_id, turn)``, each in a thread."""
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
            config["system_database_engine"] = _engine(self._file)
        else:
            config["system_database_url"] = self._database.engine.url.render_as_string(hide_password=False)
        DBOS(config=config)  # type: ignore[arg-type]

        # How often a turn was interrupted is counted in the job, where progress sets it back.
        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        def run_job(job_id: str, turn: int) -> None:
            execute(job_id, turn)

        DBOS.launch()
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
