"""Snapshots that are uploaded: begun, joined file by file, and finished once all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError
from tintype_studio.history.changes import Kind
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name, printable
from tintype_studio.snapshots.contents import type_of
from tintype_studio.snapshots.paths import clean_paths
from tintype_studio.snapshots.retention import fail_upload
from tintype_studio.snapshots.snapshot import (
    Snapshot,
    SnapshotFile,
    SnapshotStatus,
    insert_snapshot,
    keep_bytes,
    log_snapshot,
)
from tintype_studio.snapshots.uploads import Parts
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import snapshot_files, snapshots
from tintype_studio.storage.sweep import mark_unused

if TYPE_CHECKING:
    from tintype_studio.snapshots.service import Snapshots

MAX_FILES = 10_000
MAX_FILE_BYTES = 100 * 1024**3
MAX_WAITING_BYTES = 400 * 1024**3
"""Of uploads of one organization that are not finished."""


@dataclass(frozen=True, slots=True)
class UploadFile:
    """A file that is to be put: one token for each part, in order."""

    path: str
    size: int
    upload_id: str
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class Upload:
    """A snapshot whose files are to be put."""

    snapshot: Snapshot
    files: list[UploadFile]


class Receiving:
    """Takes the files of snapshots. Thread-safe."""

    def __init__(self, database: Database, blobs: Blobs, parts: Parts, snapshots_: Snapshots) -> None:
        self._db = database
        self._blobs = blobs
        self._parts = parts
        self._snapshots = snapshots_

    def begin(
        self,
        principal: Principal,
        name: str,
        files: Sequence[tuple[str, int]],
        *,
        description: str | None = None,
    ) -> Upload:
        """A pending snapshot and leave to put its files, given as ``(path, bytes)``.

        ``InvalidInput`` for names that no file may have and sizes over the limits, ``Conflict``
        (``uploads_full``) where too much of the organization's is unfinished.
        """
        if not 1 <= len(files) <= MAX_FILES:
            raise InvalidInput(
                f"A snapshot has 1 to {MAX_FILES:,} files.",
                code="invalid_files",
                fix="Put many small files into one ZIP.",
            )
        paths = clean_paths(path for path, _size in files)
        for path, size in files:
            if not 0 <= size <= MAX_FILE_BYTES:
                raise InvalidInput(
                    f"The size of {printable(path[:80])!r} must be 0 to {MAX_FILE_BYTES // 1024**3} GiB.",
                    code="invalid_files",
                    fix="Split the recording, or send the size in bytes.",
                )
        sizes = [size for _path, size in files]
        self._parts.require_disk(sum(sizes) + max(sizes))
        ids = [clock.new_id() for _ in paths]
        with self._db.write() as connection:
            self._require_few_waiting(connection, principal, sum(sizes))
            snapshot = insert_snapshot(
                connection,
                principal,
                name,
                description=description,
                type=type_of(paths).value,
                status=SnapshotStatus.PENDING.value,
            )
            connection.execute(
                sa.insert(snapshot_files),
                [
                    {"snapshot_id": snapshot, "path": path, "size": size, "upload_id": upload_id}
                    for path, size, upload_id in zip(paths, sizes, ids, strict=True)
                ],
            )
        uploads = [
            UploadFile(path, size, upload_id, self._parts.tokens(upload_id, size))
            for path, size, upload_id in zip(paths, sizes, ids, strict=True)
        ]
        return Upload(self._snapshots.of_row(principal, snapshot), uploads)

    def join(
        self,
        principal: Principal,
        ref: str,
        path: str,
        etags: Mapping[int, str] | None = None,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> SnapshotFile:
        """Make a file of its parts; nothing when that was done. Raises as ``Parts.join``."""
        snapshot = self._snapshots.get(principal, ref)
        file = _file_of(snapshot, path)
        if file.sha256 is not None:
            return file
        if snapshot.status is not SnapshotStatus.PENDING or file.upload_id is None:
            raise _upload_over(snapshot)
        sha256 = self._parts.join(file.upload_id, file.size, file.path, etags, check)
        with self._db.write() as connection:
            keep_bytes(self._blobs, connection, {sha256})
            recorded = connection.execute(
                sa.update(snapshot_files)
                .where(
                    snapshot_files.c.upload_id == file.upload_id,
                    snapshot_files.c.sha256.is_(None),
                    snapshot_files.c.snapshot_id == snapshot.row_id,
                )
                .values(sha256=sha256, completed_at=clock.now())
            ).rowcount
            if not recorded:  # deleted or given up meanwhile, or joined by another call
                mark_unused(self._db, connection, [sha256])
        # Behind the block: outside of a unit of work it is done at once, and the row must be there first.
        self._db.after_commit(partial(self._parts.discard, file.upload_id))
        return _file_of(self._snapshots.get(principal, snapshot.id), path)

    def finish(self, principal: Principal, ref: str, *, check: Callable[[], None] = lambda: None) -> Snapshot:
        """Make an uploaded snapshot available, once its files are there and are what they say.

        ``InvalidInput`` (``file_missing``) names files that were not joined; a recording or table that
        cannot be read is refused with its own code, and the snapshot fails for good.
        """
        snapshot = self._snapshots.get(principal, ref)
        if snapshot.status is SnapshotStatus.AVAILABLE:
            return snapshot
        if snapshot.status is not SnapshotStatus.PENDING:
            raise _upload_over(snapshot)
        missing = [file.path for file in snapshot.files if file.sha256 is None]
        if missing:
            raise InvalidInput(
                f"{len(missing)} of {len(snapshot.files)} files are not complete: {', '.join(missing[:10])}.",
                code="file_missing",
                fix="Put their parts and complete each file, then finish the snapshot.",
                details={"missing": missing[:100]},
            )
        try:
            found = self._snapshots.look_into(snapshot.files, check)
        except InvalidInput as error:
            # Its files cannot be put again, so that it stays what it is.
            fail_upload(self._db, snapshot.row_id, error.message)
            raise
        with self._db.write() as connection:
            changed = connection.execute(
                sa.update(snapshots)
                .where(
                    snapshots.c.id == snapshot.row_id,
                    snapshots.c.status == SnapshotStatus.PENDING.value,
                    snapshots.c.deleted_at.is_(None),
                )
                .values(
                    type=found.type.value,
                    status=SnapshotStatus.AVAILABLE.value,
                    facts=found.facts,
                    completed_at=clock.now(),
                )
            ).rowcount
            if changed:
                log_snapshot(connection, principal, Kind.SNAPSHOT_CREATED, snapshot)
        return self._snapshots.get(principal, snapshot.id)

    def require_waiting(self, upload_id: str) -> None:
        """``Conflict`` (``upload_over``) where nothing waits for parts of this upload any more.

        Else links would go on to fill the disk for snapshots that nobody sees.
        """
        waiting = (
            sa.select(snapshot_files.c.id)
            .join(snapshots, snapshots.c.id == snapshot_files.c.snapshot_id)
            .where(
                snapshot_files.c.upload_id == upload_id,
                snapshot_files.c.sha256.is_(None),
                snapshots.c.status == SnapshotStatus.PENDING.value,
                snapshots.c.deleted_at.is_(None),
            )
        )
        with self._db.read() as connection:
            if connection.execute(waiting).first() is None:
                raise Conflict(
                    "This upload is complete, or was given up.",
                    code="upload_over",
                    fix="Create the snapshot again for fresh links.",
                )

    def require_parts(self, snapshot: Snapshot) -> None:
        """``InvalidInput`` (``part_missing``) unless all parts of all files were put."""
        for file in snapshot.files:
            if file.sha256 is None and file.upload_id is not None:
                self._parts.require_whole(file.upload_id, file.size, file.path, None)

    def remove(self, connection: sa.Connection, snapshot: Snapshot) -> None:
        """Take an unfinished upload away for good, in the caller's transaction; then ``forget`` its parts."""
        connection.execute(sa.delete(snapshots).where(snapshots.c.id == snapshot.row_id))
        mark_unused(self._db, connection, [file.sha256 for file in snapshot.files if file.sha256])

    def forget(self, snapshot: Snapshot) -> None:
        """Remove the parts of an upload that was taken away, once that is true."""
        for file in snapshot.files:
            if file.upload_id is not None:
                self._db.after_commit(partial(self._parts.discard, file.upload_id))

    def _require_few_waiting(self, connection: sa.Connection, principal: Principal, more: int) -> None:
        waiting = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(snapshot_files.c.size), 0))
            .join(snapshots, snapshots.c.id == snapshot_files.c.snapshot_id)
            .where(
                snapshots.c.organization_id == principal.organization_id,
                snapshots.c.status == SnapshotStatus.PENDING.value,
            )
        ).scalar_one()
        if waiting + more > MAX_WAITING_BYTES:
            raise Conflict(
                f"Uploads of {(waiting + more) // 1024**3:,} GiB would wait to be finished.",
                code="uploads_full",
                fix="Finish or delete pending snapshots first; what nobody finishes is given up after two "
                "days.",
            )


def _file_of(snapshot: Snapshot, path: str) -> SnapshotFile:
    wanted = lookup_name(path)
    for file in snapshot.files:
        if file.path == wanted:
            return file
    raise NotFound(
        f"Snapshot {snapshot.name!r} has no file {printable(path[:80])!r}.",
        code="file_not_found",
        fix="Use a path that was named when the upload began.",
    )


def _upload_over(snapshot: Snapshot) -> TintypeError:
    return Conflict(
        f"Snapshot {snapshot.name!r} is {snapshot.status}; nothing can be put into it.",
        code="snapshot_not_pending",
        fix="Create a new snapshot.",
    )
