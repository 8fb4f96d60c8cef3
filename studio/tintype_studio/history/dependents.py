"""Which later changes build on those of a call, so that undoing it would pull the ground from under them.

A later change counts while it is effective. One that was undone does not, and neither does the undo of a
later call: the two cancel each other out. The undo of an earlier call does count, for nothing cancels it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from tintype_studio.errors import UndoConflict
from tintype_studio.history.changes import OF_CONTENT, OF_MODELS, Kind
from tintype_studio.history.image_ids import KEY, columns_of, older_images, unpack
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, changes, samples

NAMED = 20
"""Calls that a conflict names."""

OUTSIDE = "(outside of any call)"

BATCH = 500
"""Values in one statement."""

_DATASETS = 100
"""Datasets in one statement; each takes a condition of its own."""

Rows = Sequence[sa.RowMapping]
T = TypeVar("T")


def batches(values: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Parts of a list that fit into a statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def touched_images(row: sa.RowMapping) -> sa.ColumnElement[bool]:
    """The images that a deletion or a restoration of images was about."""
    detail = row["detail"] or {}
    added_by = detail.get("added_by")
    conditions = [samples.c.dataset_id == row["dataset_id"]]
    if row["subject"] is not None:
        conditions.append(samples.c.uuid == row["subject"])
    elif KEY in detail:
        conditions.append(older_images(row, unpack(detail[KEY])))
    elif added_by is not None:
        conditions.append(samples.c.created_call == added_by)
    else:  # logged before rows told whose images they were
        deleted_by = detail.get("call", row["call_id"])
        conditions.append(samples.c.deleted_call == deleted_by)
    return sa.and_(*conditions)


def find(connection: sa.Connection, rows: Rows) -> set[str]:
    """Ids of other calls, effective or not, that build on the changes ``rows`` taken together.

    The work grows with the number of changes, not with that of pairs of them.
    """
    calls = {row["call_id"] for row in rows}
    found: set[str] = set()
    for kind, finder in _FINDERS.items():
        mine = [row for row in rows if row["kind"] == kind]
        if mine:
            found |= finder(connection, mine)
    content = [row for row in rows if row["kind"] in OF_CONTENT and row["dataset_id"] is not None]
    if content:
        # A restore sets everything anew; what was before it is taken back after it.
        found |= _later_in_datasets(connection, content, Kind.VERSION_RESTORED)
    return found - calls


def effective(connection: sa.Connection, organization_id: int, call_ids: set[str], *, since: int) -> set[str]:
    """Those of ``call_ids`` that still have an effect on what was done in change ``since`` and later."""
    standing = {OUTSIDE} & call_ids
    undone = changes.alias()
    cancels = sa.exists().where(
        undone.c.organization_id == organization_id,
        undone.c.call_id == changes.c.undo_of,
        undone.c.id > since,
    )
    for part in batches(sorted(call_ids - {OUTSIDE})):
        standing |= set(
            connection.execute(
                sa.select(changes.c.call_id)
                .where(
                    changes.c.organization_id == organization_id,
                    changes.c.call_id.in_(part),
                    changes.c.undone_by.is_(None),
                    sa.or_(changes.c.undo_of.is_(None), ~cancels),
                )
                .distinct()
            ).scalars()
        )
    return standing


def conflict(connection: sa.Connection, blocking: set[str]) -> UndoConflict:
    """The error that names them, newest first."""
    rows: list[tuple[int, str, str | None]] = []
    for part in batches(sorted(blocking)):
        rows += (
            (row.last, row.call_id, row.tool)
            for row in connection.execute(
                sa.select(changes.c.call_id, changes.c.tool, sa.func.max(changes.c.id).label("last"))
                .where(changes.c.call_id.in_(part))
                .group_by(changes.c.call_id, changes.c.tool)
            )
        )
    newest = sorted(rows, key=lambda row: row[0], reverse=True)[:NAMED]
    named = [{"call_id": call_id, "tool": tool} for _, call_id, tool in newest]
    if OUTSIDE in blocking:
        named.append({"call_id": OUTSIDE, "tool": None})
    listed = ", ".join(f"{c['tool'] or 'edit'} {c['call_id']}" for c in named[:5])
    more = f" and {len(blocking) - 5} more" if len(blocking) > 5 else ""
    return UndoConflict(
        f"Later changes build on it: {listed}{more}.",
        details={"calls": named, "count": len(blocking)},
    )


def _later_in_datasets(connection: sa.Connection, rows: Rows, *kinds: Kind) -> set[str]:
    """What was done in the rows' datasets since the first of them; only changes of ``kinds``, if any."""
    first: dict[int, int] = {}
    for row in rows:
        first[row["dataset_id"]] = min(row["id"], first.get(row["dataset_id"], row["id"]))
    found: set[str] = set()
    for part in batches(list(first.items()), _DATASETS):
        query = sa.select(changes.c.call_id).where(
            sa.or_(*(sa.and_(changes.c.dataset_id == d, changes.c.id > since) for d, since in part))
        )
        if kinds:
            query = query.where(changes.c.kind.in_([kind.value for kind in kinds]))
        found |= _call_ids(connection, query)
    return found


