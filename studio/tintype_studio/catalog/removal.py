"""Many images at once into the recycle bin, back from it, or gone for good; in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import admit_classes
from tintype_studio.catalog.bin import digest_of_purge, mark_purged
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.picking import Batched, Picked, chunks, in_places, own_keys
from tintype_studio.catalog.samples import Status, add_to_counters, bytes_of
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.history.image_ids import KEY, pack
from tintype_studio.history.step import names_on, require_options_on
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database
from tintype_studio.storage.sweep import mark_unused
from tintype_studio.storage.tables import sample_files, samples


def put_images_into_bin(
    connection: sa.Connection, principal: Principal, dataset: Dataset, picked: Sequence[Picked]
) -> None:
    """Delete living images; their file names are free again at once."""
    if not picked:
        return
    _mark(connection, picked, deleted_at=clock.now(), deleted_call=principal.call_id)
    _count(connection, dataset.row_id, picked, sign=-1)
    log_change(
        connection,
        principal,
        Kind.IMAGES_DELETED,
        dataset.row_id,
        count=len(picked),
        detail=_about(connection, principal, picked),
    )


def restore_images(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    picked: Sequence[Picked],
    done: Batched,
) -> list[Picked]:
    """Take images out of the bin; those whose place another has now become failures."""
    back: list[Picked] = []
    by_folder: dict[str, list[Picked]] = {}
    for p in picked:
        by_folder.setdefault(p.folder, []).append(p)
    for folder, those in by_folder.items():
        taken = set(in_places(connection, dataset, folder, [p.filename for p in those]))
        for p in those:
            if p.filename in taken:
                done.fail(p, f"another image is named {p.filename!r} in {folder!r} now")
            else:
                taken.add(p.filename)
                back.append(p)
    if not back:
        return back
    ids = [p.id for p in back]
    learned = admit_classes(connection, dataset.row_id, names_on(connection, ids))
    require_options_on(connection, dataset.row_id, ids)
    _mark(connection, back, deleted_at=None)
    _count(connection, dataset.row_id, back, sign=1)
    log_change(
        connection,
        principal,
        Kind.IMAGES_RESTORED,
        dataset.row_id,
        count=len(back),
        detail={KEY: pack(p.id for p in back)} | ({"classes_added": sorted(learned)} if learned else {}),
    )
    return back


def remove_for_good(
    database: Database,
    connection: sa.Connection,
    principal: Principal,
    dataset_row_id: int,
    picked: Sequence[Picked],
    *,
    label: str,
) -> None:
    """Remove images, in the bin or not. The bytes follow when no row names them any more."""
    if not picked:
        return
    _count(connection, dataset_row_id, [p for p in picked if not p.in_bin], sign=-1)
    digests: set[str] = set()
    for part in chunks(picked):
        ids = [p.id for p in part]
        of_these = sa.select(sample_files.c.sha256).where(sample_files.c.sample_id.in_(ids))
        digests |= set(connection.execute(of_these).scalars())
        connection.execute(sa.delete(samples).where(samples.c.id.in_(ids)))
    mark_purged(connection, {(dataset_row_id, p.deleted_call) for p in picked if p.in_bin})
    mark_unused(database, connection, digests)
    # Without the dataset, as every purge: nothing can be taken back from it.
    log_change(
        connection,
        principal,
        Kind.PURGED,
        None,
        subject=picked[0].uuid if len(picked) == 1 else None,
        label=label,
        count=len(picked),
        detail={
            "images": len(picked),
            "size": sum(p.size for p in picked),
            "digest": digest_of_purge([], [p.uuid for p in picked]),
        },
    )


def _mark(
    connection: sa.Connection, picked: Sequence[Picked], *, deleted_at: datetime | None, **values: str | None
) -> None:
    for part in chunks(picked):
        connection.execute(
            sa.update(samples)
            .where(samples.c.id.in_([p.id for p in part]))
            .values(deleted_at=deleted_at, **values)
        )


def _about(connection: sa.Connection, principal: Principal, picked: Sequence[Picked]) -> dict[str, Any]:
    mine = own_keys(connection, principal)
    of_others = any(p.created_by not in mine for p in picked)
    return {KEY: pack(p.id for p in picked)} | ({"of_others": True} if of_others else {})


def _count(connection: sa.Connection, dataset_row_id: int, picked: Sequence[Picked], *, sign: int) -> None:
    add_to_counters(
        connection,
        dataset_row_id,
        images=sign * sum(p.has_picture for p in picked),
        completed=sign * sum(p.has_picture and p.status == Status.COMPLETE for p in picked),
        annotations=sign * sum(p.annotation_count for p in picked),
        size=sign * sum(bytes_of(connection, [p.id for p in part]) for part in chunks(picked)),
    )
