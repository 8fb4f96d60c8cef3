"""The schema of a new workspace: made by the migrations once in a test process, and copied from then on.

Alembic takes a tenth of a second for what SQLite does in a few milliseconds, and most tests open a workspace
of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tintype_studio.storage import migrate
from tintype_studio.storage.database import Database

upgrade = migrate._upgrade
"""What the product does."""


class Copied:
    """Does for an empty SQLite database what ``upgrade`` did for the first one; leaves all else to it."""

    def __init__(self) -> None:
        self._statements: list[str] = []

    def __call__(self, database: Database) -> None:
        if not database.is_sqlite or not _is_empty(database):
            upgrade(database)
        elif not self._statements:
            upgrade(database)
            with database.read() as connection:
                dump = list(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
            self._statements = dump[1:-1]  # without the transaction around them
        else:
            with database.write() as connection:
                cursor = connection.connection.cursor()
                for statement in self._statements:
                    cursor.execute(statement)


def _is_empty(database: Database) -> bool:
    with database.read() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one() == 0


@contextmanager
def copied() -> Iterator[None]:
    """New workspaces of this process get their schema from the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "_upgrade", Copied())
        yield
