"""How saved annotations and class lists are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tintype_studio.annotations.classes import (
    class_state_of,
    names_in_use,
    replace_classes,
    require_options_kept,
)
from tintype_studio.annotations.documents import replace_document
from tintype_studio.annotations.options import declared_in
from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.catalog.samples import Samples, Status
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.dependents import OUTSIDE, batches, conflict
from tintype_studio.history.step import Step, admit_returning, learned_detail, names_in, require_options_in
from tintype_studio.storage.tables import annotation_revisions, changes, datasets, samples


def revisions_of(row: sa.RowMapping) -> tuple[int, int] | None:
    """Bounds of the ids of the revisions that a row of saves is about: after the first, up to the second.

    None when it is about all that its call saved in the dataset. The undo of a session saves more than once,
    and deletes and restores images between; taking it back retraces that step by step.
    """
    bounds = (row["detail"] or {}).get("revisions")
    return None if bounds is None else (bounds[0], bounds[1])


def restore_classes(step: Step, row: sa.RowMapping) -> int:
    """Put the class list back."""
    before = row["detail"]["before"]
    # Not what the row left: since then, saves may have taught an undeclared list more names.
    now = class_state_of(step.connection, step.dataset_id)
    classes = [DatasetClass.from_json(c) for c in before["classes"]]
    missing = names_in_use(step.connection, step.dataset_id) - {c.name for c in classes}
    if missing:
        raise Conflict(
            f"Annotations saved since then use: {', '.join(sorted(missing)[:20])}.",
            code="class_in_use",
            fix="Undo the calls that saved them first; list_changes shows them.",
        )
    # An attribute that was none before may go though annotations choose from it: the values stay as metadata,
    # which they may have been before it was declared.
    require_options_kept(
        step.connection,
        step.dataset_id,
        [],
        classes,
        fix="Undo the calls that saved them first; list_changes shows them.",
    )
    replace_classes(step.connection, step.dataset_id, classes, declared=before["declared"])
    step.log(row, Kind.CLASSES_SET, count=len(classes), detail={"before": now, "after": before})
    return 1


def restore_annotations(step: Step) -> int:
    """Give every sample that was saved the document and the status that it had before all of the saves.

    The document comes back byte for byte. What it had between two of them is not written: the next one would
    be taken back at once.
    """
    connection, principal = step.connection, step.principal
    mine = sa.and_(annotation_revisions.c.call_id.in_(step.call_ids), samples.c.dataset_id == step.dataset_id)
    if bounds := [own for row in step.rows if (own := revisions_of(row)) is not None]:
        after, last = min(own[0] for own in bounds), max(own[1] for own in bounds)
        mine = sa.and_(mine, annotation_revisions.c.id > after, annotation_revisions.c.id <= last)
    firsts = connection.execute(
        sa.select(
            annotation_revisions.c.sample_id,
            annotation_revisions.c.annotation_set_id,
            sa.func.min(annotation_revisions.c.revision).label("first"),
        )
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .where(mine)
        .group_by(annotation_revisions.c.sample_id, annotation_revisions.c.annotation_set_id)
        .order_by(annotation_revisions.c.sample_id)
    ).all()
    _lock_living(connection, [row.sample_id for row in firsts])
    newest = sa.select(sa.func.coalesce(sa.func.max(annotation_revisions.c.id), 0))
    written_after = connection.execute(newest).scalar_one()
    learned: set[str] = set()
    declared = declared_in(connection, step.dataset_id)
    for sample_id, set_id, first in firsts:
        step.check()
        saved_first, before = _revision(connection, sample_id, set_id, first), None
        if first > 1:
            before = _revision(connection, sample_id, set_id, first - 1)
        text, count = ("[]", 0) if before is None else (before.document, before.annotation_count)
        status = saved_first and saved_first.status_before and Status(saved_first.status_before)
        sample = Samples.of_row(connection, sample_id)
        learned |= set(admit_returning(step, names_in([text])))
        require_options_in(text, declared)
        replace_document(connection, principal, sample, text, count, status=status or None, set_id=set_id)
    learned |= set(admit_returning(step, _forgotten(step)))
    saved: dict[str, int] = {
        row.call_id: row.images
        for row in connection.execute(
            sa.select(
                annotation_revisions.c.call_id,
                sa.func.count(sa.distinct(annotation_revisions.c.sample_id)).label("images"),
            )
            .join(samples, samples.c.id == annotation_revisions.c.sample_id)
            .where(mine)
            .group_by(annotation_revisions.c.call_id)
        )
    }
    written = {"revisions": [written_after, connection.execute(newest).scalar_one()]}
    detail = learned_detail(sorted(learned))
    for row in step.rows:
        step.check()
        count = saved.get(row["call_id"], 0) if revisions_of(row) is None else row["count"]
        step.log(row, Kind.ANNOTATIONS_SAVED, count=count, detail={**detail, **written})
        detail = {}  # once: they were learned once
    return sum(saved.values())


def _revision(
    connection: sa.Connection, sample_id: int, set_id: int, revision: int
) -> sa.Row[Any, Any, Any] | None:
    return connection.execute(
        sa.select(
            annotation_revisions.c.document,
            annotation_revisions.c.annotation_count,
            annotation_revisions.c.status_before,
        ).where(
            annotation_revisions.c.sample_id == sample_id,
            annotation_revisions.c.annotation_set_id == set_id,
            annotation_revisions.c.revision == revision,
        )
    ).first()


def _forgotten(step: Step) -> list[str]:
    """Classes that the saves which are done again had taught, and that nothing may use any more.

    None for a dataset whose classes are declared: those come back with their list.
    """
    names: dict[str, None] = {}
    again = sorted({row["undo_of"] for row in step.rows if row["undo_of"] is not None})
    for part in batches(again):
        details = step.connection.execute(
            sa.select(changes.c.detail)
            .join(datasets, datasets.c.id == changes.c.dataset_id)
            .where(
                changes.c.dataset_id == step.dataset_id,
                changes.c.call_id.in_(part),
                changes.c.kind == Kind.ANNOTATIONS_SAVED.value,
                datasets.c.classes_declared.is_(False),
            )
            .order_by(changes.c.id)
        ).scalars()
        for detail in details:
            names |= dict.fromkeys((detail or {}).get("classes_added", ()))
    return list(names)


def _lock_living(connection: sa.Connection, sample_ids: Sequence[int]) -> None:
    """Hold the samples until the end; none of them may lie in the bin, where no counter counts them."""
    for part in batches(sample_ids):
        gone = {
            row.deleted_call or OUTSIDE
            for row in connection.execute(
                sa.select(samples.c.deleted_at, samples.c.deleted_call)
                .where(samples.c.id.in_(part))
                .order_by(samples.c.id)
                .with_for_update()
            )
            if row.deleted_at is not None
        }
        if gone:
            raise conflict(connection, gone)
