"""Which processes of this workspace are alive, told by locks that the kernel drops when one dies.

No clocks and no heartbeats: a process holds ``flock`` on its own file under ``<home>/run``; whoever wants
to know whether it lives tries the lock.
"""

from __future__ import annotations

import fcntl
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TextIO


class Liveness:
    """This process's proof of life, and the test for others'."""

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._dir = run_dir
        self.instance = uuid.uuid4().hex
        self._path = run_dir / f"{self.instance}.lock"
        while True:
            self._file = self._path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            # A sweep may have taken the file for a dead process's between open and lock.
            if self._path.exists():
                break
            self._file.close()

    def is_dead(self, instance: str) -> bool:
        """Whether the process that called itself ``instance`` is gone."""
        if instance == self.instance:
            return False
        try:
            file = (self._dir / f"{instance}.lock").open("r+")
        except FileNotFoundError:
            return True
        with file:
            # Shared, so that two processes that ask at once do not take each other for the owner.
            return _try_lock(file, fcntl.LOCK_SH)

    def sweep(self) -> None:
        """Remove the lock files of dead processes. Call after their leftovers were settled."""
        for path in self._dir.glob("*.lock"):
            if path == self._path:
                continue
            with suppress(FileNotFoundError), path.open("r+") as file:
                # Removed under the lock: a process that made this file just now then sees that it is gone.
                if _try_lock(file, fcntl.LOCK_EX):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the lock."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()


def _try_lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
