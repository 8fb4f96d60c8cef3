"""Sessions that were deleted long ago leave for good, with their files and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.experiments.files import Owner
from tintype_studio.storage.database import Database
from tintype_studio.storage.session_tables import session_files, tasks, training_sessions, validation_sessions
from tintype_studio.storage.sweep import mark_unused

KEPT = timedelta(days=30)
"""How long a deletion can be undone."""
AT_ONCE = 200
"""Sessions of one transaction."""


def sweep_deleted(database: Database) -> int:
    """Remove them; their bytes follow when nothing names them any more."""
    removed = 0
    for owner, table in ((Owner.VALIDATION, validation_sessions), (Owner.TRAINING, training_sessions)):
        old = sa.select(table.c.id, table.c.task_id).where(table.c.deleted_at < clock.now() - KEPT)
        with database.read() as connection:
            if connection.execute(old.limit(1)).first() is None:
                continue
        with database.write() as connection:
            rows = connection.execute(old.order_by(table.c.id).limit(AT_ONCE)).all()
            remove_sessions(database, connection, owner, [row.id for row in rows])
            removed += len(rows)
    return removed


def remove_sessions(
    database: Database, connection: sa.Connection, owner: Owner, row_ids: Sequence[int]
) -> None:
    """Remove sessions of training or validation for good, in the caller's transaction, with their files and
    the tasks that nothing else needs.
    """
    table = {Owner.VALIDATION: validation_sessions, Owner.TRAINING: training_sessions}[owner]
    doomed = list(row_ids)
    of_them = connection.execute(sa.select(table.c.task_id).where(table.c.id.in_(doomed))).scalars().all()
    _remove_files(database, connection, owner, doomed)
    connection.execute(sa.delete(table).where(table.c.id.in_(doomed)))
    # Those of jobs go when the job is forgotten.
    alone = sa.select(tasks.c.id).where(
        tasks.c.id.in_([task for task in of_them if task is not None]), tasks.c.job_id.is_(None)
    )
    orphans = list(connection.execute(alone).scalars())
    _remove_files(database, connection, Owner.TASK, orphans)
    connection.execute(sa.delete(tasks).where(tasks.c.id.in_(orphans)))


def _remove_files(database: Database, connection: sa.Connection, owner: Owner, row_ids: list[int]) -> None:
    gone = (
        connection.execute(
            sa.delete(session_files)
            .where(session_files.c.owner == owner.value, session_files.c.owner_id.in_(row_ids))
            .returning(session_files.c.sha256)
        )
        .scalars()
        .all()
    )
    if gone:
        mark_unused(database, connection, gone)
