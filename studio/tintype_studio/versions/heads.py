"""Labels, annotation sets, groups and sequences put back as they were in a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import replace_classes
from tintype_studio.annotations.sets import put_set_away
from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.catalog.groups import ensure_groups
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.sensor_tables import sample_groups, sequences
from tintype_studio.storage.tables import annotation_sets, datasets

_STATEMENT = 500


@dataclass(slots=True)
class Heads:
    """What was put back, and what the samples need of it."""

    labels: int = 0
    sets: int = 0
    groups: int = 0
    sets_lost: int = 0
    """Annotation sets that were purged."""
    set_ids: list[int] = field(default_factory=list)
    """Rows of the sets of the version that are there."""
    sequences: dict[int, int] = field(default_factory=dict)
    """By the row that a sequence had, the one that it has, where that is another."""


def put_head_back(
    connection: sa.Connection,
    principal: Principal,
    dataset_row_id: int,
    now: dict[str, Any],
    then: dict[str, Any],
) -> Heads:
    """Give the dataset the labels, sets, groups and sequences of ``then``."""
    heads = Heads()
    if any(now[key] != then[key] for key in ("classes", "classes_declared", "annotation_types")):
        classes = [DatasetClass.from_json(each) for each in then["classes"]]
        replace_classes(connection, dataset_row_id, classes, declared=then["classes_declared"])
        connection.execute(
            sa.update(datasets)
            .where(datasets.c.id == dataset_row_id)
            .values(annotation_types=then["annotation_types"])
        )
        heads.labels = max(len(classes), 1)
    _put_sets_back(connection, principal, dataset_row_id, now["sets"], then["sets"], heads)
    _put_groups_back(connection, dataset_row_id, now["groups"], then["groups"], heads)
    heads.sequences = _put_sequences_back(connection, dataset_row_id, then["sequences"])
    return heads


def _put_sets_back(
    connection: sa.Connection,
    principal: Principal,
    dataset_row_id: int,
    now: Sequence[Sequence[Any]],
    then: Sequence[Sequence[Any]],
    heads: Heads,
) -> None:
    wanted = {uuid: (name, description) for _, uuid, name, description in then}
    living = {uuid: (name, description) for _, uuid, name, description in now}
    rows = dict(
        connection.execute(
            sa.select(annotation_sets.c.uuid, annotation_sets.c.id).where(
                annotation_sets.c.dataset_id == dataset_row_id, annotation_sets.c.uuid.in_(list(wanted))
            )
        ).all()
    )
    heads.sets_lost = len(wanted) - len(rows)
    heads.set_ids = sorted(rows.values())
    for uuid in living.keys() - wanted.keys():
        put_set_away(connection, uuid, principal.call_id)
        heads.sets += 1
    others = [uuid for uuid in sorted(rows) if living.get(uuid) != wanted[uuid]]
    # Names may have been swapped: each gives its own up before one is taken.
    for uuid in others:
        connection.execute(
            sa.update(annotation_sets).where(annotation_sets.c.uuid == uuid).values(name=f"/{uuid}")
        )
    for uuid in others:
        name, description = wanted[uuid]
        connection.execute(
            sa.update(annotation_sets)
            .where(annotation_sets.c.uuid == uuid)
            .values(name=name, description=description, deleted_name=None, deleted_at=None)
        )
        heads.sets += 1


def _put_groups_back(
    connection: sa.Connection, dataset_row_id: int, now: Sequence[str], then: Sequence[str], heads: Heads
) -> None:
    mine = sample_groups.c.dataset_id == dataset_row_id
    gone = sorted(set(now) - set(then))
    for start in range(0, len(gone), _STATEMENT):
        connection.execute(
            sa.delete(sample_groups).where(mine, sample_groups.c.name.in_(gone[start : start + _STATEMENT]))
        )
    fresh = [name for name in then if name not in set(now)]
    ensure_groups(connection, dataset_row_id, fresh)
    heads.groups = len(gone) + len(fresh)


def _put_sequences_back(
    connection: sa.Connection, dataset_row_id: int, then: Sequence[Sequence[Any]]
) -> dict[int, int]:
    """Have the sequences of a version there, by name; returns the new rows of those that were gone."""
    mine = sequences.c.dataset_id == dataset_row_id
    found: dict[int, int] = {}
    for start in range(0, len(then), _STATEMENT):
        part = then[start : start + _STATEMENT]
        rows = {
            row.name: row
            for row in connection.execute(
                sa.select(sequences).where(mine, sequences.c.name.in_([each[2] for each in part]))
            )
        }
        for row_id, uuid, name, description in part:
            row = rows.get(name)
            if row is None:
                found[row_id] = _insert_sequence(connection, dataset_row_id, uuid, name, description)
                continue
            if row.id != row_id:
                found[row_id] = row.id
            if row.description != description:
                connection.execute(
                    sa.update(sequences).where(sequences.c.id == row.id).values(description=description)
                )
    return found


def _insert_sequence(
    connection: sa.Connection, dataset_row_id: int, uuid: str, name: str, description: str | None
) -> int:
    taken = connection.execute(sa.select(sequences.c.id).where(sequences.c.uuid == uuid)).first()
    made = connection.execute(
        sa.insert(sequences)
        .values(
            uuid=uuid if taken is None else clock.new_id(),
            dataset_id=dataset_row_id,
            name=name,
            description=description,
            created_at=clock.now(),
        )
        .returning(sequences.c.id)
    )
    return int(made.scalar_one())
