"""Bring a database to the schema of this version, importing Alembic only when there is something to do."""

from __future__ import annotations

import fcntl
from pathlib import Path

import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.storage.database import Database

HEAD = "0011"
"""The newest revision in ``migrations/versions``; a test keeps it true."""

MIGRATIONS = Path(__file__).parent / "migrations"


def current_revision(database: Database) -> str | None:
    """The revision that the database is at, or None for an empty one."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def migrate(database: Database, lock_file: Path) -> None:
    """Upgrade to ``HEAD``. ``lock_file`` lets only one process of this machine migrate at a time."""
    if current_revision(database) == HEAD:
        return
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = current_revision(database)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise Unavailable(
                f"The database is at schema {found}, newer than this version of Tintype ({HEAD}).",
                code="schema_too_new",
                fix="Upgrade Tintype, or point TINTYPE_HOME at another folder.",
                retryable=False,
            )
        _upgrade(database)


def _upgrade(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
