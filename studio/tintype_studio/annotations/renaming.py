"""Gives classes other names in what is saved: a new revision of every document that names them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, samples

_BATCH = 500
"""Samples in one statement."""

_SOUGHT = 20
"""Names that are sought in the text of a document; with more, every document is read."""


def rename_in_documents(
    connection: sa.Connection,
    principal: Principal,
    dataset_row_id: int,
    names: Mapping[str, str],
    check: Callable[[], None],
) -> int:
    """Rename classes in the current documents of a dataset's samples; returns how many documents changed.

    In all annotation sets, and in samples in the recycle bin, too: what is restored later has the names of
    the day. Status and counters stay. ``check`` is called now and then; when it raises, the caller's
    transaction must be taken back.
    """
    count = 0
    for page in _pages(documents_naming(connection, dataset_row_id, names)):
        check()
        changed = [(row, text) for row in page if (text := _renamed(row.document, names)) is not None]
        if not changed:
            continue
        now = clock.now()
        connection.execute(
            sa.insert(annotation_revisions),
            [
                {
                    "sample_id": row.sample_id,
                    "annotation_set_id": row.annotation_set_id,
                    "revision": row.revision + 1,
                    "document": text,
                    "annotation_count": row.annotation_count,
                    "status_before": row.status,
                    "call_id": principal.call_id,
                    "created_by": principal.key_uuid,
                    "created_at": now,
                }
                for row, text in changed
            ],
        )
        those = {row.sample_id for row, _ in changed}
        connection.execute(sa.update(samples).where(samples.c.id.in_(those)).values(updated_at=now))
        count += len(changed)
    _rename_counts(connection, dataset_row_id, names)
    return count


def documents_naming(
    connection: sa.Connection,
    dataset_row_id: int,
    names: Collection[str],
    *conditions: sa.ColumnElement[bool],
) -> Iterator[sa.Row[Any]]:
    """Current documents of a dataset's samples, in all sets, in whose text one of the names stands quoted.

    ``conditions`` narrow them by columns of ``samples`` and ``annotation_sets``.
    """
    text = annotation_revisions.c.document
    sought: sa.ColumnElement[bool] = sa.true()
    if len(names) <= _SOUGHT:
        sought = sa.or_(*(text.contains(orjson.dumps(name).decode(), autoescape=True) for name in names))
    after = 0
    while True:
        ids = (
            connection.execute(
                sa.select(samples.c.id)
                .where(samples.c.dataset_id == dataset_row_id, samples.c.id > after)
                .order_by(samples.c.id)
                .limit(_BATCH)
            )
            .scalars()
            .all()
        )
        if not ids:
            return
        after = ids[-1]
        newest = (
            sa.select(sa.func.max(annotation_revisions.c.id))
            .where(annotation_revisions.c.sample_id.in_(ids))
            .group_by(annotation_revisions.c.sample_id, annotation_revisions.c.annotation_set_id)
            .scalar_subquery()
        )
        yield from connection.execute(
            sa.select(annotation_revisions, samples.c.status)
            .join(samples, samples.c.id == annotation_revisions.c.sample_id)
            .join(annotation_sets, annotation_sets.c.id == annotation_revisions.c.annotation_set_id)
            .where(annotation_revisions.c.id.in_(newest), sought, *conditions)
            .order_by(annotation_revisions.c.sample_id, annotation_revisions.c.annotation_set_id)
        ).all()


def _pages(rows: Iterator[sa.Row[Any]]) -> Iterator[Sequence[sa.Row[Any]]]:
    page: list[sa.Row[Any]] = []
    for row in rows:
        page.append(row)
        if len(page) == _BATCH:
            yield page
            page = []
    if page:
        yield page


def _renamed(document: str, names: Mapping[str, str]) -> str | None:
    """The document with other names, or None where it has none of them."""
    annotations = orjson.loads(document)
    changed = False
    for annotation in annotations:
        new = names.get(annotation["name"])
        if new is not None:
            annotation["name"], changed = new, True
    return orjson.dumps(annotations).decode() if changed else None


def _rename_counts(connection: sa.Connection, dataset_row_id: int, names: Mapping[str, str]) -> None:
    mine = sample_classes.c.sample_id.in_(
        sa.select(samples.c.id).where(samples.c.dataset_id == dataset_row_id)
    )
    between = {old: f"/{place}" for place, old in enumerate(names)}
    steps = [(old, between[old]) for old in names] + [(between[old], new) for old, new in names.items()]
    for old, new in steps:
        connection.execute(
            sa.update(sample_classes).where(sample_classes.c.name == old, mine).values(name=new)
        )
