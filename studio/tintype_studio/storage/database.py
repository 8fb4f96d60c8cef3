"""One database handle: read and write transactions on SQLite (WAL) or PostgreSQL.

Inside ``unit_of_work`` all writes of a thread are one transaction, begun at the first of them: what a call
changes, what it costs, its stored answer and its line in the audit trail become true together or not at
all.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
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
    "foreign_keys=ON",
)

_unit: ContextVar[Unit | None] = ContextVar("unit_of_work", default=None)


def rehearsing() -> bool:
    """Whether the work of this thread will be taken back, whatever it does."""
    unit = _unit.get()
    return unit is not None and unit.rehearsal


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
        else:
            event.listen(self.engine, "begin", _begin_server)
        self._durable = self.engine.execution_options(tintype_synchronous="FULL")
        self._relaxed = self.engine.execution_options(tintype_synchronous="NORMAL")
        self._readers = self.engine.execution_options(tintype_readonly=True)

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception.

        Inside a unit of work it is a part of that, undone alone on an exception. ``durable=False`` is for
        what only matters while this process lives (a claim, a hold): it survives kill -9, and a power cut
        may take it only together with everything that was written after it.
        """
        unit = self._open_unit()
        if unit is not None:
            with _plain_errors(), _part(unit.connection()) as connection:
                yield connection
            return
        engine = self._durable if durable else self._relaxed
        with self._writers, _plain_errors(), engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot; nothing is written. Inside a unit of work it sees that unit's writes."""
        unit = self._open_unit()
        if unit is not None and unit.begun:
            with _plain_errors():
                yield unit.connection()
            return
        with _plain_errors(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def unit_of_work(self, *, rehearsal: bool = False) -> Iterator[Unit]:
        """Make all writes of this thread one transaction that commits at the end of the block.

        Other writers of SQLite wait from the first write on, so nothing slow may follow it.
        ``rehearsal``: roll back in any case, and store no blobs.
        """
        if _unit.get() is not None:
            raise RuntimeError("units of work do not nest")
        with _plain_errors(), ExitStack() as stack:
            unit = Unit(self, stack, rehearsal=rehearsal)
            token = _unit.set(unit)
            try:
                yield unit
                unit.end(commit=not rehearsal)
            except BaseException:
                unit.end(commit=False)
                raise
            finally:
                _unit.reset(token)

    def _open_unit(self) -> Unit | None:
        unit = _unit.get()
        return unit if unit is not None and unit.database is self else None

    def begin(self, stack: ExitStack) -> tuple[sa.Connection, sa.RootTransaction]:
        """Begin a write transaction whose resources ``stack`` gives back."""
        stack.enter_context(self._writers)
        connection = stack.enter_context(self._durable.connect())
        return connection, connection.begin()

    def insert_ignore(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """``INSERT … ON CONFLICT DO NOTHING`` in this database's own words."""
        builder = sqlite.insert if self.is_sqlite else postgresql.insert
        return builder(table).on_conflict_do_nothing()

    def upsert(
        self, table: sa.Table, *, keys: Sequence[sa.Column[Any]], values: Sequence[str]
    ) -> sqlite.Insert | postgresql.Insert:
        """``INSERT … ON CONFLICT (keys) DO UPDATE`` of the named columns, in this database's own words."""
        if self.is_sqlite:
            lite = sqlite.insert(table)
            return lite.on_conflict_do_update(keys, set_={v: lite.excluded[v] for v in values})
        server = postgresql.insert(table)
        return server.on_conflict_do_update(index_elements=keys, set_={v: server.excluded[v] for v in values})

    def close(self) -> None:
        """Release the connections."""
        self.engine.dispose()


class Unit:
    """The one transaction of a unit of work, begun when it is needed."""

    def __init__(self, database: Database, stack: ExitStack, *, rehearsal: bool) -> None:
        self.database = database
        self.rehearsal = rehearsal
        self._stack = stack
        self._open: tuple[sa.Connection, sa.RootTransaction] | None = None

    @property
    def begun(self) -> bool:
        """Whether something was written."""
        return self._open is not None

    def connection(self) -> sa.Connection:
        """The transaction's connection."""
        if self._open is None:
            self._open = self.database.begin(self._stack)
        return self._open[0]

    def end(self, *, commit: bool) -> None:
        """Commit or roll back; once."""
        opened, self._open = self._open, None
        if opened is not None:
            opened[1].commit() if commit else opened[1].rollback()


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
        return
    cursor, wanted = connection.connection.cursor(), _synchronous(connection)
    if connection.info.get("synchronous") != wanted:
        cursor.execute(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted
    cursor.execute("BEGIN IMMEDIATE")


def _begin_server(connection: sa.Connection) -> None:
    if _synchronous(connection) == "NORMAL":
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")


def _synchronous(connection: sa.Connection) -> str:
    # Whatever does not say is a write that must last.
    return str(connection.get_execution_options().get("tintype_synchronous", "FULL"))


@contextmanager
def _part(connection: sa.Connection) -> Iterator[sa.Connection]:
    """A part of a transaction that is undone alone. Past SQLAlchemy, which spends ten times as long on it."""
    cursor = connection.connection.cursor()
    cursor.execute("SAVEPOINT part")
    try:
        yield connection
    except BaseException:
        with suppress(Exception):  # the connection may be what failed; the first error tells more
            cursor.execute("ROLLBACK TO SAVEPOINT part")
            cursor.execute("RELEASE SAVEPOINT part")
        raise
    cursor.execute("RELEASE SAVEPOINT part")


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
        text = str(error.orig if isinstance(error, sa.exc.OperationalError) else error).lower()
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