def _in_dataset(connection: sa.Connection, rows: Rows) -> set[str]:
    """Anything that was done in a dataset since it was made or came back."""
    return _later_in_datasets(connection, rows)


def _on_content(connection: sa.Connection, rows: Rows) -> set[str]:
    """Anything that made the dataset other than it was after a restore."""
    return _later_in_datasets(connection, rows, *OF_CONTENT)


def _on_dataset(connection: sa.Connection, rows: Rows) -> set[str]:
    """The deletion of the dataset."""
    return _later_in_datasets(connection, rows, Kind.DATASET_DELETED)


def _on_fields(connection: sa.Connection, rows: Rows) -> set[str]:
    """Later changes of the dataset's name and description, and its deletion."""
    return _later_in_datasets(connection, rows, Kind.DATASET_UPDATED, Kind.DATASET_DELETED)


def _on_classes(connection: sa.Connection, rows: Rows) -> set[str]:
    """Later class lists of the dataset, and its deletion."""
    return _later_in_datasets(connection, rows, Kind.CLASSES_SET, Kind.LABELS_CHANGED, Kind.DATASET_DELETED)


def _on_sets(connection: sa.Connection, rows: Rows) -> set[str]:
    """What was saved in annotation sets since they were made, and their deletion and that of the dataset."""
    found = _on_dataset(connection, rows)
    since, made_at = min(row["id"] for row in rows), min(row["created_at"] for row in rows)
    later = sa.exists().where(changes.c.call_id == annotation_revisions.c.call_id, changes.c.id > since)
    outside = sa.and_(annotation_revisions.c.call_id.is_(None), annotation_revisions.c.created_at > made_at)
    for part in batches(sorted({row["subject"] for row in rows})):
        mine = annotation_sets.c.uuid.in_(part)
        found |= _call_ids(
            connection,
            sa.select(annotation_revisions.c.call_id)
            .join(annotation_sets, annotation_sets.c.id == annotation_revisions.c.annotation_set_id)
            .where(mine, sa.or_(later, outside)),
        )
        found |= _call_ids(
            connection,
            sa.select(annotation_sets.c.deleted_call).where(mine, annotation_sets.c.deleted_at.is_not(None)),
        )
    return found


def _on_images(connection: sa.Connection, rows: Rows) -> set[str]:
    """Labels and deletions of the images that the calls added."""
    found: set[str] = set()
    for part in batches(sorted({row["call_id"] for row in rows})):
        for datasets in batches(sorted({row["dataset_id"] for row in rows})):
            mine = sa.and_(samples.c.dataset_id.in_(datasets), samples.c.created_call.in_(part))
            found |= _call_ids(
                connection,
                sa.select(annotation_revisions.c.call_id)
                .join(samples, samples.c.id == annotation_revisions.c.sample_id)
                .where(mine),
            )
            found |= _deletions(connection, mine)
            found |= _column_changes(connection, rows, mine)
            found |= _files(connection, mine)
    return found


def _on_files(connection: sa.Connection, rows: Rows) -> set[str]:
    """Deletions of samples that got files or lost them, and what came and went of the same files since."""
    found: set[str] = set()
    for part in batches([row for row in rows if row["subject"] is not None], _DATASETS):
        uuids = [row["subject"] for row in part]
        found |= _deletions(connection, samples.c.uuid.in_(uuids))
        first: dict[str, int] = {}
        for row in part:
            first[row["subject"]] = min(row["id"], first.get(row["subject"], row["id"]))
        types = {(row["subject"], row["detail"]["type"]) for row in part}
        later = connection.execute(
            sa.select(changes.c.call_id, changes.c.id, changes.c.subject, changes.c.detail).where(
                changes.c.dataset_id.in_({row["dataset_id"] for row in part}),
                changes.c.kind.in_(_OF_FILES),
                changes.c.subject.in_(uuids),
            )
        )
        found |= {
            change.call_id or OUTSIDE
            for change in later
            if change.id > first[change.subject] and (change.subject, change.detail["type"]) in types
        }
    return found


