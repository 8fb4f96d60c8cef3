"""How images that were added, deleted or restored are taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.samples import IMAGE, PICTURED, Status, add_to_counters, bytes_of
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.dependents import batches, touched_images
from tintype_studio.history.image_ids import KEY, SIZE, columns_of, older_images, unpack
from tintype_studio.history.inverse_samples import put_sizes_back
from tintype_studio.history.step import Step, admit_returning, learned_detail, names_on, require_options_on
from tintype_studio.storage.tables import changes, sample_files, samples


def delete_added(step: Step) -> int:
    """Delete the images that the calls uploaded."""
    step.check()
    deleted: Counter[str] = Counter()
    for part in batches(step.call_ids):
        deleted.update(_delete_samples(step, samples.c.created_call.in_(part)))
    for row in step.rows:
        step.check()
        step.log(row, Kind.IMAGES_DELETED, count=deleted[row["call_id"]], detail={"added_by": row["call_id"]})
    return deleted.total()


def delete_again(step: Step, row: sa.RowMapping) -> int:
    """Put images back into the recycle bin that were taken out of it."""
    count = len(_delete_samples(step, touched_images(row)))
    step.log(row, Kind.IMAGES_DELETED, count=count, detail=same_images(row))
    return count


def _delete_samples(step: Step, which: sa.ColumnElement[bool]) -> list[str]:
    """Put living samples into the bin; returns the calls that had uploaded them, one for each."""
    mine = sa.and_(samples.c.dataset_id == step.dataset_id, samples.c.deleted_at.is_(None), which)
    gone = _move(step, mine, sign=-1, deleted_at=clock.now(), deleted_call=step.principal.call_id)
    return [row.created_call for row in gone]


def restore_samples(step: Step, row: sa.RowMapping) -> int:
    """Take images out of the recycle bin."""
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
    ids = [sample.id for sample in back]
    added = admit_returning(step, names_on(step.connection, ids))
    require_options_on(step.connection, step.dataset_id, ids)
    detail = {"call": row["call_id"], **same_images(row), **learned_detail(added)}
    step.log(row, Kind.IMAGES_RESTORED, count=len(back), detail=detail)
    return len(back)


def same_images(row: sa.RowMapping) -> dict[str, object]:
    """What tells further undos whose images a change was about, where it has no single one."""
    detail = row["detail"] or {}
    return {key: detail[key] for key in ("added_by", KEY) if key in detail}


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
    size, pictured = 0, set[int]()
    for part in batches([row.id for row in moved]):
        size += bytes_of(step.connection, part)
        pictured |= set(
            step.connection.execute(
                sa.select(sample_files.c.sample_id).where(
                    sample_files.c.sample_id.in_(part), sample_files.c.type == IMAGE
                )
            ).scalars()
        )
    add_to_counters(
        step.connection,
        step.dataset_id,
        images=sign * len(pictured),
        completed=sign * sum(row.status == Status.COMPLETE and row.id in pictured for row in moved),
        annotations=sign * sum(row.annotation_count for row in moved),
        size=sign * size,
    )
    return moved


def put_columns_back(step: Step, row: sa.RowMapping) -> int:
    """Give images the folder, status and display name that they had."""
    changed: set[int] = set()
    detail: dict[str, object] = {}
    for column, groups in columns_of(row).items():
        for before, _, runs in groups:
            changed |= set(_put_back(step, row, column, before, unpack(runs)))
        detail[column] = [[after, before, runs] for before, after, runs in groups]
    step.log(row, Kind(row["kind"]), count=len(changed), detail=detail)
    return len(changed)


def _put_back(step: Step, row: sa.RowMapping, column: str, value: Any, ids: list[int]) -> list[int]:
    if column == SIZE:
        return put_sizes_back(step, row, value, ids)
    connection, found = step.connection, list[int]()
    for part in batches(ids):
        step.check()
        mine = sa.and_(older_images(row, list(part)), samples.c.deleted_at.is_(None))
        if column == "folder":
            _require_free(connection, mine, str(value))
        before = connection.execute(
            sa.select(samples.c.id, samples.c.status, PICTURED.label("pictured")).where(mine)
        ).all()
        connection.execute(
            sa.update(samples)
            .where(samples.c.id.in_([old.id for old in before]))
            .values({column: value, "updated_at": clock.now()})
        )
        if column == "status":
            now = sum(old.pictured for old in before) if value == Status.COMPLETE else 0
            was = sum(old.pictured and old.status == Status.COMPLETE for old in before)
            add_to_counters(connection, step.dataset_id, completed=now - was)
        found += [old.id for old in before]
    return found


def _require_free(connection: sa.Connection, mine: sa.ColumnElement[bool], folder: str) -> None:
    """``Conflict`` when another image has the place in a folder that one of these would come back to."""
    other = samples.alias()
    taken = connection.execute(
        sa.select(samples.c.filename)
        .join(
            other,
            sa.and_(
                other.c.dataset_id == samples.c.dataset_id,
                other.c.folder == folder,
                other.c.filename == samples.c.filename,
                other.c.deleted_at.is_(None),
                other.c.id != samples.c.id,
            ),
        )
        .where(mine)
    ).scalar()
    if taken is not None:
        raise Conflict(
            f"Another image is named {taken!r} in {folder!r} now.",
            code="name_taken",
            fix="Move or delete that image first.",
        )
