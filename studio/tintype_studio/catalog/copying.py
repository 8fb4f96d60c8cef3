"""Copies of images within a dataset: new rows over the same bytes; in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import newest_revision
from tintype_studio.catalog.datasets import DEFAULT_SET, Dataset
from tintype_studio.catalog.ingest import require_room
from tintype_studio.catalog.picking import Batched, Picked, chunks, deletable, in_places
from tintype_studio.catalog.removal import put_images_into_bin
from tintype_studio.catalog.samples import IMAGE, Status, add_to_counters
from tintype_studio.history.changes import Kind, add_to_change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, sample_files, samples

_TRIED = 32
"""Names that are looked up at a time for one copy."""

_MAX_NAME = 255


class Duplicates(StrEnum):
    """What becomes of a copy whose name is taken in the target folder."""

    RENAME = "rename"
    """It gets the next free name: ``sign_1.jpg``."""
    SKIP = "skip"
    """It is not made."""
    OVERWRITE = "overwrite"
    """The image that has the name goes into the recycle bin."""


@dataclass(frozen=True, slots=True)
class _Copy:
    source: Picked
    filename: str


def copy_images(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    picked: Sequence[Picked],
    folder: str,
    done: Batched,
    *,
    duplicates: Duplicates,
    annotations: bool,
) -> None:
    """Copy living images into a folder; with ``annotations``, those and the status as well."""
    taken = in_places(connection, dataset, folder, [p.filename for p in picked])
    match duplicates:
        case Duplicates.RENAME:
            copies = _renamed(connection, dataset, folder, picked, taken)
        case Duplicates.SKIP:
            copies = _skipped(picked, taken, done)
        case Duplicates.OVERWRITE:
            copies = _overwriting(connection, principal, dataset, picked, taken, done)
    if not copies:
        return
    require_room(connection, principal, len(copies), sum(c.source.size for c in copies))
    rows = _insert(connection, principal, dataset, copies, folder, annotations=annotations)
    labelled = [(row_id, c.source) for row_id, c in rows if annotations and c.source.annotation_count]
    add_to_counters(
        connection,
        dataset.row_id,
        images=len(copies),
        completed=sum(annotations and c.source.status == Status.COMPLETE for c in copies),
        annotations=sum(source.annotation_count for _, source in labelled),
        size=sum(c.source.size for c in copies),
        appended=True,
    )
    add_to_change(connection, principal, Kind.IMAGES_ADDED, dataset.row_id, len(copies))
    if labelled:
        _copy_annotations(connection, principal, dataset, labelled)
        add_to_change(connection, principal, Kind.ANNOTATIONS_SAVED, dataset.row_id, len(labelled))
    done.processed += len(copies)
    done.folders.add(folder)


def _skipped(picked: Sequence[Picked], taken: dict[str, Picked], done: Batched) -> list[_Copy]:
    names, copies = set(taken), []
    for p in picked:
        if p.filename in names:
            done.skipped += 1
        else:
            names.add(p.filename)
            copies.append(_Copy(p, p.filename))
    return copies


def _overwriting(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    picked: Sequence[Picked],
    taken: dict[str, Picked],
    done: Batched,
) -> list[_Copy]:
    """Put into the bin what has the names of the copies, as far as the principal may delete it."""
    refused = Batched()
    deletable(connection, principal, list(taken.values()), refused)
    kept = {failed.id for failed in refused.failed}
    names, copies, replaced = set[str](), [], []
    for p in picked:
        there = taken.get(p.filename)
        if p.filename in names:
            done.fail(p, f"another image of this call is copied to {p.filename!r}")
        elif there is not None and there.id == p.id:
            done.fail(p, "an image cannot overwrite itself")
        elif there is not None and there.uuid in kept:
            done.fail(p, f"{p.filename!r} in the target folder was uploaded by someone else")
        else:
            names.add(p.filename)
            copies.append(_Copy(p, p.filename))
            if there is not None:
                replaced.append(there)
    put_images_into_bin(connection, principal, dataset, replaced)
    return copies


def _renamed(
    connection: sa.Connection,
    dataset: Dataset,
    folder: str,
    picked: Sequence[Picked],
    taken: dict[str, Picked],
) -> list[_Copy]:
    """Each under the first free name of ``sign.jpg``, ``sign_1.jpg``, ``sign_2.jpg`` …"""
    names: dict[int, str] = {}
    used = set(taken)
    waiting: list[Picked] = []
    for p in picked:
        if p.filename in used:
            waiting.append(p)
        else:
            names[p.id] = p.filename
            used.add(p.filename)
    for start in count(1, _TRIED):
        if not waiting:
            break
        tried = {p.id: [_numbered(p.filename, n) for n in range(start, start + _TRIED)] for p in waiting}
        used |= set(in_places(connection, dataset, folder, [n for some in tried.values() for n in some]))
        left = []
        for p in waiting:
            free = next((name for name in tried[p.id] if name not in used), None)
            if free is None:
                left.append(p)
            else:
                names[p.id] = free
                used.add(free)
        waiting = left
    return [_Copy(p, names[p.id]) for p in picked]


def _numbered(filename: str, number: int) -> str:
    path = PurePosixPath(filename)
    end = f"_{number}{path.suffix}"
    return path.stem[: _MAX_NAME - len(end)] + end


def _insert(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    copies: Sequence[_Copy],
    folder: str,
    *,
    annotations: bool,
) -> list[tuple[int, _Copy]]:
    """The rows of the copies and of their files; returns their ids."""
    now, made = clock.now(), []
    insert = sa.insert(samples).returning(samples.c.id, samples.c.uuid)
    for part in chunks(copies):
        new = {clock.new_id(): c for c in part}
        rows = connection.execute(
            insert,
            [
                {
                    "uuid": uuid,
                    "dataset_id": dataset.row_id,
                    "filename": c.filename,
                    "display_name": c.source.display_name,
                    "folder": folder,
                    "status": c.source.status if annotations else Status.NEW.value,
                    # The same picture in two splits would be learned and tested with.
                    "split": c.source.split,
                    "width": c.source.width,
                    "height": c.source.height,
                    "annotation_count": c.source.annotation_count if annotations else 0,
                    "created_at": now,
                    "updated_at": now,
                    "created_by": principal.key_id,
                    "created_call": principal.call_id,
                }
                for uuid, c in new.items()
            ],
        ).all()
        pairs = [(row.id, new[row.uuid]) for row in rows]
        files: list[dict[str, Any]] = [
            {
                "sample_id": row_id,
                "type": IMAGE,
                "sha256": c.source.sha256,
                "size": c.source.size,
                "mime_type": c.source.mime_type,
            }
            for row_id, c in pairs
        ]
        connection.execute(sa.insert(sample_files), files)
        made += pairs
    return made


def _copy_annotations(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    labelled: Sequence[tuple[int, Picked]],
) -> None:
    """Give each new image, named by its row id, the current document of its source."""
    now = clock.now()
    set_id = connection.execute(
        sa.select(annotation_sets.c.id).where(
            annotation_sets.c.dataset_id == dataset.row_id, annotation_sets.c.name == DEFAULT_SET
        )
    ).scalar_one()
    for part in chunks(labelled):
        sources = [source.id for _, source in part]
        documents = _by_sample(
            connection.execute(
                sa.select(
                    annotation_revisions.c.sample_id,
                    annotation_revisions.c.document,
                    annotation_revisions.c.annotation_count,
                ).where(
                    annotation_revisions.c.id.in_(
                        newest_revision()
                        .where(annotation_revisions.c.sample_id.in_(sources))
                        .group_by(annotation_revisions.c.sample_id)
                        .scalar_subquery()
                    )
                )
            ),
            lambda row: (row.document, row.annotation_count),
        )
        connection.execute(
            sa.insert(annotation_revisions),
            [
                {
                    "sample_id": row_id,
                    "annotation_set_id": set_id,
                    "revision": 1,
                    "document": document,
                    "annotation_count": number,
                    "call_id": principal.call_id,
                    "created_by": principal.key_uuid,
                    "created_at": now,
                }
                for row_id, source in part
                for document, number in documents[source.id]
            ],
        )
        classes = _by_sample(
            connection.execute(
                sa.select(sample_classes.c.sample_id, sample_classes.c.name, sample_classes.c.count).where(
                    sample_classes.c.sample_id.in_(sources)
                )
            ),
            lambda row: (row.name, row.count),
        )
        counted = [
            {"sample_id": row_id, "name": name, "count": number}
            for row_id, source in part
            for name, number in classes.get(source.id, ())
        ]
        if counted:
            connection.execute(sa.insert(sample_classes), counted)


def _by_sample(
    rows: sa.CursorResult[Any], value: Callable[[Any], tuple[str, int]]
) -> dict[int, list[tuple[str, int]]]:
    found: dict[int, list[tuple[str, int]]] = {}
    for row in rows:
        found.setdefault(row.sample_id, []).append(value(row))
    return found
