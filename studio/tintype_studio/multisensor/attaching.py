"""Files for samples that are there, written in one transaction with what they tell; many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.ingest import require_room, stored_name
from tintype_studio.catalog.samples import Status, add_to_counters
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.file_types import IMAGE
from tintype_studio.multisensor.samples import no_sample
from tintype_studio.multisensor.staging import Staged
from tintype_studio.multisensor.updating import set_size
from tintype_studio.storage.prepared import Prepared, Row
from tintype_studio.storage.tables import datasets, sample_files, samples
from tintype_studio.storage.upkeep_tables import swept_blobs

KeepBytes = Callable[[sa.Connection, set[str]], None]


@dataclass(frozen=True, slots=True)
class Attach:
    """A piece of writing (a ``Joint``): a file for a sample, named by its row and by its UUID."""

    principal: Principal
    row_id: int
    sample_id: str
    staged: Staged
    keep_bytes: KeepBytes

    def __call__(self, connection: sa.Connection) -> bool:
        """Write it; False when the sample has these very bytes already.

        Raises:
            NotFound: there is no such living sample in the principal's organization.
            Conflict: it has another file of this type (``file_exists``), the name that the picture gives it
                is taken (``sample_exists``), or the tier is full.
        """
        return self.many(connection, [self])[0]

    @classmethod
    def many(cls, connection: sa.Connection, pieces: Sequence[Attach]) -> list[bool]:
        """Write several; raises for the first that cannot be written, and nothing may be kept then."""
        rows, there = _look_up(connection, pieces)
        written: list[Attach] = []
        done: list[bool] = []
        for piece in pieces:
            row, file = rows.get(piece.row_id), piece.staged.file
            mine = row is not None and row["organization_id"] == piece.principal.organization_id
            if row is None or not mine or row["uuid"] != piece.sample_id:
                raise no_sample(piece.sample_id)
            digest = there.get((piece.row_id, file.type))
            if digest not in {None, file.sha256}:
                raise Conflict(
                    f"Sample {row['filename']!r} has another file of type {file.type}; it stays as it is.",
                    code="file_exists",
                    fix="Delete the sample and add it anew, or add this file to a sample of its own.",
                )
            done.append(digest is None)
            if digest is None:
                there[piece.row_id, file.type] = file.sha256
                written.append(piece)
        if written:
            _write(connection, written, rows)
        return done


# Every file that is put asks these.
_ROW = Prepared(
    sa.select(samples, datasets.c.organization_id)
    .join(datasets, datasets.c.id == samples.c.dataset_id)
    .where(
        samples.c.id == sa.bindparam("row"), samples.c.deleted_at.is_(None), datasets.c.deleted_at.is_(None)
    )
    .with_for_update(of=samples)
)
_FILES = Prepared(
    sa.select(sample_files.c.type, sample_files.c.sha256).where(
        sample_files.c.sample_id == sa.bindparam("row")
    )
)
_INSERT = Prepared(
    sa.insert(sample_files), columns=("sample_id", "type", "sha256", "size", "mime_type", "filename")
)
_MARK = Prepared(
    sa.select(swept_blobs.c.sha256).where(swept_blobs.c.sha256 == sa.bindparam("digest")).with_for_update()
)


def _look_up(
    connection: sa.Connection, pieces: Sequence[Attach]
) -> tuple[dict[int, Row], dict[tuple[int, str], str]]:
    """Rows of living samples, locked, and the digests of their files by row and type."""
    rows: dict[int, Row] = {}
    there: dict[tuple[int, str], str] = {}
    # In one order, so that two who lock several do not wait for each other.
    for row_id in sorted({piece.row_id for piece in pieces}):
        rows |= {row["id"]: row for row in _ROW.all(connection, {"row": row_id})}
        for known in _FILES.all(connection, {"row": row_id}):
            there[row_id, known["type"]] = known["sha256"]
    return rows, there


def _write(connection: sa.Connection, pieces: Sequence[Attach], rows: dict[int, Row]) -> None:
    by_organization: dict[int, list[Attach]] = defaultdict(list)
    by_dataset: dict[int, list[Attach]] = defaultdict(list)
    for piece in pieces:
        by_organization[piece.principal.organization_id].append(piece)
        by_dataset[rows[piece.row_id]["dataset_id"]].append(piece)
    for own in by_organization.values():
        images = sum(piece.staged.file.type == IMAGE for piece in own)
        require_room(connection, own[0].principal, images, sum(piece.staged.file.size for piece in own))
    for piece in pieces:
        file = piece.staged.file
        _INSERT.run(
            connection,
            {
                "sample_id": piece.row_id,
                "type": file.type,
                "sha256": file.sha256,
                "size": file.size,
                "mime_type": file.mime_type,
                "filename": file.filename,
            },
        )
        if piece.staged.file.type == IMAGE:
            _see(connection, rows[piece.row_id], piece.staged)
        _log(connection, piece, rows[piece.row_id])
    for dataset_row_id, own in by_dataset.items():
        seen = [rows[piece.row_id] for piece in own if piece.staged.file.type == IMAGE]
        add_to_counters(
            connection,
            dataset_row_id,
            images=len(seen),
            completed=sum(row["status"] == Status.COMPLETE.value for row in seen),
            size=sum(piece.staged.file.size for piece in own),
        )
    marked = {
        digest
        for digest in {piece.staged.file.sha256 for piece in pieces}
        if _MARK.all(connection, {"digest": digest})
    }
    if marked:
        pieces[0].keep_bytes(connection, marked)


def _see(connection: sa.Connection, row: Row, staged: Staged) -> None:
    """What a picture tells of its sample: the size, and the end of its name where it was converted."""
    before, after = (row["width"], row["height"]), (staged.width, staged.height)
    if before != after:
        set_size(connection, row["id"], before, after)
    name = stored_name(row["filename"])
    if name == row["filename"]:
        return
    taken = connection.execute(
        sa.select(samples.c.id).where(
            samples.c.dataset_id == row["dataset_id"],
            samples.c.folder == row["folder"],
            samples.c.filename == name,
            samples.c.deleted_at.is_(None),
        )
    ).first()
    if taken is not None:
        raise Conflict(
            f"Another sample is named {name!r}, as this picture would be once it is a PNG.",
            code="sample_exists",
            fix="Convert the picture yourself and give it another name.",
        )
    connection.execute(
        sa.update(samples).where(samples.c.id == row["id"]).values(filename=name, updated_at=clock.now())
    )


def _log(connection: sa.Connection, piece: Attach, row: Row) -> None:
    """Files of a sample that the same call added go with it, and need no line of their own."""
    file, principal = piece.staged.file, piece.principal
    if principal.call_id is not None and row["created_call"] == principal.call_id:
        return
    log_change(
        connection,
        principal,
        Kind.FILES_ADDED,
        row["dataset_id"],
        subject=row["uuid"],
        label=f"{row['folder'].rstrip('/')}/{row['filename']}: {file.type}",
        detail={
            "type": file.type,
            "sha256": file.sha256,
            "size": file.size,
            "mime_type": file.mime_type,
            "filename": file.filename,
        },
    )
