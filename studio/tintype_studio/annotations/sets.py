"""Annotation sets: several answers to the same pictures, such as a person's beside a model's.

A dataset begins with the set ``default``, which status, counters and searches are about; it stays as long as
the dataset. A deleted set lies in the history with all that was saved in it, and gives its name up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.documents import set_row_id
from tintype_studio.catalog.datasets import DEFAULT_SET, Dataset, Datasets
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name, lookup_name
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, samples


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """An annotation set as it is listed."""

    row_id: int
    id: str
    name: str
    description: str | None
    created_at: datetime
    sample_count: int
    """Living samples that have annotations in it."""
    annotation_count: int


class AnnotationSets:
    """Annotation sets of datasets; each call sees only the principal's own."""

    def __init__(self, database: Database, catalog: Datasets) -> None:
        self._db = database
        self._datasets = catalog

    def list(self, principal: Principal, dataset_name: str) -> list[AnnotationSet]:
        """A dataset's sets in the order in which they were made, with what is in each."""
        with self._db.read() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            rows = connection.execute(
                sa.select(annotation_sets)
                .where(annotation_sets.c.dataset_id == dataset.row_id, annotation_sets.c.deleted_at.is_(None))
                .order_by(annotation_sets.c.id)
            ).mappings()
            return [_set(connection, dataset, row) for row in rows.all()]

    def names(self, dataset: Dataset) -> Sequence[sa.RowMapping]:
        """A dataset's sets as rows (``id``, ``name``, ``description``, ``created_at``), without counts."""
        columns = (annotation_sets.c[name] for name in ("id", "name", "description", "created_at"))
        with self._db.read() as connection:
            return (
                connection.execute(
                    sa.select(*columns)
                    .where(
                        annotation_sets.c.dataset_id == dataset.row_id,
                        annotation_sets.c.deleted_at.is_(None),
                    )
                    .order_by(annotation_sets.c.id)
                )
                .mappings()
                .all()
            )

    def get(self, principal: Principal, dataset_name: str, name: str) -> AnnotationSet:
        """One set by name; ``NotFound`` (``annotation_set_not_found``)."""
        with self._db.read() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            return _get(connection, dataset, name)

    def create(
        self, principal: Principal, dataset_name: str, *, name: str, description: str | None = None
    ) -> AnnotationSet:
        """Make an empty set, or raise ``Conflict`` (``annotation_set_exists``)."""
        name = clean_name(name, "Annotation set name")
        uuid = clock.new_id()
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            made = connection.execute(
                self._db.insert_ignore(annotation_sets)
                .values(
                    uuid=uuid,
                    dataset_id=dataset.row_id,
                    name=name,
                    description=description or None,
                    created_at=clock.now(),
                )
                .returning(annotation_sets.c.id)
            ).scalar()
            if made is None:
                raise Conflict(
                    f"Dataset {dataset.name!r} has an annotation set named {name!r}.",
                    code="annotation_set_exists",
                    fix="Use the existing set, or choose another name.",
                )
            log_change(connection, principal, Kind.SET_CREATED, dataset.row_id, subject=uuid, label=name)
            return _get(connection, dataset, name)

    def delete(self, principal: Principal, dataset_name: str, name: str) -> AnnotationSet:
        """Take a set out of its dataset; an undo brings it back. ``Conflict`` for the default one."""
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, dataset_name)
            found = _get(connection, dataset, name)
            if found.name == DEFAULT_SET:
                raise Conflict(
                    f"The annotation set {DEFAULT_SET!r} belongs to its dataset.",
                    code="default_set",
                    fix="Delete its annotations with delete_annotations, or the whole dataset.",
                )
            put_set_away(connection, found.id, principal.call_id)
            log_change(
                connection,
                principal,
                Kind.SET_DELETED,
                dataset.row_id,
                subject=found.id,
                label=found.name,
                detail={"images": found.sample_count, "annotations": found.annotation_count},
            )
        return found


def put_set_away(connection: sa.Connection, set_uuid: str, call_id: str | None) -> None:
    """Mark a living set as deleted by a call, under a name that nobody can choose."""
    connection.execute(
        sa.update(annotation_sets)
        .where(annotation_sets.c.uuid == set_uuid, annotation_sets.c.deleted_at.is_(None))
        .values(
            deleted_name=annotation_sets.c.name,
            name=f"/{set_uuid}",
            deleted_at=clock.now(),
            deleted_call=call_id,
        )
    )


def bring_set_back(connection: sa.Connection, set_uuid: str) -> int:
    """Give a deleted set its name again; returns its row. ``Conflict`` (``name_taken``)."""
    mine, other = annotation_sets, annotation_sets.alias()
    row = connection.execute(sa.select(mine).where(mine.c.uuid == set_uuid)).mappings().one()
    taken = sa.select(other.c.id).where(
        other.c.dataset_id == row["dataset_id"], other.c.name == row["deleted_name"]
    )
    if connection.execute(taken).first() is not None:
        raise Conflict(
            f"Another annotation set is named {row['deleted_name']!r} now.",
            code="name_taken",
            fix="Delete that annotation set first.",
        )
    connection.execute(
        sa.update(mine)
        .where(mine.c.id == row["id"])
        .values(name=row["deleted_name"], deleted_name=None, deleted_at=None)
    )
    return int(row["id"])


def _get(connection: sa.Connection, dataset: Dataset, name: str) -> AnnotationSet:
    row_id = set_row_id(connection, dataset.row_id, lookup_name(name))
    row = connection.execute(sa.select(annotation_sets).where(annotation_sets.c.id == row_id)).mappings()
    return _set(connection, dataset, row.one())


def _set(connection: sa.Connection, dataset: Dataset, row: sa.RowMapping) -> AnnotationSet:
    annotated, total = _counts(connection, dataset, row["id"])
    return AnnotationSet(
        row_id=row["id"],
        id=row["uuid"],
        name=row["name"],
        description=row["description"],
        created_at=row["created_at"],
        sample_count=annotated,
        annotation_count=total,
    )


def _counts(connection: sa.Connection, dataset: Dataset, set_id: int) -> tuple[int, int]:
    """Living samples with annotations in a set, and how many these are."""
    newest = (
        sa.select(sa.func.max(annotation_revisions.c.id))
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .where(
            samples.c.dataset_id == dataset.row_id,
            samples.c.deleted_at.is_(None),
            annotation_revisions.c.annotation_set_id == set_id,
        )
        .group_by(annotation_revisions.c.sample_id)
        .scalar_subquery()
    )
    annotated, total = connection.execute(
        sa.select(
            sa.func.coalesce(
                sa.func.sum(sa.case((annotation_revisions.c.annotation_count > 0, 1), else_=0)), 0
            ),
            sa.func.coalesce(sa.func.sum(annotation_revisions.c.annotation_count), 0),
        ).where(annotation_revisions.c.id.in_(newest))
    ).one()
    return int(annotated), int(total)
