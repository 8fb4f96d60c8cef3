"""One database handle: read and write transactions on SQLite (WAL) or PostgreSQL.

Inside ``unit_of_work`` all writes of a thread are one transaction, begun at the first of them: what a call
changes, what it costs, its stored answer and its line in the audit trail become true together or not at
all.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from tintype_studio.storage.failures import is_open, part, plain_errors, require_open
from tintype_studio.storage.prepared import Prepared, Row
from tintype_studio.storage.together import Together

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

T = TypeVar("T")

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
        self._writers = threading.Lock()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "begin", _begin_server)
        self._together = Together(lambda *, durable: _FileTransaction(self, durable=durable))
        self._writer: sa.Connection | None = None
        self._synchronous = ""
        """How the writer's connection commits."""
        self._durable = self.engine
        self._relaxed = self.engine.execution_options(tintype_relaxed=True)
        self._readers = self.engine.execution_options(tintype_readonly=True)
        self._idle: deque[sa.Connection] = deque()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception.

        Inside a unit of work it is a part of that, undone alone on an exception. ``durable=False`` is for
        what only matters while this process lives (a claim, a hold): it survives kill -9, and a power cut
        may take it only together with everything that was written after it.
        """
        unit = self._open_unit()
        with plain_errors, unit.part() if unit is not None else self.transaction(durable=durable) as writer:
            yield writer

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[sa.Connection]:
        """A write transaction of its own, whatever unit of work this thread is in."""
        if self.is_sqlite:
            return _FileTransaction(self, durable=durable)
        return (self._durable if durable else self._relaxed).begin()

    def _begin(self, *, durable: bool) -> tuple[sa.Connection, sa.RootTransaction]:
        """Begin on SQLite, under the writers' lock."""
        # Only one writes at a time, so its connection is kept: the pool's ways cost a third of a commit.
        connection = self._writer
        if connection is None:
            connection, self._synchronous = self.engine.connect(), ""
            self._writer = connection
        wanted = "FULL" if durable else "NORMAL"
        if self._synchronous != wanted:
            connection.connection.cursor().execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted
        return connection, connection.begin()

    def _take_back(self, transaction: sa.RootTransaction) -> None:
        try:
            transaction.rollback()
            # Of a commit that failed, SQLAlchemy takes nothing back.
            if self._writer is not None and is_open(self._writer):
                self._writer.connection.rollback()
        except Exception:  # the file or its disk failed; the next writer gets a new connection
            connection, self._writer = self._writer, None
            if connection is not None:
                connection.invalidate()

    def together(self, work: Callable[[sa.Connection], T], *, durable: bool = True) -> T:
        """Run a short piece of writing, with whatever else waits to be written, in one transaction.

        On SQLite, one of those that wait does the work of all: a crowd of callers pays for few commits. Each
        piece is undone alone on an exception, which its own caller gets; a commit that fails fails them all.
        ``work`` may run in any thread, and again when it was taken back with a neighbour's. A ``Joint`` is
        written with the others of its class. ``durable`` as in ``write``. Inside a unit of work it is a part
        of that.
        """
        if not self.is_sqlite or self._open_unit() is not None:
            with self.write(durable=durable) as connection:
                return work(connection)
        return self._together.run(work, durable=durable)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot; nothing is written. Inside a unit of work it sees that unit's writes."""
        unit = self._open_unit()
        if unit is not None and unit.begun:
            with plain_errors:
                yield unit.connection()
            return
        with plain_errors, self._reader() as connection:
            yield connection

    def glance(self, select: Prepared, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of one short select by itself that often precedes a write.

        While nobody writes it goes through the writer's connection: a reader's forgets all pages after every
        commit, and must fetch them again.
        """
        if self.is_sqlite and self._open_unit() is None and self._writers.acquire(blocking=False):
            try:
                if self._writer is not None:
                    with plain_errors:
                        return select.all(self._writer, parameters, alone=True)
            finally:
                self._writers.release()
        with self.read() as connection:
            return select.all(connection, parameters, alone=True)

    @contextmanager
    def _reader(self) -> Iterator[sa.Connection]:
        if not self.is_sqlite:
            with self._readers.connect() as connection:
                yield connection
            return
        # As for the writer: what the pool does around a short read takes longer than the read.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._readers.connect()
        try:
            yield connection
            if connection.in_transaction():
                connection.rollback()
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < POOL_SIZE:
            self._idle.append(connection)
        else:
            connection.close()

    @contextmanager
    def unit_of_work(self, *, rehearsal: bool = False) -> Iterator[Unit]:
        """Make all writes of this thread one transaction that commits at the end of the block.

        Other writers of SQLite wait from the first write on, so nothing slow may follow it.
        ``rehearsal``: roll back in any case, and store no blobs.
        """
        if _unit.get() is not None:
            raise RuntimeError("units of work do not nest")
        unit = Unit(self, rehearsal=rehearsal)
        token = _unit.set(unit)
        with plain_errors:
            try:
                try:
                    yield unit
                    if rehearsal:
                        unit.roll_back()
                finally:
                    _unit.reset(token)
            except BaseException as error:
                unit.end(error)
                raise
            unit.end(None)
        if not rehearsal:
            for deed in unit.deeds:
                deed()

    def after_commit(self, deed: Callable[[], None]) -> None:
        """Do something in memory once this thread's writes are true: at the end of its unit of work, if it
        commits, or now, where there is none.
        """
        unit = self._open_unit()
        if unit is None:
            deed()
        else:
            unit.deeds.append(deed)

    def in_open_work(self) -> bool:
        """Whether this thread reads what it has itself written and not committed yet."""
        unit = self._open_unit()
        return unit is not None and unit.begun

    def _open_unit(self) -> Unit | None:
        unit = _unit.get()
        return unit if unit is not None and unit.database is self else None

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
        with self._writers:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        while self._idle:
            self._idle.pop().close()
        self.engine.dispose()


class Unit:
    """The one transaction of a unit of work, begun when it is needed."""

    def __init__(self, database: Database, *, rehearsal: bool) -> None:
        self.database = database
        self.rehearsal = rehearsal
        self.deeds: list[Callable[[], None]] = []
        """Done after the commit."""
        self._transaction: AbstractContextManager[sa.Connection] | None = None
        self._connection: sa.Connection | None = None

    @property
    def begun(self) -> bool:
        """Whether something was written."""
        return self._connection is not None

    def connection(self) -> sa.Connection:
        """The transaction's connection."""
        if self._connection is None:
            transaction = self.database.transaction()
            self._connection = transaction.__enter__()
            self._transaction = transaction
        return self._connection

    @contextmanager
    def part(self) -> Iterator[sa.Connection]:
        """Something that is written in the transaction, and undone alone on an exception."""
        if self._connection is not None:
            require_open(self._connection)
            with part(self._connection) as connection:
                yield connection
            return
        # The first part needs no savepoint, for which SQLite copies every page: nothing was written before
        # it, so that to undo it is to undo all.
        connection = self.connection()
        try:
            yield connection
        except BaseException as error:
            self.end(error)
            raise

    def end(self, error: BaseException | None) -> None:
        """Commit what was written, or take it back because of an error. What follows begins anew."""
        transaction, self._transaction, self._connection = self._transaction, None, None
        if transaction is not None:
            transaction.__exit__(
                type(error) if error else None, error, error.__traceback__ if error else None
            )

    def roll_back(self) -> None:
        """Take back all that was written."""
        if self._connection is not None:
            self._connection.rollback()


class _FileTransaction(AbstractContextManager[sa.Connection]):
    """A transaction on SQLite. A class, because a generator's context costs a tenth of a short commit."""

    __slots__ = ("_connection", "_database", "_durable", "_transaction")

    def __init__(self, database: Database, *, durable: bool | Callable[[], bool]) -> None:
        """``durable`` may be found out when the writers' lock is held."""
        self._database = database
        self._durable = durable

    def __enter__(self) -> sa.Connection:
        self._database._writers.acquire()
        try:
            durable = self._durable() if callable(self._durable) else self._durable
            self._connection, self._transaction = self._database._begin(durable=durable)
        except BaseException:
            self._database._writers.release()
            raise
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is not None:
                self._database._take_back(self._transaction)
            elif self._transaction.is_active:
                require_open(self._connection)
                self._transaction.commit()
        except BaseException:
            self._database._take_back(self._transaction)
            raise
        finally:
            self._database._writers.release()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: a plain BEGIN that later writes fails with
    # "database is locked" in spite of the busy timeout.
    connection.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    use_wal(connection)


def use_wal(connection: Any) -> None:
    """Give a SQLite file its write-ahead log, through a connection of the driver's."""
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
        connection.connection.cursor().execute("BEGIN IMMEDIATE")


def _begin_server(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("tintype_relaxed"):
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
