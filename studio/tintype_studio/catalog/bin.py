"""The recycle bin: what was deleted and can come back, and its purge, after which it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.purged_versions import purge_versions
from tintype_studio.catalog.samples import THUMBNAIL_SIZES, thumbnail_key
from tintype_studio.errors import InvalidInput
from tintype_studio.history.changes import PURGED, Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.sweep import mark_unused, sweep_blobs
from tintype_studio.storage.tables import changes, datasets, exports, sample_files, samples

BATCH = 500
"""Rows in one statement."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Binned:
    """What one call deleted from one dataset. ``size`` in bytes."""

    kind: str
    """``dataset`` or ``images``."""
    dataset: str
    count: int
    """Images."""
    size: int
    deleted_at: datetime
    call_id: str | None
    """Undo this call to get it back."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What is gone for good. ``size`` in bytes of images, before equal files are counted once."""

    datasets: int
    images: int
    size: int
    others: int = 0
    """Projects, annotation sets, experiments and sessions."""


class RecycleBin:
    """Deleted datasets and images of every organization; each principal sees its own organization's."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._db = database
        self._blobs = blobs

    def list(self, principal: Principal, *, limit: int = 100, offset: int = 0) -> list[Binned]:
        """What lies in the bin, by dataset and deleting call, latest first."""
        if not 1 <= limit <= 1000 or offset < 0:
            raise InvalidInput("limit is 1 to 1000, offset 0 or more.")
        mine = datasets.c.organization_id == principal.organization_id
        with_it = samples.c.deleted_call.is_not_distinct_from(datasets.c.deleted_call)
        in_bin = sa.and_(samples.c.dataset_id == datasets.c.id, samples.c.deleted_at.is_not(None))
        size = sa.func.coalesce(sa.func.sum(sample_files.c.size), 0).label("size")
        files = sample_files.c.sample_id == samples.c.id
        # A deleted dataset shows even when it holds nothing, or nothing that went with it.
        whole = (
            sa.select(
                sa.literal("dataset").label("kind"),
                datasets.c.id,
                datasets.c.name,
                sa.func.count(samples.c.id).label("images"),
                size,
                datasets.c.deleted_at,
                datasets.c.deleted_call.label("call_id"),
            )
            .select_from(datasets.outerjoin(samples, sa.and_(in_bin, with_it)).outerjoin(sample_files, files))
            .where(mine, datasets.c.deleted_at.is_not(None))
            .group_by(datasets.c.id)
        )
        apart = (
            sa.select(
                sa.literal("images").label("kind"),
                datasets.c.id,
                datasets.c.name,
                sa.func.count(samples.c.id).label("images"),
                size,
                sa.func.max(samples.c.deleted_at).label("deleted_at"),
                samples.c.deleted_call.label("call_id"),
            )
            .select_from(datasets.join(samples, in_bin).outerjoin(sample_files, files))
            .where(mine, sa.or_(datasets.c.deleted_at.is_(None), sa.not_(with_it)))
            .group_by(datasets.c.id, samples.c.deleted_call)
        )
        either = sa.union_all(whole, apart).subquery()
        query = (
            sa.select(either)
            .order_by(either.c.deleted_at.desc(), either.c.id.desc())
            .limit(limit)
            .offset(offset)
        )
        with self._db.read() as connection:
            return [
                Binned(r.kind, r.name, r.images, int(r.size), r.deleted_at, r.call_id)
                for r in connection.execute(query)
            ]

    def purge(
        self,
        principal: Principal,
        *,
        dataset: str | None = None,
        older_than: timedelta = timedelta(0),
    ) -> Purged:
        """Remove deleted rows for good, those of one dataset name or all, deleted ``older_than`` ago.

        The bytes follow when no row names them any more (``sweep``). The history's ``digest`` stands for
        exactly what went: a purge of anything else has another. Deleted versions go, too, and with them what
        restores replaced so long ago.
        """
        if older_than < timedelta(0):
            raise InvalidInput("older_than is not negative.")
        before = clock.now() - older_than
        mine = [datasets.c.organization_id == principal.organization_id]
        if dataset is not None:
            mine.append(datasets.c.name == lookup_name(dataset))
        with self._db.write() as connection:
            return self._purge(connection, principal, mine, before, dataset)

    def purge_datasets(
        self, connection: sa.Connection, principal: Principal, row_ids: Sequence[int]
    ) -> Purged:
        """Remove some deleted datasets for good, and nothing else, in the caller's transaction."""
        mine = [
            datasets.c.organization_id == principal.organization_id,
            datasets.c.id.in_(row_ids),
            datasets.c.deleted_at.is_not(None),
        ]
        return self._purge(connection, principal, mine, clock.now(), None)

    def _purge(
        self,
        connection: sa.Connection,
        principal: Principal,
        mine: Sequence[sa.ColumnElement[bool]],
        before: datetime,
        label: str | None,
    ) -> Purged:
        doomed = connection.execute(
            sa.select(
                samples.c.id,
                samples.c.uuid,
                samples.c.dataset_id,
                samples.c.deleted_call,
                sample_files.c.sha256,
                sample_files.c.size,
            )
            .join(datasets, datasets.c.id == samples.c.dataset_id)
            .outerjoin(sample_files, sample_files.c.sample_id == samples.c.id)
            .where(*mine, samples.c.deleted_at <= before)
        ).all()
        whole = connection.execute(
            sa.select(datasets.c.id, datasets.c.uuid, datasets.c.deleted_call).where(
                *mine, datasets.c.deleted_at <= before
            )
        ).all()
        dataset_ids = [row.id for row in whole]
        images = {row.id: row.uuid for row in doomed}
        exported = _where_in(connection, exports.c.sha256, exports.c.dataset_id, dataset_ids)
        of_versions = purge_versions(connection, mine, before, dataset_ids)
        _delete_in(connection, samples, sorted(images))
        # While the history still names the datasets, and when the doomed images are gone.
        mark_purged(
            connection,
            {(row.dataset_id, row.deleted_call) for row in doomed}
            | {(row.id, row.deleted_call) for row in whole},
        )
        _delete_in(connection, datasets, dataset_ids)
        mark_unused(
            self._db,
            connection,
            [*(row.sha256 for row in doomed if row.sha256), *filter(None, exported), *of_versions],
        )
        purged = Purged(len(dataset_ids), len(images), sum(row.size or 0 for row in doomed))
        if purged.datasets or purged.images:
            log_change(
                connection,
                principal,
                Kind.PURGED,
                None,
                label=label,
                count=purged.datasets + purged.images,
                detail={
                    "datasets": purged.datasets,
                    "images": purged.images,
                    "size": purged.size,
                    "digest": digest_of_purge([row.uuid for row in whole], images.values()),
                },
            )
        return purged

    def sweep(self) -> int:
        """Remove bytes that a purge left without a row; returns how many files went."""
        return sweep_blobs(self._db, self._blobs.exists, self._forget)

    def _forget(self, sha256: str) -> None:
        """Remove a file and what was made from it."""
        for size in THUMBNAIL_SIZES:
            self._blobs.delete_derived(thumbnail_key(sha256, size))
        self._blobs.delete(sha256)


