"""One database handle: read and write transactions on SQLite (WAL) or PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from tintype_studio.errors import InvalidInput, Unavailable

BUSY_SECONDS = 30
"""How long a transaction waits for a lock, or for a connection of the pool."""
POOL_SIZE = 16
OVERFLOW_SQLITE = 112
"""A connection is a file handle here, and a server may run more threads than it keeps connections."""
OVERFLOW_SERVER = 16
"""A database server counts its clients (PostgreSQL: 100 unless told), and other processes need some, too."""
SQLITE_PRAGMAS = (
    f"busy_timeout={BUSY_SECONDS * 1000}",
    "synchronous=FULL",
    "foreign_keys=ON",
)


class Database:
    """Transactions over one engine. Thread-safe; open one per process."""

    def __init__(self, url: str | sa.URL) -> None:
        self.url = url
        self.is_sqlite = sa.make_url(url).get_backend_name() == "sqlite"
        self.engine = sa.create_engine(
            url,
            pool_size=POOL_SIZE,
            max_overflow=OVERFLOW_SQLITE if self.is_sqlite else OVERFLOW_SERVER,
            pool_timeout=BUSY_SECONDS,
        )
        # SQLite's file lock is unfair between waiters; a lock of our own keeps the tail short.
        self._writers: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._readers = self.engine.execution_options(tintype_readonly=True)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception."""
        with self._writers, _plain_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot; nothing is written."""
        with _plain_errors(), self._readers.connect() as connection:
            yield connection

    def insert_ignore(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """``INSERT … ON CONFLICT DO NOTHING`` in this database's own words."""
        builder = sqlite.insert if self.is_sqlite else postgresql.insert
        return builder(table).on_conflict_do_nothing()

    def close(self) -> None:
        """Release the connections."""
        self.engine.dispose()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: a plain BEGIN that later writes fails with
    # "database is locked" in spite of the busy timeout.
    connection.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    _use_wal(connection)


def _use_wal(connection: Any) -> None:
    # Of several processes that make the file at once, SQLite refuses some without honouring the timeout.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("tintype_readonly"):
        # A plain BEGIN takes no lock and cannot fail; past SQLAlchemy it costs a tenth of a short read less.
        connection.connection.cursor().execute("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        text = str(error.orig).lower()
        if "full" in text or "i/o error" in text:
            raise Unavailable(
                "The disk that holds the database is full or failing; nothing was changed.",
                code="storage_failed",
                fix="Ask the operator to free disk space, then call again.",
            ) from error
        if "locked" in text or "busy" in text:
            raise _busy() from error
        raise
    except sa.exc.TimeoutError as error:
        raise _busy() from error
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "A text holds a broken character (a lone surrogate).",
            code="invalid_text",
            fix="Send valid Unicode text.",
        ) from error


def _busy() -> Unavailable:
    return Unavailable("The database is busy.", code="database_busy", fix="Call again in a few seconds.")
