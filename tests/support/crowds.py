"""Pieces of writing that wait together, so that one of their callers writes them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tintype_studio.storage.database import Database

Work = Callable[[sa.Connection], Any]


@contextmanager
def all_wait(database: Database) -> Iterator[Callable[[int], None]]:
    """Nobody writes inside the block; what it gives returns when so many pieces wait."""

    def until(count: int) -> None:
        ends = time.monotonic() + 30
        while len(database._together.pieces) < count:
            assert time.monotonic() < ends, f"{len(database._together.pieces)} of {count} wait"
            time.sleep(0.001)

    with database._writers:
        yield until


def in_one_batch(database: Database, *works: Work) -> list[Any]:
    """What each of the works gives or raises, all in one transaction and in this order."""
    got: list[Any] = [None] * len(works)

    def run(n: int, work: Work) -> None:
        try:
            got[n] = database.together(work)
        except Exception as error:
            got[n] = error

    threads = [threading.Thread(target=run, args=(n, work)) for n, work in enumerate(works)]
    with all_wait(database) as until:
        for n, thread in enumerate(threads, 1):
            thread.start()
            until(n)
    for thread in threads:
        thread.join()
    return got
