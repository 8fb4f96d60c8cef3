"""A process for one job that needs a secret, such as a caller's key of another platform.

A job's row is read by whoever works on jobs and stays for months, so the secret does not stand in it: it goes
to the process through its input, and dies with it. The row says from the start that the turn has begun, so
that no worker takes it. When the process dies, workers take the job over as any other; its kind finds no
secret, and tells the caller to start again.

The process lives until its job is over, whatever becomes of the one that has started it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.jobs.commits import handed_back
from tintype_studio.jobs.job import JobStatus
from tintype_studio.storage.job_tables import jobs

if TYPE_CHECKING:
    from tintype_studio.jobs.supervisor import Supervisor
    from tintype_studio.storage.database import Database
    from tintype_studio.storage.liveness import Liveness
    from tintype_studio.studio import Workspace

log = logging.getLogger("tintype.jobs")

TICK_SECONDS = 0.2
"""How soon a cancelled job is stopped."""
FIRST_TURN = 0


class Alone:
    """Starts such processes."""

    def __init__(
        self, workspace: Workspace, database: Database, liveness: Liveness, supervisor: Supervisor
    ) -> None:
        self._workspace = workspace
        self._db = database
        self._instance = liveness.instance
        self._supervisor = supervisor
        self.enabled = True
        """Off in tests that do the turn themselves."""

    def begun(self) -> dict[str, Any]:
        """The columns of a job whose turn this process has begun, to leave it to another."""
        return {
            "status": JobStatus.RUNNING.value,
            "instance": self._instance,
            "enqueued": True,
            "started_at": clock.now(),
        }

    def launch(self, job_id: str, secret: str) -> None:
        """Start the process for a job that is committed. Returns at once."""
        if not self.enabled:
            return
        try:
            process = self._start(job_id, secret)
        except OSError:
            log.exception("no process can be started for a job; it ends")
            self._give_up(job_id)
            return
        threading.Thread(target=self._await, args=(process,), name="job-alone", daemon=True).start()

    def _start(self, job_id: str, secret: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tintype_studio.jobs.alone"],
            stdin=subprocess.PIPE,
            # Standard output may be the pipe of a protocol.
            stdout=subprocess.DEVNULL,
            text=True,
            # A signal at the terminal is for us.
            start_new_session=True,
        )
        home = str(self._workspace.home.resolve())
        told = {
            "workspace": {**asdict(self._workspace), "home": home},
            "job": job_id,
            "owner": self._instance,
            "secret": secret,
        }
        if process.stdin is not None:
            # Neither the command line nor the environment, which others on the machine can read.
            with suppress(OSError):
                process.stdin.write(json.dumps(told) + "\n")
                process.stdin.close()
        return process

    def _give_up(self, job_id: str) -> None:
        with self._db.write() as connection:
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.uuid == job_id, jobs.c.instance == self._instance)
                .values(**handed_back(FIRST_TURN), updated_at=clock.now())
            )
        self._supervisor.wake()

    def _await(self, process: subprocess.Popen[str]) -> None:
        if process.wait() != 0:
            self._supervisor.wake()  # a worker finds the job without its process, and ends it


def main() -> None:
    """Do the job that the process at the other end of standard input tells."""
    from tintype_studio.jobs.executor import Executor
    from tintype_studio.jobs.pool import Pool
    from tintype_studio.studio import Studio, Workspace

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    told = json.loads(sys.stdin.readline())
    workspace = Workspace(**{**told["workspace"], "home": Path(told["workspace"]["home"])})
    studio = Studio(workspace)
    studio.jobs.supervisor.enabled = False
    studio.jobs.secrets[told["job"]] = told["secret"]
    done = threading.Event()
    failed = True

    def work() -> None:
        nonlocal failed
        try:
            executor.execute(told["job"], FIRST_TURN, owner=told["owner"])
            failed = False
        except Exception:
            log.exception("job %s cannot go on", told["job"])
        finally:
            done.set()

    executor = Executor(studio, Pool(1))
    threading.Thread(target=work, daemon=True).start()
    while not done.wait(TICK_SECONDS):
        try:
            executor.watch()
        except Exception:
            log.exception("the job could not be looked after; it is tried again")
    with suppress(Exception):
        studio.close()
    # Threads that wait for the provider would be waited for.
    os._exit(int(failed))


if __name__ == "__main__":
    main()
