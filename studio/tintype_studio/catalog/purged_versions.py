"""What a purge removes of versions: deleted ones, and the states that restores replaced, with their files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from tintype_studio.history.changes import PURGED, Kind
from tintype_studio.storage.sensor_tables import dataset_versions, version_files
from tintype_studio.storage.tables import changes, datasets

_STATEMENT = 500


def purge_versions(
    connection: sa.Connection,
    whose: Sequence[sa.ColumnElement[bool]],
    before: datetime,
    dataset_ids: Sequence[int],
) -> list[str]:
    """Remove deleted versions, and what restores replaced, of datasets for which ``whose`` holds and from
    before a time; also all versions of ``dataset_ids``, which go themselves. Returns digests that may now be
    unused. What was to be undone with them cannot be undone any more.
    """
    versions = dataset_versions.c
    old = sa.or_(versions.deleted_at <= before, sa.and_(versions.hidden, versions.created_at <= before))
    doomed = connection.execute(
        sa.select(versions.id, versions.uuid, versions.dataset_id, versions.manifest_sha256)
        .join(datasets, datasets.c.id == versions.dataset_id)
        .where(*whose, sa.or_(old, versions.dataset_id.in_(list(dataset_ids))))
    ).all()
    digests = {row.manifest_sha256 for row in doomed}
    for start in range(0, len(doomed), _STATEMENT):
        part = doomed[start : start + _STATEMENT]
        ids = [row.id for row in part]
        digests |= set(
            connection.execute(
                sa.select(version_files.c.sha256).where(version_files.c.version_id.in_(ids))
            ).scalars()
        )
        connection.execute(sa.delete(dataset_versions).where(versions.id.in_(ids)))
    _mark(connection, {row.uuid for row in doomed}, {row.dataset_id for row in doomed})
    return sorted(digests)


def _mark(connection: sa.Connection, uuids: set[str], dataset_ids: set[int]) -> None:
    """Tell of the changes whose undo needed these versions that they are for good."""
    for dataset_row_id in sorted(dataset_ids):
        made = connection.execute(
            sa.select(changes.c.id, changes.c.kind, changes.c.subject, changes.c.detail).where(
                changes.c.dataset_id == dataset_row_id,
                changes.c.kind.in_([Kind.VERSION_DELETED.value, Kind.VERSION_RESTORED.value]),
                changes.c.undone_by.is_(None),
            )
        ).all()
        gone = [
            row.id
            for row in made
            if (row.subject if row.kind == Kind.VERSION_DELETED else (row.detail or {}).get("before"))
            in uuids
        ]
        for start in range(0, len(gone), _STATEMENT):
            connection.execute(
                sa.update(changes)
                .where(changes.c.id.in_(gone[start : start + _STATEMENT]))
                .values(undone_by=PURGED)
            )
