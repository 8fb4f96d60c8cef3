"""Small deeds that must be done in the end: now, or a little later while the database does not take them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress

Deed = Callable[[], None]


class Later:
    """Keeps what could not be done until the next chance. Thread-safe.

    What a process does not live to do, the next start settles: every deed here frees something that is
    bound to its process.
    """

    def __init__(self) -> None:
        self._left: queue.SimpleQueue[Deed] = queue.SimpleQueue()

    def do(self, deed: Deed) -> None:
        """Do it now, or keep it; never raises, so that the error that led here is not replaced."""
        try:
            deed()
        except Exception:
            self._left.put(deed)

    def catch_up(self) -> None:
        """Try again what is left."""
        for _ in range(self._left.qsize()):
            with suppress(queue.Empty):
                self.do(self._left.get_nowait())
