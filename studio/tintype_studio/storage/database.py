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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

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
MOST_TOGETHER = 64
"""Pieces of writing in one transaction."""
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
        self._writers: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            event.listen(self.engine, "begin", _begin_server)
        self._pieces: deque[Piece[Any]] = deque()
        self._turns = threading.Lock()
        self._writer: sa.Connection | None = None
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
        if unit is not None:
            with _plain_errors():
                _require_open(unit.connection())
                with _part(unit.connection()) as connection:
                    yield connection
            return
        with _plain_errors(), self.transaction(durable=durable) as connection:
            yield connection

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """A write transaction of its own, whatever unit of work this thread is in."""
        with self._writers:
            if not self.is_sqlite:
                with (self._durable if durable else self._relaxed).begin() as connection:
                    yield connection
                return
            # Only one writes at a time, so its connection is kept: the pool's ways cost a third of a commit.
            connection = self._writer = self._writer or self.engine.connect()
            _set_synchronous(connection, "FULL" if durable else "NORMAL")
            transaction = connection.begin()
            try:
                yield connection
                if transaction.is_active:
                    _require_open(connection)
                    transaction.commit()
            except BaseException:
                self._take_back(transaction)
                raise

    def _take_back(self, transaction: sa.RootTransaction) -> None:
        try:
            transaction.rollback()
            # Of a commit that failed, SQLAlchemy takes nothing back.
            if self._writer is not None and _is_open(self._writer):
                self._writer.connection.rollback()
        except Exception:  # the file or its disk failed; the next writer gets a new connection
            connection, self._writer = self._writer, None
            if connection is not None:
                connection.invalidate()

    def together(self, work: Callable[[sa.Connection], T], *, durable: bool = True) -> T:
        """Run a short piece of writing, with whatever else waits to be written, in one transaction.

        On SQLite, whoever gets the writers' lock also does the work of those that wait for it: a crowd of
        callers pays for few commits, and hands the lock over less often. Each piece is undone alone on an
        exception, which its own caller gets; a commit that fails fails them all. ``work`` may run in any
        thread, and again when it was taken back with a neighbour's. ``durable`` as in ``write``. Inside a
        unit of work it is a part of that.
        """
        if not self.is_sqlite or self._open_unit() is not None:
            with self.write(durable=durable) as connection:
                return work(connection)
        piece = Piece(work, durable=durable)
        self._pieces.append(piece)
        with self._turns:
            if not piece.done:
                self._write_pieces(piece)
        return piece.result()

    def _write_pieces(self, own: Piece[Any]) -> None:
        """Write what waits."""
        taken: list[Piece[Any]] = []
        try:
            while self._pieces and (len(taken) < MOST_TOGETHER or own not in taken):
                taken.append(self._pieces.popleft())
            durable = any(piece.durable for piece in taken)
            # Savepoints cost as much as a short piece, and nearly always all of them go well.
            if len(taken) > 1 and self._write_unparted(taken, durable):
                return
            with _plain_errors(), self.transaction(durable=durable) as connection:
                for piece in taken:
                    piece.run(connection, alone=len(taken) == 1)
        except BaseException as error:
            for piece in taken:
                piece.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            for piece in taken:
                piece.done = True

    def _write_unparted(self, pieces: Sequence[Piece[Any]], durable: bool) -> bool:
        """Write all pieces as one; False, and nothing written, when one of them raises."""
        try:
            with _plain_errors(), self.transaction(durable=durable) as connection:
                for piece in pieces:
                    try:
                        piece.run(connection, alone=True)
                    except Exception as error:
                        _require_open(connection)
                        raise _TakenBack from error
        except _TakenBack:
            return False
        return True

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot; nothing is written. Inside a unit of work it sees that unit's writes."""
        unit = self._open_unit()
        if unit is not None and unit.begun:
            with _plain_errors():
                yield unit.connection()
            return
        with _plain_errors(), self._reader() as connection:
            yield connection

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
        with _plain_errors(), ExitStack() as stack:
            unit = Unit(self, stack, rehearsal=rehearsal)
            token = _unit.set(unit)
            try:
                yield unit
                if rehearsal:
                    unit.roll_back()
            finally:
                _unit.reset(token)

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


class _TakenBack(Exception):
    """One of several pieces raised."""


class Piece(Generic[T]):
    """A piece of writing that waits for its turn. Its work may be done again, when it was taken back."""

    def __init__(self, work: Callable[[sa.Connection], T], *, durable: bool) -> None:
        self.durable = durable
        self.done = False
        self._work = work
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self, connection: sa.Connection, *, alone: bool) -> None:
        """Do the work as a part of the transaction; keeps what comes of it for ``result``.

        ``alone`` in the transaction, an error is raised to end that, too.
        """
        if alone:
            self._value = self._work(connection)
            return
        try:
            with _plain_errors(), _part(connection):
                self._value = self._work(connection)
        except Exception as error:
            self._error = error
            _require_open(connection)

    def fail(self, error: BaseException) -> None:
        """The transaction did not commit, whatever the work said."""
        if self._error is None:
            self._error = error if isinstance(error, Exception) else _busy()

    def result(self) -> T:
        """What the work gave, or the error that it or the commit raised."""
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class Unit:
    """The one transaction of a unit of work, begun when it is needed."""

    def __init__(self, database: Database, stack: ExitStack, *, rehearsal: bool) -> None:
        self.database = database
        self.rehearsal = rehearsal
        self._stack = stack
        self._connection: sa.Connection | None = None

    @property
    def begun(self) -> bool:
        """Whether something was written."""
        return self._connection is not None

    def connection(self) -> sa.Connection:
        """The transaction's connection."""
        if self._connection is None:
            self._connection = self._stack.enter_context(self.database.transaction())
        return self._connection

    def roll_back(self) -> None:
        """Take back all that was written."""
        if self._connection is not None:
            self._connection.rollback()


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


def _is_open(connection: sa.Connection) -> bool:
    """Whether the driver is inside a transaction; as far as one can be asked."""
    driver = connection.connection.driver_connection
    return driver.in_transaction if isinstance(driver, sqlite3.Connection) else True


def _require_open(connection: sa.Connection) -> None:
    """Raise when SQLite has given the transaction up by itself, as it does on a full or failing disk.

    What followed would be written without one.
    """
    if not _is_open(connection):
        raise _storage_failed()


def _set_synchronous(connection: sa.Connection, wanted: str) -> None:
    if connection.info.get("synchronous") != wanted:
        connection.connection.cursor().execute(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted


def _begin_server(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("tintype_relaxed"):
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")


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
            raise _storage_failed() from error
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


def _storage_failed() -> Unavailable:
    return Unavailable(
        "The disk that holds the database is full or failing; nothing was changed.",
        code="storage_failed",
        fix="Ask the operator to free disk space, then call again.",
    )


def _busy() -> Unavailable:
    return Unavailable("The database is busy.", code="database_busy", fix="Call again in a few seconds.")
