"""Which later changes build on those of a call, so that undoing it would pull the ground from under them.

A later change counts while it is effective: one that was undone does not, and neither does the undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tintype_studio.errors import UndoConflict
from tintype_studio.history.changes import Kind
from tintype_studio.storage.tables import annotation_revisions, changes, samples

NAMED = 20
"""Calls that a conflict names."""

OUTSIDE = "(outside of any call)"


def of(
    connection: sa.Connection, organization_id: int, call_id: str, own: Sequence[sa.RowMapping]
) -> list[str]:
    """Ids of effective later calls that build on the changes ``own`` of ``call_id``."""
    found: set[str] = set()
    for row in own:
        find = _FINDERS.get(Kind(row["kind"]))
        if find is not None:
            found |= find(connection, call_id, row)
    found.discard(call_id)
    return _effective(connection, organization_id, found)


def conflict(connection: sa.Connection, blocking: list[str]) -> UndoConflict:
    """The error that names them, newest first."""
    rows = connection.execute(
        sa.select(changes.c.call_id, changes.c.tool, sa.func.max(changes.c.id).label("last"))
        .where(changes.c.call_id.in_(blocking))
        .group_by(changes.c.call_id, changes.c.tool)
        .order_by(sa.desc("last"))
        .limit(NAMED)
    ).all()
    named = [{"call_id": row.call_id, "tool": row.tool} for row in rows]
    if OUTSIDE in blocking:
        named.append({"call_id": OUTSIDE, "tool": None})
    listed = ", ".join(f"{c['tool'] or 'edit'} {c['call_id']}" for c in named[:5])
    more = f" and {len(blocking) - 5} more" if len(blocking) > 5 else ""
    return UndoConflict(
        f"Later changes build on it: {listed}{more}.",
        details={"calls": named, "count": len(blocking)},
    )


def _in_dataset(connection: sa.Connection, call_id: str, row: sa.RowMapping) -> set[str]:
    """Anything that was done in a dataset since it was made."""
    return _call_ids(
        connection,
        sa.select(changes.c.call_id).where(
            changes.c.dataset_id == row["dataset_id"], changes.c.id > row["id"]
        ),
    )


def _on_images(connection: sa.Connection, call_id: str, row: sa.RowMapping) -> set[str]:
    """Labels and deletions of the images that the call added."""
    mine = sa.and_(samples.c.dataset_id == row["dataset_id"], samples.c.created_call == call_id)
    labelled = (
        sa.select(annotation_revisions.c.call_id)
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .where(mine)
        .distinct()
    )
    deleted = sa.select(samples.c.deleted_call).where(mine, samples.c.deleted_at.is_not(None)).distinct()
    return _call_ids(connection, labelled) | _call_ids(connection, deleted)


def _on_documents(connection: sa.Connection, call_id: str, _row: sa.RowMapping) -> set[str]:
    """Later saves and deletions of the images whose annotations the call saved."""
    mine = (
        sa.select(
            annotation_revisions.c.sample_id,
            sa.func.max(annotation_revisions.c.revision).label("last"),
        )
        .where(annotation_revisions.c.call_id == call_id)
        .group_by(annotation_revisions.c.sample_id)
        .subquery()
    )
    later = (
        sa.select(annotation_revisions.c.call_id)
        .join(
            mine,
            sa.and_(
                annotation_revisions.c.sample_id == mine.c.sample_id,
                annotation_revisions.c.revision > mine.c.last,
            ),
        )
        .distinct()
    )
    deleted = (
        sa.select(samples.c.deleted_call)
        .join(mine, mine.c.sample_id == samples.c.id)
        .where(samples.c.deleted_at.is_not(None))
        .distinct()
    )
    return _call_ids(connection, later) | _call_ids(connection, deleted)


def _on_classes(connection: sa.Connection, _call_id: str, row: sa.RowMapping) -> set[str]:
    """Later class lists of the dataset, and its deletion."""
    return _call_ids(
        connection,
        sa.select(changes.c.call_id).where(
            changes.c.dataset_id == row["dataset_id"],
            changes.c.kind.in_([Kind.CLASSES_SET.value, Kind.DATASET_DELETED.value]),
            changes.c.id > row["id"],
        ),
    )


def _on_dataset(connection: sa.Connection, _call_id: str, row: sa.RowMapping) -> set[str]:
    """The deletion of the dataset."""
    return _call_ids(
        connection,
        sa.select(changes.c.call_id).where(
            changes.c.dataset_id == row["dataset_id"],
            changes.c.kind == Kind.DATASET_DELETED.value,
            changes.c.id > row["id"],
        ),
    )


_FINDERS = {
    Kind.DATASET_CREATED: _in_dataset,
    Kind.DATASET_RESTORED: _in_dataset,
    Kind.IMAGES_ADDED: _on_images,
    Kind.IMAGES_DELETED: _on_dataset,
    Kind.IMAGES_RESTORED: _on_dataset,
    Kind.ANNOTATIONS_SAVED: _on_documents,
    Kind.CLASSES_SET: _on_classes,
}


def _call_ids(connection: sa.Connection, query: sa.Select[Any]) -> set[str]:
    return {call_id or OUTSIDE for call_id in connection.execute(query).scalars()}


def _effective(connection: sa.Connection, organization_id: int, call_ids: set[str]) -> list[str]:
    effective = [OUTSIDE] if OUTSIDE in call_ids else []
    wanted = sorted(call_ids - {OUTSIDE})
    for start in range(0, len(wanted), 500):
        effective += connection.execute(
            sa.select(changes.c.call_id)
            .where(
                changes.c.organization_id == organization_id,
                changes.c.call_id.in_(wanted[start : start + 500]),
                changes.c.undone_by.is_(None),
                changes.c.undo_of.is_(None),
            )
            .distinct()
        ).scalars()
    return effective
