"""What is in a dataset now, as the file of a version.

Read in pages by key, so a million samples need the memory of one page. Of the annotations only their newest
revisions are named, which costs no look at a document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import sqlalchemy as sa

from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.history.changes import OF_CONTENT
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import sample_groups, sequences
from tintype_studio.storage.tables import (
    annotation_revisions,
    annotation_sets,
    changes,
    dataset_classes,
    datasets,
    sample_files,
    samples,
)
from tintype_studio.versions.manifest import SampleRow, Writer

PAGE = 1000
"""Samples in one query."""

CONTENT = tuple(sorted(kind.value for kind in OF_CONTENT))
"""Kinds of changes that make a dataset other than it was."""

COLUMNS = (
    "filename",
    "display_name",
    "folder",
    "status",
    "split",
    "annotation_count",
    "sequence_id",
    "frame_number",
    "meta",
)
"""Of a sample, what a version keeps besides who it is."""


def newest_change(connection: sa.Connection, dataset_row_id: int) -> int:
    """The serial of a dataset: the id of the newest change that made it other than it was; 0 for none."""
    newest = (
        sa.select(changes.c.id)
        .where(changes.c.dataset_id == dataset_row_id, changes.c.kind.in_(CONTENT))
        .order_by(changes.c.id.desc())
        .limit(1)
    )
    return int(connection.execute(newest).scalar() or 0)


def settle_on_one_moment(database: Database, connection: sa.Connection) -> None:
    """Have a read transaction that has not begun yet see one moment, however many queries it makes."""
    if not database.is_sqlite and not database.in_open_work():
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def write_state(
    connection: sa.Connection,
    dataset_row_id: int,
    file: BinaryIO,
    *,
    check: Callable[[], None],
    seen: Callable[[list[SampleRow]], None] | None = None,
) -> dict[str, Any]:
    """Write a dataset's state into an open file; returns its head.

    ``check`` is called now and then; when it raises, the file is worth nothing. ``seen`` gets every page.
    """
    writer = Writer(file)
    used: set[int] = set()
    named: set[str] = set()
    for page in living_pages(connection, dataset_row_id):
        check()
        for row in page:
            writer.add(row)
            if row.sequence_id is not None:
                used.add(row.sequence_id)
            if row.split is not None:
                named.add(row.split)
        if seen is not None:
            seen(page)
    head = head_of(connection, dataset_row_id, used, named)
    writer.finish(head)
    file.flush()
    return head


def living_pages(connection: sa.Connection, dataset_row_id: int) -> Iterator[list[SampleRow]]:
    """The samples that are not in the recycle bin, by id."""
    after = 0
    columns = [samples.c[name] for name in ("id", "uuid", *COLUMNS)]
    sets = [each[0] for each in sets_of(connection, dataset_row_id)]
    while True:
        rows = connection.execute(
            sa.select(*columns)
            .where(
                samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None), samples.c.id > after
            )
            .order_by(samples.c.id)
            .limit(PAGE)
        ).all()
        if not rows:
            return
        ids = [row.id for row in rows]
        files, revisions = files_of(connection, ids), revisions_of(connection, ids, sets)
        yield [SampleRow._make((*row, files.get(row.id, []), revisions.get(row.id, []))) for row in rows]
        after = ids[-1]


def files_of(connection: sa.Connection, row_ids: Sequence[int]) -> dict[int, list[list[Any]]]:
    """Files of some samples, in the order in which a version keeps them."""
    found: dict[int, list[list[Any]]] = {}
    files = sample_files.c
    for row in connection.execute(
        sa.select(files.sample_id, files.type, files.sha256, files.size, files.mime_type, files.filename)
        .where(files.sample_id.in_(row_ids))
        .order_by(files.sample_id, files.type)
    ):
        found.setdefault(row.sample_id, []).append(list(row[1:]))
    return found


def revisions_of(
    connection: sa.Connection, row_ids: Sequence[int], set_ids: Sequence[int]
) -> dict[int, list[list[int]]]:
    """The newest revisions of some samples in some sets, in the order in which a version keeps them."""
    found: dict[int, list[list[int]]] = {}
    revisions = annotation_revisions.c
    for row in connection.execute(
        sa.select(revisions.sample_id, revisions.annotation_set_id, sa.func.max(revisions.id))
        .where(revisions.sample_id.in_(row_ids), revisions.annotation_set_id.in_(set_ids))
        .group_by(revisions.sample_id, revisions.annotation_set_id)
        .order_by(revisions.sample_id, revisions.annotation_set_id)
    ):
        found.setdefault(row[0], []).append([row[1], row[2]])
    return found


def head_of(
    connection: sa.Connection, dataset_row_id: int, sequence_ids: set[int], group_names: set[str]
) -> dict[str, Any]:
    """What a dataset has besides samples.

    Of its sequences, those that living samples belong to (``sequence_ids``); of its groups, those that it has
    by themselves and those that living samples name (``group_names``).
    """
    dataset = connection.execute(
        sa.select(datasets.c.classes_declared, datasets.c.annotation_types).where(
            datasets.c.id == dataset_row_id
        )
    ).one()
    classes = connection.execute(
        sa.select(dataset_classes)
        .where(dataset_classes.c.dataset_id == dataset_row_id)
        .order_by(dataset_classes.c.position)
    ).mappings()
    groups = connection.execute(
        sa.select(sample_groups.c.name).where(sample_groups.c.dataset_id == dataset_row_id)
    ).scalars()
    return {
        "classes": [DatasetClass.from_json(dict(row)).as_json() for row in classes],
        "classes_declared": bool(dataset.classes_declared),
        "annotation_types": dataset.annotation_types,
        "sets": sets_of(connection, dataset_row_id),
        "groups": sorted(group_names.union(groups)),
        "sequences": _sequences(connection, sorted(sequence_ids)),
    }


def sets_of(connection: sa.Connection, dataset_row_id: int) -> list[list[Any]]:
    """``[row, uuid, name, description]`` of each annotation set that is not deleted."""
    sets = annotation_sets.c
    rows = connection.execute(
        sa.select(sets.id, sets.uuid, sets.name, sets.description)
        .where(sets.dataset_id == dataset_row_id, sets.deleted_at.is_(None))
        .order_by(sets.id)
    )
    return [list(row) for row in rows]


def _sequences(connection: sa.Connection, row_ids: list[int]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for start in range(0, len(row_ids), PAGE):
        found += (
            list(row)
            for row in connection.execute(
                sa.select(sequences.c.id, sequences.c.uuid, sequences.c.name, sequences.c.description)
                .where(sequences.c.id.in_(row_ids[start : start + PAGE]))
                .order_by(sequences.c.id)
            )
        )
    return found
