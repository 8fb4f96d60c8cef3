"""How files and sizes of samples are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.samples import IMAGE, PICTURED, Status, add_to_counters
from tintype_studio.errors import Conflict
from tintype_studio.history.changes import Kind
from tintype_studio.history.dependents import batches
from tintype_studio.history.image_ids import older_images
from tintype_studio.history.step import Step
from tintype_studio.storage.tables import sample_files, samples
from tintype_studio.storage.upkeep_tables import swept_blobs

if TYPE_CHECKING:
    from tintype_studio.multisensor.sizes import Size

KEEP = timedelta(days=30)
"""How long the bytes of a file that was taken away can be put back."""


def take_file_away(step: Step, row: sa.RowMapping) -> int:
    """Remove a file that came to a sample."""
    detail = row["detail"]
    sample = _living(step, row)
    if sample is None:
        return 0
    gone = step.connection.execute(
        sa.delete(sample_files).where(
            sample_files.c.sample_id == sample.id,
            sample_files.c.type == detail["type"],
            sample_files.c.sha256 == detail["sha256"],
        )
    ).rowcount
    if gone:
        _count(step, sample, row, sign=-1)
        still = sa.select(sample_files.c.id).where(sample_files.c.sha256 == detail["sha256"]).limit(1)
        if step.connection.execute(still).first() is None:
            _mark(step.connection, detail["sha256"])
    step.log(row, Kind.FILES_REMOVED, count=gone, detail=dict(detail))
    return gone


def put_file_back(step: Step, row: sa.RowMapping) -> int:
    """Give a sample the file that it had; ``Conflict`` when it has another now, or the bytes are gone."""
    detail = row["detail"]
    sample = _living(step, row)
    there = (
        sample is not None
        and step.connection.execute(
            sa.select(sample_files.c.id).where(
                sample_files.c.sample_id == sample.id, sample_files.c.type == detail["type"]
            )
        ).first()
    )
    if sample is None or there:
        raise Conflict(
            f"{row['label']} cannot come back: the sample is gone, or has another file of this type now.",
            code="file_exists",
            fix="Undo what was done to the sample since then first; list_changes shows it.",
        )
    mark = step.connection.execute(
        sa.select(swept_blobs.c.deleted_at).where(swept_blobs.c.sha256 == detail["sha256"]).with_for_update()
    ).first()
    if mark is not None and mark.deleted_at is not None:
        raise Conflict(
            f"{row['label']} cannot come back: its bytes are gone for good.",
            code="purged",
            fix="Add the file again.",
        )
    step.connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.sha256 == detail["sha256"]))
    step.connection.execute(
        sa.insert(sample_files).values(
            sample_id=sample.id,
            **{name: detail[name] for name in ("type", "sha256", "size", "mime_type", "filename")},
        )
    )
    _count(step, sample, row, sign=1)
    step.log(row, Kind.FILES_ADDED, count=1, detail=dict(detail))
    return 1


def put_sizes_back(step: Step, row: sa.RowMapping, size: Sequence[int | None], ids: list[int]) -> list[int]:
    """Give samples the size that was known of them; their annotations keep their place in the picture."""
    from tintype_studio.multisensor.sizes import scale_documents

    found: list[int] = []
    after: Size = (size[0], size[1])
    for part in batches(ids):
        step.check()
        mine = sa.and_(older_images(row, list(part)), samples.c.deleted_at.is_(None))
        if after[0] is None:  # a picture tells its size, whoever told it first
            mine = sa.and_(mine, ~PICTURED)
        for old in step.connection.execute(
            sa.select(samples.c.id, samples.c.width, samples.c.height).where(mine).with_for_update()
        ).all():
            scale_documents(step.connection, old.id, (old.width, old.height), after)
            step.connection.execute(
                sa.update(samples)
                .where(samples.c.id == old.id)
                .values(width=after[0], height=after[1], updated_at=clock.now())
            )
            found.append(old.id)
    return found


def _living(step: Step, row: sa.RowMapping) -> sa.Row[Any, Any, Any] | None:
    return step.connection.execute(
        sa.select(samples.c.id, samples.c.dataset_id, samples.c.status)
        .where(
            samples.c.uuid == row["subject"],
            samples.c.dataset_id == step.dataset_id,
            samples.c.deleted_at.is_(None),
        )
        .with_for_update()
    ).first()


def _count(step: Step, sample: sa.Row[Any, Any, Any], row: sa.RowMapping, *, sign: int) -> None:
    is_image = row["detail"]["type"] == IMAGE
    add_to_counters(
        step.connection,
        step.dataset_id,
        images=sign * is_image,
        completed=sign * (is_image and sample.status == Status.COMPLETE.value),
        size=sign * row["detail"]["size"],
    )


def _mark(connection: sa.Connection, sha256: str) -> None:
    """Have bytes that no row names any more swept, but not before the undo may have been undone."""
    connection.execute(sa.delete(swept_blobs).where(swept_blobs.c.sha256 == sha256))
    connection.execute(sa.insert(swept_blobs).values(sha256=sha256, marked_at=clock.now() + KEEP))