_OF_FILES = (Kind.FILES_ADDED.value, Kind.FILES_REMOVED.value)


def _files(connection: sa.Connection, mine: sa.ColumnElement[bool]) -> set[str]:
    """Files that came to samples after these were added."""
    query = (
        sa.select(changes.c.call_id)
        .join(samples, samples.c.uuid == changes.c.subject)
        .where(changes.c.dataset_id == samples.c.dataset_id, changes.c.kind.in_(_OF_FILES), mine)
    )
    return _call_ids(connection, query)


def _on_restored(connection: sa.Connection, rows: Rows) -> set[str]:
    """What was done since to images that came back: labels, deletions, and that of their dataset."""
    found = _on_dataset(connection, rows)
    since, restored_at = min(row["id"] for row in rows), min(row["created_at"] for row in rows)
    later_save = sa.exists().where(
        changes.c.call_id == annotation_revisions.c.call_id,
        changes.c.kind == Kind.ANNOTATIONS_SAVED.value,
        changes.c.id > since,
    )
    outside = sa.and_(
        annotation_revisions.c.call_id.is_(None), annotation_revisions.c.created_at > restored_at
    )
    many = [[row] for row in rows if KEY in (row["detail"] or {})]
    single = [row for row in rows if KEY not in (row["detail"] or {})]
    for part in (*many, *batches(single, _DATASETS)):
        mine = sa.or_(*(touched_images(row) for row in part))
        found |= _call_ids(
            connection,
            sa.select(annotation_revisions.c.call_id)
            .join(samples, samples.c.id == annotation_revisions.c.sample_id)
            .where(mine, sa.or_(later_save, outside)),
        )
        found |= _deletions(connection, mine)
        found |= _column_changes(connection, part, mine)
    return found


def _on_columns(connection: sa.Connection, rows: Rows) -> set[str]:
    """What was done since to images whose folder, status or display name the calls changed.

    The same column changed again, the deletion of the image, and a save where it was the status.
    """
    found: set[str] = set()
    for row in rows:
        for column, groups in columns_of(row).items():
            ids = sorted({i for _, _, runs in groups for i in unpack(runs)})
            for part in batches(ids):
                mine = older_images(row, list(part))
                found |= _deletions(connection, mine)
                found |= _column_changes(connection, [row], mine, column)
                if column == "status":
                    found |= _later_saves(connection, row, mine)
    return found


_OF_COLUMNS = (Kind.IMAGES_MOVED.value, Kind.IMAGES_UPDATED.value, Kind.SAMPLES_UPDATED.value)


def _column_changes(
    connection: sa.Connection, rows: Rows, mine: sa.ColumnElement[bool], column: str | None = None
) -> set[str]:
    """Changes since the first of the rows to the folder, status or display name of some images."""
    found: set[str] = set()
    first: dict[int, int] = {}
    for row in rows:
        first[row["dataset_id"]] = min(row["id"], first.get(row["dataset_id"], row["id"]))
    for part in batches(list(first.items()), _DATASETS):
        later = connection.execute(
            sa.select(changes).where(
                changes.c.kind.in_(_OF_COLUMNS),
                sa.or_(*(sa.and_(changes.c.dataset_id == d, changes.c.id > since) for d, since in part)),
            )
        ).mappings()
        for change in later.all():
            groups = [g for name, own in columns_of(change).items() if column in {None, name} for g in own]
            ids = sorted({i for _, _, runs in groups for i in unpack(runs)})
            touched = (
                sa.select(samples.c.id).where(older_images(change, list(some)), mine).limit(1)
                for some in batches(ids)
            )
            if any(connection.execute(query).first() for query in touched):
                found.add(change["call_id"])
    return found


def _later_saves(connection: sa.Connection, row: sa.RowMapping, mine: sa.ColumnElement[bool]) -> set[str]:
    """Saves of the annotations of some images since a change."""
    later_save = sa.exists().where(
        changes.c.call_id == annotation_revisions.c.call_id,
        changes.c.kind == Kind.ANNOTATIONS_SAVED.value,
        changes.c.id > row["id"],
    )
    outside = sa.and_(
        annotation_revisions.c.call_id.is_(None), annotation_revisions.c.created_at > row["created_at"]
    )
    return _call_ids(
        connection,
        sa.select(annotation_revisions.c.call_id)
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .where(mine, sa.or_(later_save, outside)),
    )


