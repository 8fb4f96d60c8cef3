"""What was changed, by which call: the log that undo and the recycle bin build on.

A row sums up one kind of change of one call in one dataset; the changed rows themselves (samples,
revisions) carry the call's id. Rows are never removed; undoing marks them and adds rows of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name
from tintype_studio.storage.database import Database
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import api_keys, changes, datasets, restore_points

MAX_PAGE = 1000


PURGED = "purged"
"""In ``undone_by``: what the call deleted is gone for good."""


class Kind(StrEnum):
    """Kinds of changes, ``what.how``."""

    DATASET_CREATED = "dataset.created"
    DATASET_DELETED = "dataset.deleted"
    DATASET_RESTORED = "dataset.restored"
    DATASET_UPDATED = "dataset.updated"
    CLASSES_SET = "classes.set"
    LABELS_CHANGED = "labels.changed"
    """Single classes, by :mod:`tintype_studio.annotations.labels`, instead of the whole list."""
    IMAGES_ADDED = "images.added"
    IMAGES_DELETED = "images.deleted"
    IMAGES_RESTORED = "images.restored"
    IMAGES_MOVED = "images.moved"
    IMAGES_UPDATED = "images.updated"
    ANNOTATIONS_SAVED = "annotations.saved"
    SAMPLES_ADDED = "samples.added"
    """Samples of several sensors, whose files may come later; pictures alone are ``images.added``."""
    SAMPLES_UPDATED = "samples.updated"
    """Their columns: group, size, sequence, frame and what else is known of them."""
    FILES_ADDED = "sample_files.added"
    """Files of samples that were there."""
    FILES_REMOVED = "sample_files.removed"
    SET_CREATED = "annotation_set.created"
    SET_DELETED = "annotation_set.deleted"
    SNAPSHOT_CREATED = "snapshot.created"
    SNAPSHOT_DELETED = "snapshot.deleted"
    VERSION_CREATED = "version.created"
    VERSION_DELETED = "version.deleted"
    VERSION_RESTORED = "version.restored"
    """A dataset was brought to the state of a version."""
    PROJECT_CREATED = "project.created"
    PROJECT_DELETED = "project.deleted"
    GROUP_CREATED = "group.created"
    GROUP_DELETED = "group.deleted"
    EXPERIMENT_CREATED = "experiment.created"
    EXPERIMENT_DELETED = "experiment.deleted"
    SESSION_CREATED = "session.created"
    """Of training or validation, that somebody else fills; what is trained here is ``model.trained``."""
    SESSION_DELETED = "session.deleted"
    MODEL_TRAINED = "model.trained"
    MODEL_ARCHIVED = "model.archived"
    MODEL_RESTORED = "model.restored"
    PURGED = "bin.purged"
    """The one kind that cannot be undone."""


OF_MODELS = frozenset({Kind.MODEL_TRAINED, Kind.MODEL_ARCHIVED, Kind.MODEL_RESTORED})
"""What outlives the dataset: a model stays when the pictures that it learned from are purged."""

OF_ORGANIZATION = frozenset(
    {
        Kind.PROJECT_CREATED,
        Kind.PROJECT_DELETED,
        Kind.SNAPSHOT_CREATED,
        Kind.SNAPSHOT_DELETED,
        Kind.EXPERIMENT_CREATED,
        Kind.EXPERIMENT_DELETED,
        Kind.SESSION_CREATED,
        Kind.SESSION_DELETED,
    }
)
"""What lies in no dataset: undone without one."""

OF_CONTENT = frozenset(
    {
        Kind.DATASET_CREATED,
        Kind.DATASET_DELETED,
        Kind.DATASET_RESTORED,
        Kind.DATASET_UPDATED,
        Kind.CLASSES_SET,
        Kind.LABELS_CHANGED,
        Kind.IMAGES_ADDED,
        Kind.IMAGES_DELETED,
        Kind.IMAGES_RESTORED,
        Kind.IMAGES_MOVED,
        Kind.IMAGES_UPDATED,
        Kind.ANNOTATIONS_SAVED,
        Kind.SAMPLES_ADDED,
        Kind.SAMPLES_UPDATED,
        Kind.FILES_ADDED,
        Kind.FILES_REMOVED,
        Kind.SET_CREATED,
        Kind.SET_DELETED,
        Kind.GROUP_CREATED,
        Kind.GROUP_DELETED,
        Kind.VERSION_RESTORED,
    }
)
"""What makes a dataset other than it was; what else is said of one (a model was trained on it) does not."""


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change that a call made in one dataset."""

    id: int
    call_id: str
    tool: str | None
    session: str | None
    key_prefix: str | None
    kind: Kind
    dataset: str | None
    """The dataset's name; None when it was purged."""
    subject: str | None
    """UUID of what was changed, when it was one thing."""
    label: str | None
    """Its name."""
    count: int
    """How many things were changed."""
    detail: dict[str, Any]
    created_at: datetime
    undone_by: str | None
    """The call that undid it, while it is undone; ``purged`` when what it deleted is gone for good."""
    undo_of: str | None
    """The call that this one undid."""


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A mark that was set in the history before a call that deletes or changes much."""

    id: str
    call_id: str
    tool: str
    created_at: datetime


class Changes:
    """Reads the log; each principal sees its own organization's."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def page(
        self,
        principal: Principal,
        *,
        limit: int = 100,
        before: int | None = None,
        dataset: str | None = None,
        session: str | None = None,
        call_id: str | None = None,
    ) -> list[Change]:
        """Changes, newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = _listed(principal).order_by(changes.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(changes.c.id < before)
        if dataset is not None:
            query = query.where(datasets.c.name == lookup_name(dataset))
        if session is not None:
            query = query.where(changes.c.session == session)
        if call_id is not None:
            query = query.where(changes.c.call_id == call_id)
        with self._db.read() as connection:
            return [_change(row) for row in connection.execute(query).mappings()]

    def of_call(self, principal: Principal, call_id: str) -> list[Change]:
        """Everything that a call changed, in order; inside a unit of work, what it has changed so far."""
        query = _listed(principal).where(changes.c.call_id == call_id).order_by(changes.c.id)
        with self._db.read() as connection:
            return [_change(row) for row in connection.execute(query).mappings()]

    def mark(self, principal: Principal, tool: str) -> str:
        """Set a restore point for the running call; returns its id."""
        uuid = clock.new_id()
        with self._db.write() as connection:
            last = connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(changes.c.id), 0)).where(
                    changes.c.organization_id == principal.organization_id
                )
            ).scalar_one()
            connection.execute(
                sa.insert(restore_points).values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    call_id=principal.call_id or uuid,
                    tool=tool,
                    last_change=last,
                    created_at=clock.now(),
                )
            )
        return uuid

    def unmark(self, uuid: str) -> None:
        """Take a restore point away: what it was set for changed nothing."""
        with self._db.write(durable=False) as connection:
            connection.execute(sa.delete(restore_points).where(restore_points.c.uuid == uuid))

    def restore_points(self, principal: Principal, *, limit: int = 20) -> list[RestorePoint]:
        """Restore points, newest first."""
        query = (
            sa.select(restore_points)
            .where(restore_points.c.organization_id == principal.organization_id)
            .order_by(restore_points.c.id.desc())
            .limit(limit)
        )
        with self._db.read() as connection:
            return [
                RestorePoint(r["uuid"], r["call_id"], r["tool"], r["created_at"])
                for r in connection.execute(query).mappings()
            ]


_INSERT = Prepared(
    sa.insert(changes),
    columns=(
        "organization_id",
        "dataset_id",
        "call_id",
        "api_key_id",
        "session",
        "tool",
        "kind",
        "subject",
        "label",
        "count",
        "detail",
        "undo_of",
        "created_at",
    ),
)


def log_change(
    connection: sa.Connection,
    principal: Principal,
    kind: Kind,
    dataset_row_id: int | None,
    *,
    subject: str | None = None,
    label: str | None = None,
    count: int = 1,
    detail: dict[str, Any] | None = None,
    undo_of: str | None = None,
) -> None:
    """Add a row in the transaction of the change. Nothing, when the principal acts in no call."""
    if principal.call_id is None:
        return
    _INSERT.run(
        connection,
        {
            "organization_id": principal.organization_id,
            "dataset_id": dataset_row_id,
            "call_id": principal.call_id,
            "api_key_id": principal.key_id,
            "session": principal.session,
            "tool": principal.tool,
            "kind": kind.value,
            "subject": subject,
            "label": label[:300] if label else None,
            "count": count,
            "detail": detail,
            "undo_of": undo_of,
            "created_at": clock.now(),
        },
    )


def add_to_change(
    connection: sa.Connection,
    principal: Principal,
    kind: Kind,
    dataset_row_id: int,
    count: int,
    *,
    classes_added: Sequence[str] = (),
) -> None:
    """Count further changes of the running call into its row, made when it is the first.

    ``classes_added`` are class names that the dataset learned by these changes; the row keeps all of them.
    """
    detail = {"classes_added": list(classes_added)} if classes_added else None
    mine = sa.and_(
        changes.c.call_id == principal.call_id,
        changes.c.kind == kind.value,
        changes.c.dataset_id == dataset_row_id,
    )
    values: dict[str, Any] = {"count": changes.c.count + count}
    if detail is not None:
        before = connection.execute(sa.select(changes.c.detail).where(mine)).scalar() or {}
        known = before.get("classes_added", [])
        values["detail"] = {**before, "classes_added": list(dict.fromkeys([*known, *classes_added]))}
    counted = connection.execute(sa.update(changes).where(mine).values(**values)).rowcount
    if not counted:
        log_change(connection, principal, kind, dataset_row_id, count=count, detail=detail)


def _listed(principal: Principal) -> sa.Select[Any]:
    return (
        sa.select(changes, datasets.c.name.label("dataset_name"), api_keys.c.prefix)
        .outerjoin(datasets, datasets.c.id == changes.c.dataset_id)
        .outerjoin(api_keys, api_keys.c.id == changes.c.api_key_id)
        .where(changes.c.organization_id == principal.organization_id)
    )


def _change(row: sa.RowMapping) -> Change:
    return Change(
        id=row["id"],
        call_id=row["call_id"],
        tool=row["tool"],
        session=row["session"],
        key_prefix=row["prefix"],
        kind=Kind(row["kind"]),
        dataset=row["dataset_name"],
        subject=row["subject"],
        label=row["label"],
        count=row["count"],
        detail=row["detail"] or {},
        created_at=row["created_at"],
        undone_by=row["undone_by"],
        undo_of=row["undo_of"],
    )
