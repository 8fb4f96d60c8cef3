"""Progress of long work as one line on stderr, for people at a terminal."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tintype_tools.call import Progress, no_progress

SECONDS_BETWEEN = 0.1
BACK_AND_CLEAR = "\r\x1b[K"


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Progress]:
    """Where a call's progress goes: to a line that is gone afterwards; nowhere if ``quiet`` or if nobody
    looks on.
    """
    if quiet or not sys.stderr.isatty():
        yield no_progress
        return
    line = ProgressLine()
    try:
        yield line
    finally:
        line.clear()


def say(text: str) -> None:
    """Print a line on stderr in the place of progress that may stand there."""
    sys.stderr.write((BACK_AND_CLEAR if sys.stderr.isatty() else "") + text + "\n")
    sys.stderr.flush()


class ProgressLine:
    """A line that is written over; called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written_at = 0.0
        self._shows = False

    def __call__(self, done: int, total: int | None, message: str) -> None:
        """Show so many of so many, a few times a second at most; the last one always."""
        with self._lock:
            now = time.monotonic()
            if done != total and now - self._written_at < SECONDS_BETWEEN:
                return
            self._written_at = now
            self._shows = True
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(BACK_AND_CLEAR + line_of(done, total, message)[:width])
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._shows:
                sys.stderr.write(BACK_AND_CLEAR)
                sys.stderr.flush()
                self._shows = False


def line_of(done: int, total: int | None, message: str) -> str:
    """The line's text; what a stranger wrote is shown, not obeyed."""
    from tintype_server.cli.audit import visible

    counted = f"{done}" if total is None else f"{done}/{total} {100 * done // max(total, 1)} %"
    return visible(f"{counted}  {message}".rstrip())
