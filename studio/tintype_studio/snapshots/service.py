"""Creates, lists, hands out and deletes snapshots.

A snapshot is a row with files, each of which names a blob. One that is uploaded is ``pending`` until every
file was joined and looked into (``receiving.py``); one that a job makes is recorded whole, in the transaction
that finishes the job's step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError
from tintype_studio.history.changes import Kind
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name, printable
from tintype_studio.snapshots.contents import Contents, look_into
from tintype_studio.snapshots.files import StoredFile, laid_out, sweep_layouts
from tintype_studio.snapshots.paths import clean_paths, flat_names
from tintype_studio.snapshots.receiving import Receiving
from tintype_studio.snapshots.retention import give_up_uploads, purge_deleted
from tintype_studio.snapshots.snapshot import (
    Snapshot,
    SnapshotFile,
    SnapshotStatus,
    SnapshotType,
    insert_snapshot,
    keep_bytes,
    listed,
    log_snapshot,
    read,
)
from tintype_studio.snapshots.uploads import KEEP, Parts
from tintype_studio.storage.sensor_tables import snapshot_files, snapshots
from tintype_studio.storage.sweep import mark_for, mark_unused

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

MAX_PAGE = 500
_WIRE = re.compile(r"ss-([0-9a-f]{1,15})", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Download:
    """A file of an available snapshot, under a name without folders. Size in bytes."""

    name: str
    path: str
    size: int
    sha256: str


class Snapshots:
    """Snapshots of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._db = studio.database
        self._blobs = studio.blobs
        self._scratch = studio.home / "tmp"
        self.parts = Parts(studio.blobs, studio.signer, self._expect)
        self.receiving = Receiving(studio.database, studio.blobs, self.parts, self)

    # --- What there is ------------------------------------------------------------------------------------

    def list(
        self,
        principal: Principal,
        *,
        limit: int = 100,
        before: int | None = None,
        status: SnapshotStatus | None = None,
    ) -> list[Snapshot]:
        """Snapshots, newest first; ``before`` is the row id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = listed(principal).order_by(snapshots.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(snapshots.c.id < before)
        if status is not None:
            query = query.where(snapshots.c.status == status.value)
        with self._db.read() as connection:
            return read(connection, query)

    def get(self, principal: Principal, ref: str) -> Snapshot:
        """A snapshot by UUID, ``ss-…`` or name; ``Conflict`` when several have the name."""
        with self._db.read() as connection:
            return self.get_in(connection, principal, ref)

    def of_row(self, principal: Principal, row_id: int) -> Snapshot:
        """A snapshot by row id."""
        with self._db.read() as connection:
            found = read(connection, listed(principal).where(snapshots.c.id == row_id))
        if not found:
            raise _not_found(f"ss-{row_id:x}")
        return found[0]

    def get_in(self, connection: sa.Connection, principal: Principal, ref: str) -> Snapshot:
        """As ``get``, inside the caller's transaction."""
        query = listed(principal).order_by(snapshots.c.id.desc()).limit(2)
        if match := _WIRE.fullmatch(ref):
            query = query.where(snapshots.c.id == int(match[1], 16))
        elif _UUID.fullmatch(ref):
            query = query.where(snapshots.c.uuid == ref)
        else:
            query = query.where(snapshots.c.name == lookup_name(ref))
        found = read(connection, query)
        if not found:
            raise _not_found(ref)
        if len(found) > 1:
            raise Conflict(
                f"Several snapshots are named {found[0].name!r}.",
                code="snapshot_ambiguous",
                fix="Name one by its id; list_snapshots shows the ids.",
            )
        return found[0]

    def ready(self, principal: Principal, ref: str) -> Snapshot:
        """An available snapshot; ``Conflict`` (``snapshot_not_ready``) for any other."""
        snapshot = self.get(principal, ref)
        if snapshot.status is not SnapshotStatus.AVAILABLE:
            failed = snapshot.status is SnapshotStatus.FAILED
            raise Conflict(
                f"Snapshot {snapshot.name!r} is {snapshot.status}, not available.",
                code="snapshot_not_ready",
                fix="Delete it, and create it again." if failed else _HOW_TO_FINISH[snapshot.status],
                retryable=not failed,
            )
        return snapshot

    def links(self, principal: Principal, ref: str) -> Sequence[Download]:
        """The files of an available snapshot."""
        files = self.ready(principal, ref).files
        names = flat_names([file.path for file in files])
        return [
            Download(name, file.path, file.size, file.sha256 or "")
            for name, file in zip(names, files, strict=True)
        ]

    # --- Made by a job ------------------------------------------------------------------------------------

    def begin(
        self,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        name: str,
        *,
        description: str | None,
        type: SnapshotType,
        dataset_row_id: int | None = None,
        set_row_id: int | None = None,
    ) -> int:
        """The row of a snapshot that a job will make, in the transaction that writes the job down."""
        return insert_snapshot(
            connection,
            principal,
            name,
            description=description,
            type=type.value,
            status=SnapshotStatus.PROCESSING.value,
            job_id=job_row_id,
            dataset_id=dataset_row_id,
            annotation_set_id=set_row_id,
        )

    def of_job(self, principal: Principal, job_id: str) -> Snapshot:
        """The snapshot that a job makes or has made."""
        from tintype_studio.storage.job_tables import jobs

        with self._db.read() as connection:
            found = read(connection, listed(principal).where(jobs.c.uuid == job_id))
        if not found:
            raise NotFound("The snapshot was deleted.", code="snapshot_not_found", fix="Create it again.")
        return found[0]

    def store(
        self, files: Sequence[tuple[str, Path]], check: Callable[[], None]
    ) -> tuple[Sequence[StoredFile], Contents]:
        """Store local files and look into them; nothing is recorded yet. Raises as ``finish``."""
        paths = clean_paths(name for name, _path in files)
        stored = []
        for name, (_name, path) in zip(paths, files, strict=True):
            check()
            with path.open("rb") as file:
                sha256, size = self._blobs.put_file(file)
            self._expect(sha256)
            stored.append(StoredFile(name, size, sha256))
        try:
            return stored, self.look_into(stored, check)
        except TintypeError:
            mark_for(self._db, [file.sha256 for file in stored], timedelta(0))
            raise

    def complete(
        self,
        principal: Principal,
        job_id: str,
        files: Sequence[StoredFile],
        found: Contents,
        connection: sa.Connection,
    ) -> None:
        """Record what a job made, in the transaction that finishes its step."""
        keep_bytes(self._blobs, connection, {file.sha256 for file in files})
        snapshot = self.of_job(principal, job_id)
        now = clock.now()
        changed = connection.execute(
            sa.update(snapshots)
            .where(snapshots.c.id == snapshot.row_id, snapshots.c.status == SnapshotStatus.PROCESSING.value)
            .values(
                type=found.type.value,
                status=SnapshotStatus.AVAILABLE.value,
                facts=found.facts,
                completed_at=now,
            )
        ).rowcount
        if not changed:
            mark_unused(self._db, connection, [file.sha256 for file in files])
            return
        connection.execute(
            sa.insert(snapshot_files),
            [
                {
                    "snapshot_id": snapshot.row_id,
                    "path": file.path,
                    "size": file.size,
                    "sha256": file.sha256,
                    "completed_at": now,
                }
                for file in files
            ],
        )
        log_snapshot(connection, principal, Kind.SNAPSHOT_CREATED, snapshot)

    def fail(self, connection: sa.Connection, job_row_id: int, message: str) -> None:
        """End a snapshot whose job has ended without it."""
        connection.execute(
            sa.update(snapshots)
            .where(snapshots.c.job_id == job_row_id, snapshots.c.status == SnapshotStatus.PROCESSING.value)
            .values(
                status=SnapshotStatus.FAILED.value,
                error_message=printable(message[:500]),
                completed_at=clock.now(),
            )
        )

    # --- Away with it -------------------------------------------------------------------------------------

    def delete(self, principal: Principal, ref: str) -> Snapshot:
        """Put a snapshot into the recycle bin, whence an undo brings it back; an unfinished upload goes for
        good. The caller ends the job of one that is still made.
        """
        with self._db.write() as connection:
            snapshot = self.get_in(connection, principal, ref)
            pending = snapshot.status is SnapshotStatus.PENDING
            if pending:
                self.receiving.remove(connection, snapshot)
            else:
                connection.execute(
                    sa.update(snapshots)
                    .where(snapshots.c.id == snapshot.row_id)
                    .values(deleted_at=clock.now(), deleted_call=principal.call_id)
                )
                log_snapshot(connection, principal, Kind.SNAPSHOT_DELETED, snapshot)
        if pending:
            self.receiving.forget(snapshot)
        return snapshot

    def sweep(self) -> None:
        """Give up uploads that nobody finished in time, and remove what was deleted long ago or failed."""
        from tintype_studio.snapshots.restoring import purge_doomed

        purge_doomed(self._db)
        give_up_uploads(self._db, self.parts)
        purge_deleted(self._db)
        sweep_layouts(self._scratch, KEEP)

    def _expect(self, sha256: str) -> None:
        """Have bytes swept that no row names in time; recording them takes this back."""
        mark_for(self._db, [sha256], KEEP)

    def close(self) -> None:
        """Let nothing be joined any more."""
        self.parts.close()

    # --- Within -------------------------------------------------------------------------------------------

    def laid_out(self, snapshot: Snapshot) -> AbstractContextManager[Path]:
        """Its files as a local folder, for the time of a ``with`` block."""
        return laid_out(self._blobs, snapshot.files, self._scratch)

    def look_into(
        self, files: Sequence[SnapshotFile] | Sequence[StoredFile], check: Callable[[], None]
    ) -> Contents:
        """What stored files are; raises for a table or recording that is damaged."""
        with laid_out(self._blobs, files, self._scratch) as folder:
            return look_into(folder, [file.path for file in files], check)


_HOW_TO_FINISH = {
    SnapshotStatus.PENDING: "Put its files and finish it with complete_snapshot.",
    SnapshotStatus.PROCESSING: "Wait until list_snapshots shows it available.",
}


def _not_found(ref: str) -> NotFound:
    return NotFound(
        f"There is no snapshot {printable(ref[:80])!r}.",
        code="snapshot_not_found",
        fix="Call list_snapshots to see the ids.",
    )
