"""What a snapshot is, and how its rows are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_text
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.sensor_tables import snapshot_files, snapshots
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.storage.tables import datasets

BATCH = 500
MAX_NAME = 200


class SnapshotType(StrEnum):
    """What its files are."""

    EDGEFIRST = "edgefirst"
    """An Arrow table and a ZIP or folder of its files."""
    MCAP = "mcap"
    """A recording."""
    FILES = "files"
    """Whatever else was put; nothing can be restored from it."""


class SnapshotStatus(StrEnum):
    """How far it is."""

    PENDING = "pending"
    """Its files are still to come."""
    PROCESSING = "processing"
    """A job makes it."""
    AVAILABLE = "available"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file of a snapshot. Size in bytes."""

    path: str
    size: int
    sha256: str | None
    """None until all of it is there."""
    upload_id: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as it is listed."""

    row_id: int
    id: str
    name: str
    description: str | None
    type: SnapshotType
    status: SnapshotStatus
    dataset_name: str | None
    """What it was made of, while that exists."""
    dataset_row_id: int | None
    facts: dict[str, Any]
    """``topics`` and ``seconds`` of a recording, ``samples`` of a dataset."""
    error_message: str | None
    created_at: datetime
    completed_at: datetime | None
    job_id: str | None
    files: list[SnapshotFile] = field(default_factory=list)

    @property
    def wire_id(self) -> str:
        """As the dialect's clients write it."""
        return f"ss-{self.row_id:x}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def listed(principal: Principal) -> sa.Select[Any]:
    """The living snapshots of an organization."""
    return (
        sa.select(snapshots, datasets.c.name.label("dataset_name"), jobs.c.uuid.label("job_uuid"))
        .outerjoin(
            datasets, sa.and_(datasets.c.id == snapshots.c.dataset_id, datasets.c.deleted_at.is_(None))
        )
        .outerjoin(jobs, jobs.c.id == snapshots.c.job_id)
        .where(snapshots.c.organization_id == principal.organization_id, snapshots.c.deleted_at.is_(None))
    )


def read(connection: sa.Connection, query: sa.Select[Any]) -> list[Snapshot]:
    """The snapshots of a query of ``listed``, each with its files."""
    rows = connection.execute(query).mappings().all()
    files = _files(connection, [row["id"] for row in rows])
    return [
        Snapshot(
            row_id=row["id"],
            id=row["uuid"],
            name=row["name"],
            description=row["description"],
            type=SnapshotType(row["type"]),
            status=SnapshotStatus(row["status"]),
            dataset_name=row["dataset_name"],
            dataset_row_id=row["dataset_id"],
            facts=row["facts"],
            error_message=row["error_message"],
            created_at=row["created_at"],
            completed_at=row["completed_at"],
            job_id=row["job_uuid"],
            files=files.get(row["id"], []),
        )
        for row in rows
    ]


def _files(connection: sa.Connection, ids: Sequence[int]) -> dict[int, list[SnapshotFile]]:
    found: dict[int, list[SnapshotFile]] = {}
    for start in range(0, len(ids), BATCH):
        query = (
            sa.select(snapshot_files)
            .where(snapshot_files.c.snapshot_id.in_(ids[start : start + BATCH]))
            .order_by(snapshot_files.c.id)
        )
        for row in connection.execute(query):
            file = SnapshotFile(row.path, row.size, row.sha256, row.upload_id)
            found.setdefault(row.snapshot_id, []).append(file)
    return found


def clean_snapshot_name(name: str) -> str:
    """A name of one line as it is kept; ``InvalidInput`` for what cannot be one."""
    name = clean_text(name, "Snapshot name", max_length=MAX_NAME)
    if not name:
        raise InvalidInput(
            "The snapshot has no name.", code="invalid_name", fix="Use one short line of text."
        )
    return name


def insert_snapshot(connection: sa.Connection, principal: Principal, name: str, **values: Any) -> int:
    """Add a row; returns its id."""
    return int(
        connection.execute(
            sa.insert(snapshots)
            .values(
                uuid=clock.new_id(),
                organization_id=principal.organization_id,
                name=clean_snapshot_name(name),
                facts={},
                created_by=principal.key_id,
                created_at=clock.now(),
                **values,
            )
            .returning(snapshots.c.id)
        ).scalar_one()
    )


def keep_bytes(blobs: Blobs, connection: sa.Connection, digests: set[str]) -> None:
    """Make sure that bytes which are being recorded are there, and stay."""
    if not keep_blobs(connection, digests, blobs.exists):
        raise Unavailable("A purge removed the snapshot's bytes; send them again.", code="snapshot_raced")


def log_snapshot(connection: sa.Connection, principal: Principal, kind: Kind, snapshot: Snapshot) -> None:
    """Add a line to the history."""
    log_change(
        connection,
        principal,
        kind,
        None,
        subject=snapshot.id,
        label=snapshot.name,
        detail={"size": snapshot.size} if snapshot.files else None,
    )
