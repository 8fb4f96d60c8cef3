"""A dataset brought to the state of a version, in one transaction.

What came since goes into the recycle bin, what went comes back out of it, and every sample, annotation set,
label and group gets the facts and annotations that it had: as new revisions, so nothing of the history is
lost. The state that is replaced is kept as a version of its own that nobody sees, and the undo of a restore
is the restore of that one. What was purged since then cannot come back; it is counted and named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.counters import recount
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.sensor_tables import version_files
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.storage.tables import sample_files, samples
from tintype_studio.versions.difference import NAMED, Pair, name_of, pairs
from tintype_studio.versions.documents import put_documents_back
from tintype_studio.versions.heads import put_head_back
from tintype_studio.versions.manifest import Manifest, SampleRow
from tintype_studio.versions.state import COLUMNS, files_of

BATCH = 500
"""Samples that are put back at a time."""


@dataclass(slots=True)
class Restored:
    """What a restore did. Names are ``folder/filename``, at most ``NAMED`` of them."""

    deleted: int = 0
    """Samples that went into the recycle bin."""
    brought_back: int = 0
    """Samples that came out of it."""
    updated: int = 0
    """Samples that got other facts: place, name, group, status, sequence, frame or metadata."""
    annotated: int = 0
    """Samples whose annotations were put back."""
    files: int = 0
    """Files of samples that were put back or taken away."""
    labels: int = 0
    """Labels of the dataset as it is now; 0 where they are as they were."""
    sets: int = 0
    """Annotation sets that were put back, renamed or taken away."""
    groups: int = 0
    """Groups that were put back or taken away."""
    lost: int = 0
    """Samples that were purged: they stay away."""
    lost_names: list[str] = field(default_factory=list)
    files_lost: int = 0
    """Files and annotation sets whose contents were purged."""

    @property
    def nothing(self) -> bool:
        """Whether the dataset was in that state already, as far as it can be."""
        changed = (self.deleted, self.brought_back, self.updated, self.annotated, self.files)
        return not any((*changed, self.labels, self.sets, self.groups))

    @property
    def samples(self) -> int:
        """Samples that were touched, at least."""
        return self.deleted + self.brought_back + max(self.updated, self.annotated)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a restore works, and what it needs."""

    connection: sa.Connection
    principal: Principal
    blobs: Blobs
    dataset_row_id: int
    keeper: int
    """Row of the hidden version that keeps the files which are taken away."""
    check: Callable[[], None]
    """Raises when the restore must stop; the caller then takes back all of it."""


def put_back(target: Target, now: Manifest, then: Manifest) -> Restored:
    """Bring the dataset from the state ``now``, in which it is, to the state ``then``."""
    done = Restored()
    heads = put_head_back(target.connection, target.principal, target.dataset_row_id, now.head, then.head)
    done.labels, done.sets, done.groups = heads.labels, heads.sets, heads.groups
    done.files_lost += heads.sets_lost
    # They get their places in the end, when all that stood there have left theirs.
    waiting: list[int] = []
    differing = pairs(now, then)
    while batch := list(islice(differing, BATCH)):
        target.check()
        _put_batch_back(target, batch, heads.sequences, heads.set_ids, done, waiting)
    for start in range(0, len(waiting), BATCH):
        target.check()
        target.connection.execute(
            sa.update(samples)
            .where(samples.c.id.in_(waiting[start : start + BATCH]))
            .values(deleted_at=None, updated_at=clock.now())
        )
    if not done.nothing:
        recount(target.connection, target.dataset_row_id)
    return done