def _on_documents(connection: sa.Connection, rows: Rows) -> set[str]:
    """Later saves and deletions of the images whose annotations the calls saved."""
    found: set[str] = set()
    for part in batches(sorted({row["call_id"] for row in rows}), 2 * BATCH):
        of_each = (
            sa.select(
                annotation_revisions.c.sample_id, sa.func.max(annotation_revisions.c.revision).label("last")
            )
            .where(annotation_revisions.c.call_id.in_(part))
            .group_by(annotation_revisions.c.sample_id, annotation_revisions.c.call_id)
            .subquery()
        )
        # A save between two of the calls builds on the first, so the oldest of them counts.
        mine = (
            sa.select(of_each.c.sample_id, sa.func.min(of_each.c.last).label("last"))
            .group_by(of_each.c.sample_id)
            .subquery()
        )
        found |= _call_ids(
            connection,
            sa.select(annotation_revisions.c.call_id).join(
                mine,
                sa.and_(
                    annotation_revisions.c.sample_id == mine.c.sample_id,
                    annotation_revisions.c.revision > mine.c.last,
                ),
            ),
        )
        found |= _call_ids(
            connection,
            sa.select(samples.c.deleted_call)
            .join(mine, mine.c.sample_id == samples.c.id)
            .where(samples.c.deleted_at.is_not(None)),
        )
        found |= _column_changes(
            connection, rows, samples.c.id.in_(sa.select(mine.c.sample_id)), column="status"
        )
        found |= _call_ids(
            connection,
            sa.select(annotation_sets.c.deleted_call)
            .join(annotation_revisions, annotation_revisions.c.annotation_set_id == annotation_sets.c.id)
            .where(annotation_revisions.c.call_id.in_(part), annotation_sets.c.deleted_at.is_not(None)),
        )
    return found


def _on_models(connection: sa.Connection, rows: Rows) -> set[str]:
    """What was done since to the models themselves."""
    first: dict[str, int] = {}
    for row in rows:
        first[row["subject"]] = min(row["id"], first.get(row["subject"], row["id"]))
    found: set[str] = set()
    for part in batches(list(first.items()), _DATASETS):
        query = sa.select(changes.c.call_id).where(
            changes.c.kind.in_([kind.value for kind in OF_MODELS]),
            changes.c.organization_id == rows[0]["organization_id"],
            sa.or_(*(sa.and_(changes.c.subject == s, changes.c.id > since) for s, since in part)),
        )
        found |= _call_ids(connection, query)
    return found


_FINDERS: dict[Kind, Callable[[sa.Connection, Rows], set[str]]] = {
    Kind.DATASET_CREATED: _in_dataset,
    Kind.DATASET_RESTORED: _in_dataset,
    Kind.DATASET_UPDATED: _on_fields,
    Kind.IMAGES_ADDED: _on_images,
    Kind.SAMPLES_ADDED: _on_images,
    Kind.SAMPLES_UPDATED: _on_columns,
    Kind.FILES_ADDED: _on_files,
    Kind.FILES_REMOVED: _on_files,
    Kind.IMAGES_DELETED: _on_dataset,
    Kind.IMAGES_RESTORED: _on_restored,
    Kind.IMAGES_MOVED: _on_columns,
    Kind.IMAGES_UPDATED: _on_columns,
    Kind.ANNOTATIONS_SAVED: _on_documents,
    Kind.CLASSES_SET: _on_classes,
    Kind.LABELS_CHANGED: _on_classes,
    Kind.SET_CREATED: _on_sets,
    Kind.SET_DELETED: _on_dataset,
    Kind.GROUP_CREATED: _on_dataset,
    Kind.GROUP_DELETED: _on_dataset,
    Kind.VERSION_CREATED: _on_dataset,
    Kind.VERSION_DELETED: _on_dataset,
    Kind.VERSION_RESTORED: _on_content,
    Kind.MODEL_TRAINED: _on_models,
    Kind.MODEL_ARCHIVED: _on_models,
    Kind.MODEL_RESTORED: _on_models,
}


def _deletions(connection: sa.Connection, mine: sa.ColumnElement[bool]) -> set[str]:
    return _call_ids(
        connection, sa.select(samples.c.deleted_call).where(mine, samples.c.deleted_at.is_not(None))
    )


def _call_ids(connection: sa.Connection, query: sa.Select[Any]) -> set[str]:
    return {call_id or OUTSIDE for call_id in connection.execute(query.distinct()).scalars()}
