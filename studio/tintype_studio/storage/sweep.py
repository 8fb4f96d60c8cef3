"""Removal of bytes that no row names any more, safe against an upload of the same bytes.

An upload stores bytes first and records them later; between the two, nothing in the database tells that
they are wanted. So a purge only marks digests, in the transaction that removes the rows; the sweep removes
marked bytes under the write lock, and keeps the mark for a day, so that an upload that records a digest
sees what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import exports, sample_files, swept_blobs

KEEP_MARKS = timedelta(days=1)
"""Longer than any upload takes from storing a file to recording it."""

BATCH = 500
"""Digests in one statement."""


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


def keep_blobs(connection: sa.Connection, digests: set[str], exists: Callable[[str], bool]) -> bool:
    """Take back the marks of digests that are being recorded; False when bytes are gone already."""
    wanted = sorted(digests)
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        marked = (
            connection.execute(sa.select(swept_blobs.c.sha256).where(swept_blobs.c.sha256.in_(part)))
            .scalars()
            .all()
        )
        if not all(exists(digest) for digest in marked):
            return False
        if marked:
            connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.sha256.in_(marked)))
    return True


def sweep_blobs(database: Database, blobs: Blobs) -> int:
    """Remove the bytes of marked digests that are still unused; returns how many were removed."""
    with database.read() as connection:
        marked = (
            connection.execute(sa.select(swept_blobs.c.sha256).where(swept_blobs.c.deleted_at.is_(None)))
            .scalars()
            .all()
        )
    removed = 0
    for digest in marked:
        with database.write() as connection:
            mine = connection.execute(
                sa.update(swept_blobs)
                .where(swept_blobs.c.sha256 == digest, swept_blobs.c.deleted_at.is_(None))
                .values(deleted_at=clock.now())
            ).rowcount
            if not mine:
                continue
            if _named(connection, [digest]):
                connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.sha256 == digest))
                continue
            if blobs.exists(digest):
                blobs.delete(digest)
                removed += 1
    with database.write(durable=False) as connection:
        connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.deleted_at < clock.now() - KEEP_MARKS))
    return removed


def _named(connection: sa.Connection, digests: list[str]) -> set[str]:
    rows = connection.execute(
        sa.union(
            sa.select(sample_files.c.sha256).where(sample_files.c.sha256.in_(digests)),
            sa.select(exports.c.sha256).where(exports.c.sha256.in_(digests)),
        )
    )
    return set(rows.scalars())
