"""How changes of snapshots are taken back."""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.step import Step
from tintype_studio.storage.sensor_tables import snapshots


def delete_snapshot(step: Step, row: sa.RowMapping) -> int:
    """Put a snapshot into the recycle bin; nothing when it lies there or is gone."""
    deleted = step.connection.execute(
        sa.update(snapshots)
        .where(_mine(step, row), snapshots.c.deleted_at.is_(None))
        .values(deleted_at=clock.now(), deleted_call=step.principal.call_id)
    ).rowcount
    if deleted:
        step.log(row, Kind.SNAPSHOT_DELETED, count=1)
    return deleted


def restore_snapshot(step: Step, row: sa.RowMapping) -> int:
    """Take a snapshot out of the recycle bin; ``Conflict`` (``purged``) when it is gone for good."""
    restored = step.connection.execute(
        sa.update(snapshots)
        .where(_mine(step, row), snapshots.c.deleted_at.is_not(None))
        .values(deleted_at=None, deleted_call=None)
    ).rowcount
    if not restored:
        raise Conflict(
            f"The snapshot {row['label']!r} is gone for good.",
            code="purged",
            fix="Create it again from its dataset or files.",
        )
    step.log(row, Kind.SNAPSHOT_CREATED, count=1)
    return restored


def _mine(step: Step, row: sa.RowMapping) -> sa.ColumnElement[bool]:
    return sa.and_(
        snapshots.c.uuid == row["subject"],
        snapshots.c.organization_id == step.principal.organization_id,
    )
