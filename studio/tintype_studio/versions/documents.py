"""Annotations put back as they were in a version: many samples at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.identity.keys import Principal
from tintype_studio.search.class_counts import count_classes_of_many
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, samples
from tintype_studio.versions.manifest import SampleRow
from tintype_studio.versions.state import revisions_of

EMPTY = "[]"
"""A document without annotations; as good as none."""

Key = tuple[int, int]
"""Row of the sample, row of the annotation set."""


def texts_of(connection: sa.Connection, revision_ids: Collection[int]) -> dict[int, tuple[int, str]]:
    """Sample and document of revisions, those that are there."""
    rows = connection.execute(
        sa.select(
            annotation_revisions.c.id, annotation_revisions.c.sample_id, annotation_revisions.c.document
        ).where(annotation_revisions.c.id.in_(list(revision_ids)))
    )
    return {row.id: (row.sample_id, row.document) for row in rows}


def differing(
    connection: sa.Connection,
    have: Mapping[int, Sequence[Sequence[int]]],
    want: Mapping[int, Sequence[Sequence[int]]],
    set_ids: Collection[int],
) -> dict[Key, str]:
    """The wanted documents that are not, letter for letter, those that are had; in sets of ``set_ids``.

    ``have`` and ``want`` are revisions by sample, as a version keeps them.
    """
    sets = set(set_ids)
    had = _by_key(have, sets)
    wanted = _by_key(want, sets)
    other = {key for key in had.keys() | wanted.keys() if had.get(key) != wanted.get(key)}
    texts = texts_of(connection, {each[key] for each in (had, wanted) for key in other if key in each})

    def text(revisions: dict[Key, int], key: Key) -> str:
        sample, document = texts.get(revisions.get(key, -1), (key[0], EMPTY))
        return document if sample == key[0] else EMPTY

    return {key: text(wanted, key) for key in sorted(other) if text(had, key) != text(wanted, key)}


def put_documents_back(
    connection: sa.Connection, principal: Principal, rows: Sequence[SampleRow], set_ids: Sequence[int]
) -> set[int]:
    """Write the documents of a version that samples do not have now; returns the samples that got one.

    Each is a new revision. The samples' own columns are the caller's to set.
    """
    if not rows:
        return set()
    ids = [row.id for row in rows]
    have = revisions_of(connection, ids, set_ids)
    new = differing(connection, have, {row.id: row.revisions for row in rows}, set_ids)
    if not new:
        return set()
    written = {sample for sample, _ in new}
    numbers = _numbers(connection, written)
    statuses = dict(
        connection.execute(sa.select(samples.c.id, samples.c.status).where(samples.c.id.in_(written))).all()
    )
    now = clock.now()
    connection.execute(
        sa.insert(annotation_revisions),
        [
            {
                "sample_id": sample,
                "annotation_set_id": set_id,
                "revision": numbers.get((sample, set_id), 0) + 1,
                "document": text,
                "annotation_count": count_of(text),
                "status_before": statuses[sample],
                "call_id": principal.call_id,
                "created_by": principal.key_uuid,
                "created_at": now,
            }
            for (sample, set_id), text in new.items()
        ],
    )
    default = default_of(connection, set_ids)
    count_classes_of_many(connection, {key[0]: text for key, text in new.items() if key[1] == default})
    return written


def default_of(connection: sa.Connection, set_ids: Collection[int]) -> int | None:
    """Which of the sets is the default one, that counts."""
    return connection.execute(
        sa.select(annotation_sets.c.id).where(
            annotation_sets.c.id.in_(list(set_ids)), annotation_sets.c.name == DEFAULT_SET
        )
    ).scalar()


def count_of(document: str) -> int:
    """How many annotations a document has."""
    import orjson

    return len(orjson.loads(document))


def _by_key(revisions: Mapping[int, Sequence[Sequence[int]]], sets: set[int]) -> dict[Key, int]:
    return {
        (sample, set_id): revision
        for sample, own in revisions.items()
        for set_id, revision in own
        if set_id in sets
    }


def _numbers(connection: sa.Connection, sample_ids: Iterable[int]) -> dict[Key, int]:
    revisions = annotation_revisions.c
    rows = connection.execute(
        sa.select(
            revisions.sample_id, revisions.annotation_set_id, sa.func.max(revisions.revision).label("last")
        )
        .where(revisions.sample_id.in_(list(sample_ids)))
        .group_by(revisions.sample_id, revisions.annotation_set_id)
    )
    return {(row.sample_id, row.annotation_set_id): row.last for row in rows}
