"""What becomes of snapshots that nobody finished, and of those that were deleted."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.history.changes import PURGED
from tintype_studio.names import printable
from tintype_studio.snapshots.snapshot import SnapshotStatus
from tintype_studio.snapshots.uploads import KEEP, Parts
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import snapshot_files, snapshots
from tintype_studio.storage.sweep import mark_unused
from tintype_studio.storage.tables import changes

BIN = timedelta(days=30)
"""How long a deleted snapshot can be brought back."""


def fail_upload(database: Database, row_id: int, message: str) -> None:
    """End a pending snapshot that cannot become available, and let go of what came of its files."""
    with database.write() as connection:
        failed = connection.execute(
            sa.update(snapshots)
            .where(snapshots.c.id == row_id, snapshots.c.status == SnapshotStatus.PENDING.value)
            .values(
                status=SnapshotStatus.FAILED.value,
                error_message=printable(message[:500]),
                completed_at=clock.now(),
            )
        ).rowcount
        if failed:
            mine = snapshot_files.c.snapshot_id == row_id
            joined = sa.select(snapshot_files.c.sha256).where(mine, snapshot_files.c.sha256.is_not(None))
            digests = connection.execute(joined).scalars().all()
            connection.execute(sa.update(snapshot_files).where(mine).values(sha256=None))
            mark_unused(database, connection, digests)


def give_up_uploads(database: Database, parts: Parts) -> None:
    """Fail uploads that nobody finished within two days, and remove parts that nobody waits for."""
    over = sa.and_(
        snapshots.c.status == SnapshotStatus.PENDING.value,
        snapshots.c.created_at < clock.now() - KEEP,
    )
    with database.read() as connection:
        old = connection.execute(sa.select(snapshots.c.id).where(over)).scalars().all()
    for row_id in old:
        fail_upload(database, row_id, "Its upload was not finished within two days.")

    def waiting() -> set[str]:
        query = (
            sa.select(snapshot_files.c.upload_id)
            .join(snapshots, snapshots.c.id == snapshot_files.c.snapshot_id)
            .where(
                snapshots.c.status == SnapshotStatus.PENDING.value,
                snapshot_files.c.sha256.is_(None),
                snapshot_files.c.upload_id.is_not(None),
            )
        )
        with database.read() as connection:
            return set(connection.execute(query).scalars())

    parts.sweep(waiting)


def purge_deleted(database: Database) -> None:
    """Remove what lay in the bin for thirty days; its bytes go when no row names them."""
    before = clock.now() - BIN
    with database.read() as connection:
        old = connection.execute(
            sa.select(snapshots.c.id, snapshots.c.uuid).where(snapshots.c.deleted_at < before)
        ).all()
    for row in old:
        with database.write() as connection:
            files = sa.select(snapshot_files.c.sha256).where(
                snapshot_files.c.snapshot_id == row.id, snapshot_files.c.sha256.is_not(None)
            )
            digests = connection.execute(files).scalars().all()
            gone = connection.execute(
                sa.delete(snapshots).where(snapshots.c.id == row.id, snapshots.c.deleted_at < before)
            ).rowcount
            if gone:
                mark_unused(database, connection, digests)
                connection.execute(
                    sa.update(changes)
                    .where(changes.c.subject == row.uuid, changes.c.undone_by.is_(None))
                    .values(undone_by=PURGED)
                )
