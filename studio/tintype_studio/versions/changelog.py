"""What the history says of a dataset between two versions, oldest first.

The serial of a dataset is the id of its newest change that made it other than it was; a version keeps the
serial of its moment. What leaves a dataset as it is, such as a training on it, is not in its changelog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio.errors import InvalidInput
from tintype_studio.storage.login_tables import logins
from tintype_studio.storage.tables import annotation_sets, api_keys, changes, samples
from tintype_studio.versions.state import CONTENT

MAX_PAGE = 1000

_OPERATIONS = {
    "created": "create",
    "added": "create",
    "updated": "update",
    "set": "update",
    "changed": "update",
    "saved": "update",
    "moved": "update",
    "deleted": "delete",
    "restored": "restore",
}
_ENTITIES = {
    "images": "image",
    "samples": "image",
    "annotations": "annotation",
    "classes": "label",
    "labels": "label",
    "sample_files": "sensor",
    "version": "dataset",
}
"""Where it is not the word before the dot."""

ENTITIES = tuple(sorted({_ENTITIES.get(kind.partition(".")[0], kind.partition(".")[0]) for kind in CONTENT}))
"""What changes are about."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a dataset."""

    serial: int
    """Its id in the history; later changes have higher ones."""
    entity: str
    """One of ``ENTITIES``."""
    operation: str
    """``create``, ``update``, ``delete`` or ``restore``."""
    subject: str | None
    """UUID of what was changed, when it was one thing."""
    subject_row: int | None
    """Its row, where that is a sample or an annotation set."""
    label: str | None
    count: int
    tool: str | None
    call_id: str
    undone_by: str | None
    username: str
    created_at: datetime


def page_of(
    connection: sa.Connection,
    dataset_row_id: int,
    *,
    after: int = 0,
    until: int | None = None,
    entities: Sequence[str] | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Changes with ``after < serial <= until``, of some entities or all."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
    rows = connection.execute(
        sa.select(changes, sa.func.coalesce(logins.c.username, api_keys.c.name, "").label("username"))
        .outerjoin(api_keys, api_keys.c.id == changes.c.api_key_id)
        .outerjoin(logins, logins.c.api_key_id == api_keys.c.id)
        .where(*_conditions(dataset_row_id, after, until, entities))
        .order_by(changes.c.id)
        .limit(limit)
    ).all()
    subjects = _rows_of(connection, {row.subject for row in rows if row.subject})
    return [_entry(row, subjects.get(row.subject)) for row in rows]


def count_of(
    connection: sa.Connection,
    dataset_row_id: int,
    *,
    after: int = 0,
    until: int | None = None,
    entities: Sequence[str] | None = None,
) -> int:
    """How many changes there are in all."""
    query = sa.select(sa.func.count()).where(*_conditions(dataset_row_id, after, until, entities))
    return int(connection.execute(query).scalar_one())


def entity_of(kind: str) -> str:
    """What a kind of change is about."""
    subject = kind.partition(".")[0]
    return _ENTITIES.get(subject, subject)


def _conditions(
    dataset_row_id: int, after: int, until: int | None, entities: Sequence[str] | None
) -> list[sa.ColumnElement[bool]]:
    found = [changes.c.dataset_id == dataset_row_id, changes.c.id > after]
    found.append(changes.c.kind.in_([k for k in CONTENT if not entities or entity_of(k) in entities]))
    if until is not None:
        found.append(changes.c.id <= until)
    return found


def _rows_of(connection: sa.Connection, uuids: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in (samples, annotation_sets):
        rows = connection.execute(sa.select(table.c.uuid, table.c.id).where(table.c.uuid.in_(sorted(uuids))))
        found |= dict(rows.all())
    return found


def _entry(row: Any, subject_row: int | None) -> Entry:
    return Entry(
        serial=row.id,
        entity=entity_of(row.kind),
        operation=_OPERATIONS.get(row.kind.rpartition(".")[2], "update"),
        subject=row.subject,
        subject_row=subject_row,
        label=row.label,
        count=row.count,
        tool=row.tool,
        call_id=row.call_id,
        undone_by=row.undone_by,
        username=row.username,
        created_at=row.created_at,
    )
