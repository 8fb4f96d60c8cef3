"""Which processes of this workspace are alive, told by locks that the kernel drops when one dies.

No clocks and no heartbeats: a process holds ``flock`` on its own file under ``<home>/run``; whoever wants
to know whether it lives tries the lock.
"""

from __future__ import annotations

import fcntl
import uuid
from pathlib import Path


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
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def sweep(self) -> None:
        """Remove the lock files of dead processes. Call after their leftovers were settled."""
        for path in self._dir.glob("*.lock"):
            if self.is_dead(path.stem):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the lock."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()
