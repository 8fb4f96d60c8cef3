"""Waiting for something that another call, or a person, brings about.

Whoever waits occupies a worker thread, so only so many may; a crowd of them must not keep others out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02
SLOWEST_POLL_SECONDS = 0.25


class Waiters:
    """A bounded number of callers of this process that wait at a time."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)

    def until(
        self, attempt: Callable[[], T | None], seconds: float, check: Callable[[], None] = lambda: None
    ) -> T | None:
        """What ``attempt`` gives once it is not None; None when time is up, or no place is free to wait.

        ``check`` is called while waiting; it raises to stop.
        """
        got = attempt()
        if got is not None or seconds <= 0 or not self._places.acquire(blocking=False):
            return got
        try:
            deadline, pause = time.monotonic() + seconds, POLL_SECONDS
            while got is None and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(pause, left))
                check()
                got = attempt()
                pause = min(pause * 1.1, SLOWEST_POLL_SECONDS)
            return got
        finally:
            self._places.release()
