"""Sees to it that a process which starts jobs has a worker: a process beside it, started when it is needed.

A process of its own, because the queue library allows one workspace per process and costs what a light server
need not pay; and so that no work is ever done in the process that answers calls.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tintype_studio.studio import Workspace

log = logging.getLogger("tintype.jobs")

IDLE_SECONDS = 60.0
"""After so long without a job, the worker ends."""
RESTART_SECONDS = 1.0
"""Between a worker that failed or could not be started and the next; doubled each time, up to a minute."""
LONGEST_RESTART_SECONDS = 60.0
START_SECONDS = 5.0
"""How long a call may take to commit the job that it starts."""


class Supervisor:
    """Starts the worker of this process, and starts it again while jobs are left."""

    def __init__(self, workspace: Workspace, any_unfinished: Callable[[], bool]) -> None:
        self._workspace = workspace
        self._any_unfinished = any_unfinished
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._woken_at = 0.0
        self._closed = threading.Event()
        self.enabled = True
        """Off where somebody else works: in a worker itself, and in tests."""

    def wake(self) -> None:
        """There may be something to do. Returns at once."""
        if not self.enabled or self._closed.is_set():
            return
        with self._lock:
            self._woken_at = time.monotonic()
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="jobs", daemon=True)
                thread.start()
                self._thread = thread

    def resume(self) -> None:
        """Go on with what an earlier process left, if it left anything. Returns at once."""
        threading.Thread(target=self._resume, name="jobs-resume", daemon=True).start()

    def _resume(self) -> None:
        with suppress(Exception):  # closed meanwhile, or the database is busy: the next start sees to it
            if self._any_unfinished():
                self.wake()

    def _watch(self) -> None:
        pause = RESTART_SECONDS
        while True:
            with self._lock:
                if self._closed.is_set():
                    return
                process = self._process = self._try_to_start()
            began = time.monotonic()
            failed = process is None or process.wait() != 0
            if not failed or time.monotonic() - began > LONGEST_RESTART_SECONDS:
                pause = RESTART_SECONDS
            if failed:
                if self._closed.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_RESTART_SECONDS)
            with self._lock:
                self._process = None
                # A job that is being started may not be there to be seen yet.
                if time.monotonic() - self._woken_at > START_SECONDS and not self._is_left():
                    self._thread = None
                    return

    def _is_left(self) -> bool:
        try:
            return self._any_unfinished()
        except Exception:  # the database is busy: the worker finds out
            return True

    def _try_to_start(self) -> subprocess.Popen[str] | None:
        """None where the machine has no memory, process or descriptor left for a worker."""
        try:
            return self._start()
        except OSError:
            log.exception("no worker can be started; it is tried again")
            return None

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tintype_studio.jobs.worker"],
            stdin=subprocess.PIPE,
            # Standard output may be the pipe of a protocol.
            stdout=subprocess.DEVNULL,
            text=True,
            # A signal at the terminal is for us, who then close the worker's input.
            start_new_session=True,
        )
        home = str(self._workspace.home.resolve())
        told = {"workspace": {**asdict(self._workspace), "home": home}, "idle_seconds": IDLE_SECONDS}
        if process.stdin is not None:
            # On the command line everybody on the machine could read the database's password.
            with suppress(OSError):
                process.stdin.write(json.dumps(told) + "\n")
                process.stdin.flush()
        return process

    def close(self) -> None:
        """Close the worker's input: it writes down what is finished and hands its jobs back."""
        self._closed.set()
        with self._lock:
            process = self._process
            if process is not None and process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