def _put_batch_back(
    target: Target,
    batch: Sequence[Pair],
    sequences: dict[int, int],
    set_ids: Sequence[int],
    done: Restored,
    waiting: list[int],
) -> None:
    connection, gone = target.connection, [p.old.id for p in batch if p.old and p.new is None]
    if gone:
        _set_aside(target, gone)
        done.deleted += len(gone)
    there = _still_there(connection, target.dataset_row_id, [p.new for p in batch if p.new])
    staying: list[Pair] = []
    for pair in batch:
        if pair.new is None:
            continue
        if pair.new.id in there:
            staying.append(pair)
        else:
            done.lost += 1
            if len(done.lost_names) < NAMED:
                done.lost_names.append(name_of(pair.new))
    back = [p.new.id for p in staying if p.new and p.old is None]
    moved = [p.new.id for p in staying if p.new and p.moved]
    if moved:
        _set_aside(target, moved)
    waiting += back + moved
    done.brought_back += len(back)
    wanted = [p.new for p in staying if p.new and (p.annotations or p.old is None)]
    written = put_documents_back(connection, target.principal, wanted, set_ids)
    done.annotated += len(written - set(back))
    facts = [p.new for p in staying if p.new and (p.facts or p.new.id in written)]
    _set_facts(connection, facts, sequences)
    done.updated += sum(p.old is not None and p.facts for p in staying)
    _put_files_back(target, [p.new for p in staying if p.new and (p.files or p.old is None)], done)


def _set_aside(target: Target, row_ids: Sequence[int]) -> None:
    target.connection.execute(
        sa.update(samples)
        .where(samples.c.id.in_(row_ids))
        .values(deleted_at=clock.now(), deleted_call=target.principal.call_id)
    )


def _still_there(connection: sa.Connection, dataset_row_id: int, rows: Sequence[SampleRow]) -> set[int]:
    uuids = {row.id: row.uuid for row in rows}
    found = connection.execute(
        sa.select(samples.c.id, samples.c.uuid).where(
            samples.c.id.in_(list(uuids)), samples.c.dataset_id == dataset_row_id
        )
    )
    return {row.id for row in found if uuids[row.id] == row.uuid}


def _set_facts(connection: sa.Connection, rows: Sequence[SampleRow], sequences: dict[int, int]) -> None:
    if not rows:
        return
    now, values = clock.now(), []
    for row in rows:
        value = {f"new_{name}": getattr(row, name) for name in COLUMNS}
        if row.sequence_id is not None:
            value["new_sequence_id"] = sequences.get(row.sequence_id, row.sequence_id)
        values.append(value | {"row": row.id, "now": now})
    columns: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in COLUMNS}
    connection.execute(
        sa.update(samples)
        .where(samples.c.id == sa.bindparam("row"))
        .values(**columns, updated_at=sa.bindparam("now")),
        values,
    )


def _put_files_back(target: Target, rows: Sequence[SampleRow], done: Restored) -> None:
    connection = target.connection
    have = files_of(connection, [row.id for row in rows])
    taken: list[tuple[int, list[Any]]] = []
    given: list[tuple[int, list[Any]]] = []
    for row in rows:
        before = have.get(row.id, [])
        if before != row.files:
            taken += ((row.id, each) for each in before if each not in row.files)
            given += ((row.id, each) for each in row.files if each not in before)
    if not taken and not given:
        return
    gone = _gone(target, {each[1] for _, each in given})
    done.files_lost += sum(each[1] in gone for _, each in given)
    # Where the bytes of a file are gone, the one that took its place stays.
    kept = {(row_id, each[0]) for row_id, each in given if each[1] in gone}
    taken = [(row_id, each) for row_id, each in taken if (row_id, each[0]) not in kept]
    given = [(row_id, each) for row_id, each in given if each[1] not in gone]
    for row_id, each in taken:
        connection.execute(
            sa.delete(sample_files).where(sample_files.c.sample_id == row_id, sample_files.c.type == each[0])
        )
    if taken:
        digests = sorted({each[1] for _, each in taken})
        connection.execute(
            sa.insert(version_files), [{"version_id": target.keeper, "sha256": d} for d in digests]
        )
    if given:
        names = ("type", "sha256", "size", "mime_type", "filename")
        connection.execute(
            sa.insert(sample_files),
            [{"sample_id": row_id, **dict(zip(names, each, strict=True))} for row_id, each in given],
        )
    done.files += len(taken) + len(given)


def _gone(target: Target, digests: set[str]) -> set[str]:
    """Those whose bytes are not there any more; the marks of the others are taken back."""
    exists = target.blobs.exists
    return {d for d in sorted(digests) if not exists(d) or not keep_blobs(target.connection, {d}, exists)}
