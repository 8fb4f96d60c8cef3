"""When SQLite or its disk fails: what it says in the house's words, and a part that is undone alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from tintype_studio.errors import InvalidInput, Unavailable


def is_open(connection: sa.Connection) -> bool:
    """Whether the driver is inside a transaction; as far as one can be asked."""
    driver = connection.connection.driver_connection
    return driver.in_transaction if isinstance(driver, sqlite3.Connection) else True


def require_open(connection: sa.Connection) -> None:
    """Raise when SQLite has given the transaction up by itself, as it does on a full or failing disk.

    What followed would be written without one.
    """
    if not is_open(connection):
        raise storage_failed()


@contextmanager
def part(connection: sa.Connection) -> Iterator[sa.Connection]:
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


class _PlainErrors:
    """Says what the database says in the house's words. Holds nothing, so that one serves all."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (sa.exc.OperationalError, sqlite3.OperationalError)):
            text = str(error.orig if isinstance(error, sa.exc.OperationalError) else error).lower()
            if "full" in text or "i/o error" in text:
                raise storage_failed() from error
            if "locked" in text or "busy" in text:
                raise busy() from error
        elif isinstance(error, sa.exc.TimeoutError):
            raise busy() from error
        elif isinstance(error, UnicodeEncodeError):
            raise InvalidInput(
                "A text holds a broken character (a lone surrogate).",
                code="invalid_text",
                fix="Send valid Unicode text.",
            ) from error


plain_errors = _PlainErrors()


def storage_failed() -> Unavailable:
    """What a full or failing disk is called; nothing was written."""
    return Unavailable(
        "The disk that holds the database is full or failing; nothing was changed.",
        code="storage_failed",
        fix="Ask the operator to free disk space, then call again.",
    )


def busy() -> Unavailable:
    """What a lock or a connection is called that was not to be had in time."""
    return Unavailable("The database is busy.", code="database_busy", fix="Call again in a few seconds.")