def digest_of_purge(dataset_uuids: Iterable[str], image_uuids: Iterable[str]) -> str:
    """SHA-256 (hex) that stands for exactly these datasets and images, in any order."""
    names = sorted([f"dataset {u}" for u in dataset_uuids] + [f"image {u}" for u in image_uuids])
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def mark_purged(connection: sa.Connection, deletions: set[tuple[int, str | None]]) -> None:
    """Deletions (dataset's row id, call) of which nothing is left in the bin can no longer be undone."""
    calls_of: dict[int, list[str]] = {}
    for dataset_row_id, call_id in deletions:
        if call_id is not None:
            calls_of.setdefault(dataset_row_id, []).append(call_id)
    for dataset_row_id, call_ids in calls_of.items():
        again = _done_again(connection, dataset_row_id, call_ids)
        for part in _batches(sorted([*call_ids, *again])):
            left = set(
                connection.execute(
                    sa.select(samples.c.deleted_call)
                    .where(
                        samples.c.dataset_id == dataset_row_id,
                        samples.c.deleted_call.in_(part),
                        samples.c.deleted_at.is_not(None),
                    )
                    .distinct()
                ).scalars()
            )
            connection.execute(
                sa.update(changes)
                .where(
                    changes.c.dataset_id == dataset_row_id,
                    changes.c.call_id.in_([c for c in part if c not in left]),
                    changes.c.kind.in_([Kind.IMAGES_DELETED.value, Kind.DATASET_DELETED.value]),
                    changes.c.undone_by.is_(None),
                )
                .values(undone_by=PURGED)
            )


def _done_again(connection: sa.Connection, dataset_row_id: int, call_ids: list[str]) -> list[str]:
    """The calls whose deletions others of ``call_ids`` did again, by undoing an undo: they stand, too."""
    undone, found = changes.alias(), set[str]()
    latest = set(call_ids)
    while latest:
        earlier: set[str] = set()
        for part in _batches(sorted(latest)):
            earlier |= set(
                connection.execute(
                    sa.select(undone.c.undo_of)
                    .join(changes, changes.c.undo_of == undone.c.call_id)
                    .where(
                        changes.c.dataset_id == dataset_row_id,
                        undone.c.dataset_id == dataset_row_id,
                        changes.c.call_id.in_(part),
                        undone.c.undo_of.is_not(None),
                    )
                ).scalars()
            )
        latest = earlier - found
        found |= earlier
    return sorted(found - set(call_ids))


def _batches(values: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


def _where_in(
    connection: sa.Connection, wanted: sa.Column[str], column: sa.Column[int], ids: list[int]
) -> list[str]:
    found: list[str] = []
    for part in _batches(ids):
        found += connection.execute(sa.select(wanted).where(column.in_(part))).scalars()
    return found


def _delete_in(connection: sa.Connection, table: sa.Table, ids: list[int]) -> None:
    for part in _batches(ids):
        connection.execute(sa.delete(table).where(table.c.id.in_(part)))
