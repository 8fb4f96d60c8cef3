"""How many pixels may be decoded at the same time, in the whole process.

A small file can hold a huge picture, and every server thread may be asked to decode one. Those that are
large wait for each other here, in the order in which they came.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_POLL_SECONDS = 0.2
"""How often one who waits looks whether it is still wanted."""


def keep_going() -> None:
    """A check that never stops anything."""


class PixelBudget:
    """A number of pixels that threads share, first come, first served.

    Whoever needs more than the whole budget gets it once nobody else holds any. Whoever needs no more than
    ``exempt`` pixels is not counted, so that small pictures never wait behind large ones. A thread must not
    ask while it holds a share: it could wait for itself.
    """

    def __init__(self, pixels: int, *, exempt: int = 0) -> None:
        self._limit = pixels
        self._exempt = exempt
        self._in_use = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def share(self, pixels: int, check: Callable[[], None] = keep_going) -> Iterator[None]:
        """Hold ``pixels`` while the block runs; wait for them first.

        ``check`` is called from time to time during the wait, and ends it by raising.
        """
        if pixels <= self._exempt:
            yield
            return
        self._wait(pixels, check)
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= pixels
                self._changed.notify_all()

    def _wait(self, pixels: int, check: Callable[[], None]) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
        try:
            while not self._admitted(ticket, pixels):
                check()
        except BaseException:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            raise

    def _admitted(self, ticket: object, pixels: int) -> bool:
        """Whether the share was taken, after a short wait at most."""

        def is_free() -> bool:
            fits = not self._in_use or self._in_use + pixels <= self._limit
            return self._waiting[0] is ticket and fits

        with self._changed:
            if not self._changed.wait_for(is_free, _POLL_SECONDS):
                return False
            self._waiting.popleft()
            self._in_use += pixels
            self._changed.notify_all()
            return True


DECODING = PixelBudget(200_000_000, exempt=2_000_000)
"""Pixels being decoded now: up to about 0.8 GB, for Pillow takes four bytes for each RGB pixel."""
