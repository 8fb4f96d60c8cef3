"""How each kind of change is taken back: one function per kind, in the transaction of the undo.

Neighbouring changes of one kind in one dataset are taken back in one step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import (
    admit_classes,
    class_state_of,
    names_in_use,
    newest_revision,
    replace_classes,
)
from tintype_studio.annotations.documents import replace_document
from tintype_studio.catalog.datasets import DatasetClass, put_into_bin
from tintype_studio.catalog.samples import Samples, Status, add_to_counters
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.history.dependents import OUTSIDE, batches, conflict, touched_images
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import annotation_revisions, changes, datasets, sample_files, samples
from tintype_studio.training.models import set_archived, set_restored

_TAKING = frozenset({Kind.DATASET_DELETED, Kind.IMAGES_DELETED, Kind.MODEL_ARCHIVED})


@dataclass(frozen=True, slots=True)
class Step:
    """Changes of one kind in one dataset that are taken back together, newest first."""

    connection: sa.Connection
    principal: Principal
    """Who undoes, in which call."""
    rows: Sequence[sa.RowMapping]
    check: Callable[[], None]
    """Raises when the undo must stop; everything it did is rolled back then."""

    @property
    def kind(self) -> Kind:
        """Of all the rows."""
        return Kind(self.rows[0]["kind"])

    @property
    def dataset_id(self) -> int:
        """Row id of the dataset."""
        return int(self.rows[0]["dataset_id"])

    @property
    def call_ids(self) -> list[str]:
        """The calls that are undone, newest first."""
        return list(dict.fromkeys(row["call_id"] for row in self.rows))

    def log(
        self, row: sa.RowMapping, kind: Kind, *, count: int, detail: dict[str, object] | None = None
    ) -> None:
        """Record what the undo of ``row`` did, and whether it takes away what somebody else made."""
        detail = detail or {}
        if kind in _TAKING and row["api_key_id"] != self.principal.key_id:
            detail = {**detail, "of_others": True}
        log_change(
            self.connection,
            self.principal,
            kind,
            row["dataset_id"],
            subject=row["subject"],
            label=row["label"],
            count=count,
            detail=detail or None,
            undo_of=row["call_id"],
        )


def _one_by_one(inverse: Callable[[Step, sa.RowMapping], int]) -> Callable[[Step], int]:
    """An inverse of many rows from that of one."""

    def all_of(step: Step) -> int:
        count = 0
        for row in step.rows:
            step.check()
            count += inverse(step, row)
        return count

    return all_of


def _same_images(row: sa.RowMapping) -> dict[str, object]:
    """What tells further undos whose images a change was about, where it has no single one."""
    added_by = (row["detail"] or {}).get("added_by")
    return {} if added_by is None else {"added_by": added_by}


def revisions_of(row: sa.RowMapping) -> tuple[int, int] | None:
    """Bounds of the ids of the revisions that a row of saves is about: after the first, up to the second.

    None when it is about all that its call saved in the dataset. The undo of a session saves more than once,
    and deletes and restores images between; taking it back retraces that step by step.
    """
    bounds = (row["detail"] or {}).get("revisions")
    return None if bounds is None else (bounds[0], bounds[1])


def _learned(names: Sequence[str]) -> dict[str, object]:
    return {"classes_added": sorted(names)} if names else {}


def _delete_dataset(step: Step, row: sa.RowMapping) -> int:
    put_into_bin(step.connection, step.dataset_id, clock.now(), step.principal.call_id)
    step.log(row, Kind.DATASET_DELETED, count=1)
    return 1


def _restore_dataset(step: Step, row: sa.RowMapping) -> int:
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
    # What went with the dataset. Not always by the call that is undone: the deletion may have been undone,
    # and that undone.
    whole = sa.select(datasets.c.deleted_call, datasets.c.deleted_at).where(datasets.c.id == step.dataset_id)
    deleted_by, deleted_at = connection.execute(whole).one()
    connection.execute(
        sa.update(samples)
        .where(
            samples.c.dataset_id == step.dataset_id,
            samples.c.deleted_call.is_not_distinct_from(deleted_by),
            samples.c.deleted_at == deleted_at,
        )
        .values(deleted_at=None)
    )
    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == step.dataset_id)
        .values(deleted_at=None, updated_at=clock.now())
    )
    _recount(connection, step.dataset_id)
    added = _admit_classes(step, sorted(names_in_use(connection, step.dataset_id)))
    step.log(row, Kind.DATASET_RESTORED, count=1, detail={"call": row["call_id"], **_learned(added)})
    return 1


def _recount(connection: sa.Connection, dataset_row_id: int) -> None:
    """Make a dataset's counters those of its living images.

    While it lay in the bin nothing kept them, and with it come images that its call had deleted alone.
    """
    mine = sa.and_(samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None))

    def total(what: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
        return sa.select(sa.func.coalesce(sa.func.sum(what), 0)).where(mine).scalar_subquery()

    connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == dataset_row_id)
        .values(
            image_count=total(sa.literal(1)),
            completed_image_count=total(sa.case((samples.c.status == Status.COMPLETE.value, 1), else_=0)),
            annotation_count=total(samples.c.annotation_count),
            total_size=sa.select(sa.func.coalesce(sa.func.sum(sample_files.c.size), 0))
            .join(samples, samples.c.id == sample_files.c.sample_id)
            .where(mine)
            .scalar_subquery(),
        )
    )


def _delete_added(step: Step) -> int:
    """Delete the images that the calls uploaded."""
    step.check()
    deleted: Counter[str] = Counter()
    for part in batches(step.call_ids):
        deleted.update(_delete_samples(step, samples.c.created_call.in_(part)))
    for row in step.rows:
        step.check()
        step.log(row, Kind.IMAGES_DELETED, count=deleted[row["call_id"]], detail={"added_by": row["call_id"]})
    return deleted.total()


def _delete_again(step: Step, row: sa.RowMapping) -> int:
    count = len(_delete_samples(step, touched_images(row)))
    step.log(row, Kind.IMAGES_DELETED, count=count, detail=_same_images(row))
    return count


def _delete_samples(step: Step, which: sa.ColumnElement[bool]) -> list[str]:
    """Put living samples into the bin; returns the calls that had uploaded them, one for each."""
    mine = sa.and_(samples.c.dataset_id == step.dataset_id, samples.c.deleted_at.is_(None), which)
    gone = _move(step, mine, sign=-1, deleted_at=clock.now(), deleted_call=step.principal.call_id)
    return [row.created_call for row in gone]


def _restore_samples(step: Step, row: sa.RowMapping) -> int:
    dead = sa.and_(touched_images(row), samples.c.deleted_at.is_not(None))
    mine = sa.and_(dead, samples.c.deleted_call.in_(_deletions(step, row, dead)))
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
    back = _move(step, mine, sign=1, deleted_at=None)
    added = _admit_classes(step, _names_on(step.connection, [sample.id for sample in back]))
    detail = {"call": row["call_id"], **_same_images(row), **_learned(added)}
    step.log(row, Kind.IMAGES_RESTORED, count=len(back), detail=detail)
    return len(back)


def _deletions(step: Step, row: sa.RowMapping, dead: sa.ColumnElement[bool]) -> list[str]:
    """The calls whose deletion of images is that of ``row``: its own, or one that did it again.

    A deletion that was undone is done again by the undo of that undo, which is then what the images bear.
    """
    found = step.connection.execute(sa.select(samples.c.deleted_call).where(dead).distinct()).scalars()
    calls = {call for call in found if call is not None}
    own, others = {row["call_id"]} & calls, calls - {row["call_id"]}
    mine = _repeated(step, row["call_id"]) if others else set[str]()
    return sorted(own | {call for call in others if _repeated(step, call) & mine})


def _repeated(step: Step, call_id: str) -> set[str]:
    """A call, the one that it did again by undoing its undo, and so on."""
    calls, done_again, seen, found = {call_id}, True, set[str](), set[str]()
    while calls - seen:
        seen |= calls
        found |= calls if done_again else set()
        undone: set[str] = set()
        for part in batches(sorted(calls)):
            undone |= set(
                step.connection.execute(
                    sa.select(changes.c.undo_of).where(
                        changes.c.dataset_id == step.dataset_id,
                        changes.c.call_id.in_(part),
                        changes.c.undo_of.is_not(None),
                    )
                ).scalars()
            )
        calls, done_again = undone, not done_again
    return found


def _move(step: Step, which: sa.ColumnElement[bool], *, sign: int, **values: object) -> Sequence[sa.Row[Any]]:
    """Change samples, and count those that were changed into the dataset's counters or out of them.

    What is counted is what the one statement changed, whatever others do beside it.
    """
    moved = step.connection.execute(
        sa.update(samples)
        .where(which)
        .values(**values)
        .returning(samples.c.id, samples.c.created_call, samples.c.status, samples.c.annotation_count)
    ).all()
    if not moved:
        return moved
    size = 0
    for part in batches([row.id for row in moved]):
        size += int(
            step.connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(sample_files.c.size), 0)).where(
                    sample_files.c.sample_id.in_(part)
                )
            ).scalar_one()
        )
    add_to_counters(
        step.connection,
        step.dataset_id,
        images=sign * len(moved),
        completed=sign * sum(row.status == Status.COMPLETE for row in moved),
        annotations=sign * sum(row.annotation_count for row in moved),
        size=sign * size,
    )
    return moved


def _names_on(connection: sa.Connection, sample_ids: Sequence[int]) -> list[str]:
    """Class names that the current annotations of samples carry."""
    names: dict[str, None] = {}
    for part in batches(sample_ids):
        newest = (
            newest_revision()
            .where(annotation_revisions.c.sample_id.in_(part))
            .group_by(annotation_revisions.c.sample_id)
            .scalar_subquery()
        )
        documents = connection.execute(
            sa.select(annotation_revisions.c.document)
            .where(annotation_revisions.c.id.in_(newest))
            .order_by(annotation_revisions.c.id)
        ).scalars()
        names |= dict.fromkeys(_names_in(documents))
    return list(names)


def _names_in(documents: Iterable[str]) -> list[str]:
    """Class names in the order in which they occur: that in which a dataset learns them."""
    names = (annotation["name"] for text in documents for annotation in orjson.loads(text))
    return list(dict.fromkeys(names))


def _restore_classes(step: Step, row: sa.RowMapping) -> int:
    before = row["detail"]["before"]
    # Not what the row left: since then, saves may have taught an undeclared list more names.
    now = class_state_of(step.connection, step.dataset_id)
    classes = [DatasetClass(**c) for c in before["classes"]]
    missing = names_in_use(step.connection, step.dataset_id) - {c.name for c in classes}
    if missing:
        raise Conflict(
            f"Annotations saved since then use: {', '.join(sorted(missing)[:20])}.",
            code="class_in_use",
            fix="Undo the calls that saved them first; list_changes shows them.",
        )
    replace_classes(step.connection, step.dataset_id, classes, declared=before["declared"])
    step.log(row, Kind.CLASSES_SET, count=len(classes), detail={"before": now, "after": before})
    return 1


def _restore_annotations(step: Step) -> int:
    """Give every sample that was saved the document that it had before all of the saves, byte for byte.

    What it had between two of them is not written: the next one would be taken back at once.
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
    for sample_id, set_id, first in firsts:
        step.check()
        before = connection.execute(
            sa.select(annotation_revisions.c.document, annotation_revisions.c.annotation_count).where(
                annotation_revisions.c.sample_id == sample_id,
                annotation_revisions.c.annotation_set_id == set_id,
                annotation_revisions.c.revision == first - 1,
            )
        ).first()
        text, count = ("[]", 0) if before is None else (before.document, before.annotation_count)
        sample = Samples.of_row(connection, sample_id)
        learned |= set(_admit_classes(step, _names_in([text])))
        replace_document(connection, principal, sample, text, count)
    learned |= set(_admit_classes(step, _forgotten(step)))
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
    detail = _learned(sorted(learned))
    for row in step.rows:
        step.check()
        count = saved.get(row["call_id"], 0) if revisions_of(row) is None else row["count"]
        step.log(row, Kind.ANNOTATIONS_SAVED, count=count, detail={**detail, **written})
        detail = {}  # once: they were learned once
    return sum(saved.values())


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


