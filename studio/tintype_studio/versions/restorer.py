"""Restores datasets, and takes restores back.

Looking at what a dataset is now takes time and changes nothing, so a large one is looked at before the
transaction begins (``look``); the restore then makes sure that nothing was changed meanwhile, or looks again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import dataset_versions
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.storage.tables import changes, datasets
from tintype_studio.versions.manifest import Manifest, reader_of
from tintype_studio.versions.restoring import Restored, Target, put_back
from tintype_studio.versions.state import newest_change, settle_on_one_moment, write_state


def go_on() -> None:
    """Nothing stops the work."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a dataset was when it was looked at."""

    file: BinaryIO
    sha256: str
    stamp: tuple[Any, ...]
    """Other when the dataset was changed since."""


class Restorer:
    """Brings datasets to the states of versions. Thread-safe."""

    def __init__(self, database: Database, blobs: Blobs, scratch: Path) -> None:
        self._db = database
        self._blobs = blobs
        self._scratch = scratch

    def manifest(self, sha256: str) -> Manifest:
        """The stored state of a version, read in parts; ``NotFound`` (``blob_missing``)."""
        blobs = self._blobs
        return Manifest(lambda start, length: blobs.part(sha256, start, length), blobs.size(sha256))

    @contextmanager
    def look(self, dataset_row_id: int, *, check: Callable[[], None] = go_on) -> Iterator[Look]:
        """See and store what a dataset is now, before the transaction that restores it."""
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            with self._db.read() as connection:
                settle_on_one_moment(self._db, connection)
                stamp = _stamp(connection, dataset_row_id)
                write_state(connection, dataset_row_id, file, check=check)
            sha256, _ = self._blobs.put_file(file)
            yield Look(file, sha256, stamp)

    def restore(
        self,
        connection: sa.Connection,
        principal: Principal,
        dataset_row_id: int,
        sha256: str,
        *,
        look: Look | None = None,
        check: Callable[[], None] = go_on,
    ) -> tuple[Restored, str | None]:
        """Bring a dataset to a stored state, in the caller's write transaction.

        Returns what was done, and the UUID of the hidden version that keeps what was there before; None when
        nothing had to be done.
        """
        connection.execute(sa.select(datasets.c.id).where(datasets.c.id == dataset_row_id).with_for_update())
        then = self.manifest(sha256)
        if look is not None and look.stamp == _stamp(connection, dataset_row_id):
            return self._from(connection, principal, dataset_row_id, look.file, look.sha256, then, check)
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            write_state(connection, dataset_row_id, file, check=check)
            stored, _ = self._blobs.put_file(file)
            return self._from(connection, principal, dataset_row_id, file, stored, then, check)

    def _from(
        self,
        connection: sa.Connection,
        principal: Principal,
        dataset_row_id: int,
        file: BinaryIO,
        stored: str,
        then: Manifest,
        check: Callable[[], None],
    ) -> tuple[Restored, str | None]:
        if not keep_blobs(connection, {stored}, self._blobs.exists):
            self._blobs.put_file(file)
        uuid, now = clock.new_id(), clock.now()
        keeper = connection.execute(
            sa.insert(dataset_versions)
            .values(
                uuid=uuid,
                dataset_id=dataset_row_id,
                name=uuid,
                last_change=newest_change(connection, dataset_row_id),
                manifest_sha256=stored,
                summary={},
                created_by=principal.key_id,
                created_at=now,
                hidden=True,
            )
            .returning(dataset_versions.c.id)
        ).scalar_one()
        target = Target(connection, principal, self._blobs, dataset_row_id, keeper, check)
        done = put_back(target, reader_of(file), then)
        if done.nothing:
            connection.execute(sa.delete(dataset_versions).where(dataset_versions.c.id == keeper))
            return done, None
        return done, uuid

    def restore_hidden(
        self,
        connection: sa.Connection,
        principal: Principal,
        dataset_row_id: int,
        uuid: str,
        *,
        check: Callable[[], None] = go_on,
    ) -> tuple[Restored, str | None]:
        """Bring a dataset back to what a restore replaced; ``NotFound`` (``version_not_found``)."""
        sha256 = connection.execute(
            sa.select(dataset_versions.c.manifest_sha256).where(
                dataset_versions.c.uuid == uuid, dataset_versions.c.dataset_id == dataset_row_id
            )
        ).scalar()
        if sha256 is None:
            raise NotFound(
                "What the restore replaced is not kept any more.",
                code="version_not_found",
                fix="Restore another version; list_versions shows them.",
            )
        return self.restore(connection, principal, dataset_row_id, sha256, check=check)


def detail_of(done: Restored) -> dict[str, Any]:
    """What a restore did, as the history keeps it."""
    return {name: value for name, value in asdict(done).items() if value}


def _stamp(connection: sa.Connection, dataset_row_id: int) -> tuple[Any, ...]:
    """What is other after every change of a dataset: its log's length and weight, and its counters."""
    logged = connection.execute(
        sa.select(sa.func.count(), sa.func.max(changes.c.id), sa.func.sum(changes.c.count)).where(
            changes.c.dataset_id == dataset_row_id
        )
    ).one()
    kept = connection.execute(
        sa.select(
            datasets.c.updated_at,
            datasets.c.reordered,
            datasets.c.image_count,
            datasets.c.annotation_count,
            datasets.c.total_size,
        ).where(datasets.c.id == dataset_row_id)
    ).one()
    return (*logged, *kept)
