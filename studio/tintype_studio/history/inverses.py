"""How each kind of change is taken back: one function per kind, in the transaction of the undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import admit_classes, names_in_use, replace_classes
from tintype_studio.annotations.documents import replace_document
from tintype_studio.catalog.datasets import DatasetClass, put_into_bin
from tintype_studio.catalog.samples import Samples, add_to_counters
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import annotation_revisions, datasets, sample_files, samples


@dataclass(frozen=True, slots=True)
class Step:
    """One change that is being taken back."""

    connection: sa.Connection
    principal: Principal
    """Who undoes, in which call."""
    call_id: str
    """The call that is undone."""
    row: sa.RowMapping

    @property
    def dataset_id(self) -> int:
        """Row id of the dataset."""
        return int(self.row["dataset_id"])

    @property
    def deleting_call(self) -> str:
        """For a restored thing: the call that had deleted it."""
        return str((self.row["detail"] or {}).get("call", self.call_id))

    def log(self, kind: Kind, *, count: int, detail: dict[str, object] | None = None) -> None:
        """Record what the undo did."""
        log_change(
            self.connection,
            self.principal,
            kind,
            self.dataset_id,
            subject=self.row["subject"],
            label=self.row["label"],
            count=count,
            detail=detail,
            undo_of=self.call_id,
        )


def _delete_dataset(step: Step) -> int:
    put_into_bin(step.connection, step.dataset_id, clock.now(), step.principal.call_id)
    step.log(Kind.DATASET_DELETED, count=1)
    return 1


def _restore_dataset(step: Step) -> int:
    connection = step.connection
    living = datasets.alias()
    taken = connection.execute(
        sa.select(datasets.c.name)
        .join(
            living,
            sa.and_(
                living.c.organization_id == datasets.c.organization_id,
                living.c.name == datasets.c.name,
                living.c.deleted_at.is_(None),
            ),
        )
        .where(datasets.c.id == step.dataset_id)
    ).scalar()
    if taken is not None:
        raise Conflict(
            f"Another dataset is named {taken!r} now.",
            code="name_taken",
            fix="Delete that dataset first, or undo the call that created it.",
        )
    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == step.dataset_id)
        .values(deleted_at=None, updated_at=clock.now())
    )
    connection.execute(
        sa.update(samples)
        .where(samples.c.dataset_id == step.dataset_id, samples.c.deleted_call == step.deleting_call)
        .values(deleted_at=None)
    )
    step.log(Kind.DATASET_RESTORED, count=1, detail={"call": step.deleting_call})
    return 1


def _delete_added(step: Step) -> int:
    return _delete_samples(step, samples.c.created_call == step.call_id)


def _delete_again(step: Step) -> int:
    return _delete_samples(step, samples.c.deleted_call == step.deleting_call)


def _delete_samples(step: Step, which: sa.ColumnElement[bool]) -> int:
    mine = sa.and_(samples.c.dataset_id == step.dataset_id, samples.c.deleted_at.is_(None), which)
    count = _count(step, mine, sign=-1)
    step.connection.execute(
        sa.update(samples).where(mine).values(deleted_at=clock.now(), deleted_call=step.principal.call_id)
    )
    step.log(Kind.IMAGES_DELETED, count=count)
    return count


def _restore_samples(step: Step) -> int:
    mine = sa.and_(
        samples.c.dataset_id == step.dataset_id,
        samples.c.deleted_call == step.deleting_call,
        samples.c.deleted_at.is_not(None),
    )
    living = samples.alias()
    taken = step.connection.execute(
        sa.select(samples.c.filename)
        .join(
            living,
            sa.and_(
                living.c.dataset_id == samples.c.dataset_id,
                living.c.folder == samples.c.folder,
                living.c.filename == samples.c.filename,
                living.c.deleted_at.is_(None),
            ),
        )
        .where(mine)
    ).scalar()
    if taken is not None:
        raise Conflict(
            f"Another image is named {taken!r} now.",
            code="name_taken",
            fix="Delete that image first, or undo the call that uploaded it.",
        )
    count = _count(step, mine, sign=1)
    step.connection.execute(sa.update(samples).where(mine).values(deleted_at=None))
    step.log(Kind.IMAGES_RESTORED, count=count, detail={"call": step.deleting_call})
    return count


def _count(step: Step, which: sa.ColumnElement[bool], *, sign: int) -> int:
    """Add the samples to, or take them off, the dataset's counters; returns how many they are."""
    row = step.connection.execute(
        sa.select(
            sa.func.count().label("images"),
            sa.func.coalesce(sa.func.sum(sa.case((samples.c.status == "complete", 1), else_=0)), 0).label(
                "completed"
            ),
            sa.func.coalesce(sa.func.sum(samples.c.annotation_count), 0).label("annotations"),
            sa.func.coalesce(
                sa.func.sum(
                    sa.select(sa.func.coalesce(sa.func.sum(sample_files.c.size), 0))
                    .where(sample_files.c.sample_id == samples.c.id)
                    .scalar_subquery()
                ),
                0,
            ).label("size"),
        ).where(which)
    ).one()
    add_to_counters(
        step.connection,
        step.dataset_id,
        images=sign * row.images,
        completed=sign * int(row.completed),
        annotations=sign * int(row.annotations),
        size=sign * int(row.size),
    )
    return int(row.images)