def _admit_classes(step: Step, names: list[str]) -> list[str]:
    """Teach the dataset the classes of annotations that come back; returns those that it had forgotten."""
    if not names:
        return []
    try:
        return admit_classes(step.connection, step.dataset_id, names)
    except InvalidInput as error:
        raise Conflict(
            f"The annotations that would come back use classes that are gone. {error.message}",
            code="class_missing",
            fix="Undo the change of the class list first; list_changes shows it.",
        ) from error


def _archive_model(step: Step, row: sa.RowMapping) -> int:
    count = int(set_archived(step.connection, row["subject"], step.principal.call_id))
    step.log(row, Kind.MODEL_ARCHIVED, count=count)
    return count


def _restore_model(step: Step, row: sa.RowMapping) -> int:
    count = int(set_restored(step.connection, row["subject"]))
    step.log(row, Kind.MODEL_RESTORED, count=count)
    return count


INVERSES: dict[Kind, Callable[[Step], int]] = {
    Kind.DATASET_CREATED: _one_by_one(_delete_dataset),
    Kind.DATASET_DELETED: _one_by_one(_restore_dataset),
    Kind.DATASET_RESTORED: _one_by_one(_delete_dataset),
    Kind.IMAGES_ADDED: _delete_added,
    Kind.IMAGES_DELETED: _one_by_one(_restore_samples),
    Kind.IMAGES_RESTORED: _one_by_one(_delete_again),
    Kind.CLASSES_SET: _one_by_one(_restore_classes),
    Kind.ANNOTATIONS_SAVED: _restore_annotations,
    Kind.MODEL_TRAINED: _one_by_one(_archive_model),
    Kind.MODEL_ARCHIVED: _one_by_one(_restore_model),
    Kind.MODEL_RESTORED: _one_by_one(_archive_model),
}
"""Takes changes of a kind back and returns how many things it touched."""
