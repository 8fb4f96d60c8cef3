"""Removal of bytes that no row names any more, safe against an upload of the same bytes.

An upload stores bytes first and records them later; between the two, nothing in the database tells that
they are wanted. So a purge only marks digests, in the transaction that removes the rows; the sweep removes
marked bytes under the write lock, and keeps the mark for a day, so that an upload that records a digest
sees what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.storage.database import Database
from tintype_studio.storage.prediction_tables import prediction_tasks
from tintype_studio.storage.sensor_tables import dataset_versions, snapshot_files, version_files
from tintype_studio.storage.session_tables import session_files
from tintype_studio.storage.tables import exports, sample_files
from tintype_studio.storage.training_tables import evaluations, models, training_runs
from tintype_studio.storage.upkeep_tables import swept_blobs

KEEP_MARKS = timedelta(days=1)
"""Longer than any upload takes from storing a file to recording it."""

BATCH = 500
"""Digests in one statement."""

SWEEP_BATCH = 200
"""Digests in one transaction of a sweep: each ends with a wait for the disk."""

HOLD_SECONDS = 0.2
"""How long one transaction of a sweep keeps other writers waiting while it removes bytes."""


def mark_unused(database: Database, connection: sa.Connection, digests: Iterable[str]) -> int:
    """Mark those digests that no row names any more, in the caller's transaction; returns how many."""
    marked = 0
    wanted = sorted(set(digests))
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        named = _named(connection, part)
        unused = [digest for digest in part if digest not in named]
        if unused:
            connection.execute(
                database.insert_ignore(swept_blobs),
                [{"sha256": digest, "marked_at": clock.now()} for digest in unused],
            )
        marked += len(unused)
    return marked


def mark_for(database: Database, digests: Iterable[str], keep: timedelta) -> None:
    """Have bytes that no row will name, such as those of a link, swept after some time; a write.

    Bytes that are marked already get this time.
    """
    until = clock.now() + keep
    new = database.upsert(swept_blobs, keys=(swept_blobs.c.sha256,), values=("marked_at", "deleted_at"))
    with database.write(durable=False) as connection:
        for digest in sorted(set(digests)):
            connection.execute(new, {"sha256": digest, "marked_at": until, "deleted_at": None})


def keep_blobs(connection: sa.Connection, digests: set[str], exists: Callable[[str], bool]) -> bool:
    """Take back the marks of digests that are being recorded; False when bytes are gone already."""
    wanted = sorted(digests)
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        # Locked: a sweep that works on a mark ends first, and what exists then stays.
        marked = (
            connection.execute(
                sa.select(swept_blobs.c.sha256)
                .where(swept_blobs.c.sha256.in_(part))
                .order_by(swept_blobs.c.sha256)
                .with_for_update()
            )
            .scalars()
            .all()
        )
        if not all(exists(digest) for digest in marked):
            return False
        if marked:
            connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.sha256.in_(marked)))
    return True


def sweep_blobs(database: Database, exists: Callable[[str], bool], forget: Callable[[str], None]) -> int:
    """Have the bytes of marked digests that are still unused forgotten; returns how many were there."""
    with database.read() as connection:
        marked = (
            connection.execute(
                sa.select(swept_blobs.c.sha256)
                .where(swept_blobs.c.deleted_at.is_(None), swept_blobs.c.marked_at <= clock.now())
                .order_by(swept_blobs.c.sha256)
            )
            .scalars()
            .all()
        )
    removed = 0
    while marked:
        with database.write() as connection:
            done, gone = _sweep_some(connection, exists, forget, marked[:SWEEP_BATCH])
        marked, removed = marked[done:], removed + gone
    with database.write(durable=False) as connection:
        connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.deleted_at < clock.now() - KEEP_MARKS))
    return removed


def _sweep_some(
    connection: sa.Connection,
    exists: Callable[[str], bool],
    forget: Callable[[str], None],
    digests: Sequence[str],
) -> tuple[int, int]:
    """Sweep the first of the digests, as many as there is time for; returns how many, and what went."""
    until = time.monotonic() + HOLD_SECONDS
    mine = set(
        connection.execute(
            sa.select(swept_blobs.c.sha256)
            .where(swept_blobs.c.sha256.in_(digests), swept_blobs.c.deleted_at.is_(None))
            .order_by(swept_blobs.c.sha256)
            .with_for_update()
        ).scalars()
    )
    named = _named(connection, digests)
    unused: list[str] = []
    done = removed = 0
    for digest in digests:
        if done and time.monotonic() > until:
            break
        done += 1
        if digest in mine and digest not in named:
            unused.append(digest)
            if exists(digest):
                forget(digest)
                removed += 1
    connection.execute(
        sa.update(swept_blobs).where(swept_blobs.c.sha256.in_(unused)).values(deleted_at=clock.now())
    )
    connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.sha256.in_(mine & named)))
    return done, removed


def _named(connection: sa.Connection, digests: Sequence[str]) -> set[str]:
    rows = connection.execute(
        sa.union(
            sa.select(sample_files.c.sha256).where(sample_files.c.sha256.in_(digests)),
            sa.select(exports.c.sha256).where(exports.c.sha256.in_(digests)),
            sa.select(training_runs.c.data_sha256).where(training_runs.c.data_sha256.in_(digests)),
            sa.select(models.c.onnx_sha256).where(models.c.onnx_sha256.in_(digests)),
            sa.select(models.c.checkpoint_sha256).where(models.c.checkpoint_sha256.in_(digests)),
            sa.select(models.c.heads_sha256).where(models.c.heads_sha256.in_(digests)),
            sa.select(prediction_tasks.c.result_sha256).where(prediction_tasks.c.result_sha256.in_(digests)),
            sa.select(evaluations.c.sha256).where(evaluations.c.sha256.in_(digests)),
            sa.select(snapshot_files.c.sha256).where(snapshot_files.c.sha256.in_(digests)),
            sa.select(session_files.c.sha256).where(session_files.c.sha256.in_(digests)),
            sa.select(dataset_versions.c.manifest_sha256).where(
                dataset_versions.c.manifest_sha256.in_(digests)
            ),
            sa.select(version_files.c.sha256).where(version_files.c.sha256.in_(digests)),
        )
    )
    return set(rows.scalars())