def _restore_classes(step: Step) -> int:
    detail = step.row["detail"]
    before, after = detail["before"], detail["after"]
    classes = [DatasetClass(**c) for c in before["classes"]]
    missing = names_in_use(step.connection, step.dataset_id) - {c.name for c in classes}
    if missing:
        raise Conflict(
            f"Annotations saved since then use: {', '.join(sorted(missing)[:20])}.",
            code="class_in_use",
            fix="Undo the calls that saved them first; list_changes shows them.",
        )
    replace_classes(step.connection, step.dataset_id, classes, declared=before["declared"])
    step.log(Kind.CLASSES_SET, count=len(classes), detail={"before": after, "after": before})
    return 1


def _restore_annotations(step: Step) -> int:
    """Give every sample that the call saved the document that it had before, byte for byte."""
    connection, principal = step.connection, step.principal
    firsts = connection.execute(
        sa.select(
            annotation_revisions.c.sample_id,
            annotation_revisions.c.annotation_set_id,
            sa.func.min(annotation_revisions.c.revision).label("first"),
        )
        .where(annotation_revisions.c.call_id == step.call_id)
        .group_by(annotation_revisions.c.sample_id, annotation_revisions.c.annotation_set_id)
    ).all()
    learned: set[str] = set()
    for sample_id, set_id, first in firsts:
        before = connection.execute(
            sa.select(annotation_revisions.c.document, annotation_revisions.c.annotation_count).where(
                annotation_revisions.c.sample_id == sample_id,
                annotation_revisions.c.annotation_set_id == set_id,
                annotation_revisions.c.revision == first - 1,
            )
        ).first()
        text, count = ("[]", 0) if before is None else (before.document, before.annotation_count)
        sample = Samples.of_row(connection, sample_id)
        learned |= set(_admit_classes(step, text))
        replace_document(connection, principal, sample, text, count)
    step.log(
        Kind.ANNOTATIONS_SAVED,
        count=len(firsts),
        detail={"classes_added": sorted(learned)} if learned else None,
    )
    return len(firsts)


def _admit_classes(step: Step, text: str) -> list[str]:
    """Teach the dataset the classes of a document that comes back; returns those that it had forgotten."""
    names = {annotation["name"]: None for annotation in orjson.loads(text)}
    try:
        return admit_classes(step.connection, step.dataset_id, list(names))
    except InvalidInput as error:
        raise Conflict(
            f"The annotations that would come back use classes that are gone. {error.message}",
            code="class_missing",
            fix="Undo the change of the class list first; list_changes shows it.",
        ) from error


INVERSES: dict[Kind, Callable[[Step], int]] = {
    Kind.DATASET_CREATED: _delete_dataset,
    Kind.DATASET_DELETED: _restore_dataset,
    Kind.DATASET_RESTORED: _delete_dataset,
    Kind.IMAGES_ADDED: _delete_added,
    Kind.IMAGES_DELETED: _restore_samples,
    Kind.IMAGES_RESTORED: _delete_again,
    Kind.CLASSES_SET: _restore_classes,
    Kind.ANNOTATIONS_SAVED: _restore_annotations,
}
"""Takes a change back and returns how many things it touched."""
