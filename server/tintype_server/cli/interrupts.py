"""Ctrl-C that comes up between pieces of work, and not in the middle of one."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


@contextmanager
def until_interrupted(tell: Callable[[], None] | None = None) -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C was pressed. The first one raises nothing, but calls ``tell``, which must take
    no lock that this thread may hold; the second one interrupts as always.

    An exception that a signal raises could come up in the middle of the database's driver, which then raises
    one of its own instead, or loses it in a place where none can leave: a command would fail, or never end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)
        if tell is not None:
            tell()

    signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def say_stopping() -> None:
    """Tell a person at a terminal that it was heard; safe in a signal's handler."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\r\x1b[Kstopping; Ctrl-C again ends at once\n")
