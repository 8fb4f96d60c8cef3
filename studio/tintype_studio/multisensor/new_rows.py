"""Rows of samples that were not there, with their sequences, groups, files and first annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Status, add_to_counters
from tintype_studio.errors import Conflict
from tintype_studio.history.dependents import batches
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.file_types import IMAGE
from tintype_studio.multisensor.new_sample import Arrival
from tintype_studio.multisensor.staging import Staged
from tintype_studio.storage.database import Database
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.sensor_tables import sequences
from tintype_studio.storage.tables import annotation_revisions, sample_files, samples


def insert_samples(
    database: Database,
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    arrivals: Mapping[str, Arrival],
    *,
    set_id: int,
    counts: bool,
) -> dict[str, int]:
    """Insert arrivals by the UUIDs that their rows get; returns row ids by these.

    ``counts``: the set is the default one, which status and counters follow.
    """
    if not arrivals:
        return {}
    now = clock.now()
    rows_of_sequences = sequence_rows(database, connection, dataset, arrivals.values())
    ids: dict[str, int] = {}
    for part in batches(list(arrivals.items())):
        values = [
            _columns(arrival, counts)
            | {
                "uuid": uuid,
                "dataset_id": dataset.row_id,
                "sequence_id": rows_of_sequences.get(arrival.sequence or ""),
                "created_at": now,
                "updated_at": now,
                "created_by": principal.key_id,
                "created_call": principal.call_id,
            }
            for uuid, arrival in part
        ]
        insert = database.insert_ignore(samples).returning(samples.c.id, samples.c.uuid)
        ids |= {row.uuid: row.id for row in connection.execute(insert, values)}
    if len(ids) < len(arrivals):
        raise Conflict(
            "Another call adds the same samples now; nothing was added by this one.",
            code="sample_exists",
            fix="Call again: what is there by then is known.",
        )
    insert_files(
        connection, [(ids[uuid], staged) for uuid, a in arrivals.items() for staged in a.files.values()]
    )
    annotated = {ids[uuid]: arrival for uuid, arrival in arrivals.items() if arrival.document}
    _insert_documents(connection, principal, annotated, set_id=set_id, counts=counts)
    with_image = [a for a in arrivals.values() if IMAGE in a.files]
    add_to_counters(
        connection,
        dataset.row_id,
        images=len(with_image),
        completed=sum(_status(a, counts) is Status.COMPLETE for a in with_image),
        annotations=sum(a.classes.total() for a in annotated.values()) if counts else 0,
        size=sum(staged.file.size for a in arrivals.values() for staged in a.files.values()),
        appended=True,
    )
    return ids


def insert_files(connection: sa.Connection, files: Sequence[tuple[int, Staged]]) -> None:
    """Files by the rows of their samples."""
    rows = [
        {
            "sample_id": row_id,
            "type": staged.file.type,
            "sha256": staged.file.sha256,
            "size": staged.file.size,
            "mime_type": staged.file.mime_type,
            "filename": staged.file.filename,
        }
        for row_id, staged in files
    ]
    if rows:
        connection.execute(sa.insert(sample_files), rows)


def sequence_rows(
    database: Database, connection: sa.Connection, dataset: Dataset, arrivals: Iterable[Arrival]
) -> dict[str, int]:
    """Row ids of the sequences that arrivals name, by name; those that are not there are made."""
    wanted = {a.sequence: a for a in arrivals if a.sequence is not None}
    if not wanted:
        return {}
    found = _sequences(connection, dataset, list(wanted))
    missing = {name: a for name, a in wanted.items() if name not in found}
    for fresh in (False, True):
        # A UUID that another sequence has is not taken from it.
        if not missing:
            break
        connection.execute(
            database.insert_ignore(sequences),
            [
                {
                    "uuid": clock.new_id() if fresh or a.sequence_uuid is None else a.sequence_uuid,
                    "dataset_id": dataset.row_id,
                    "name": name,
                    "description": a.new.sequence_description,
                    "created_at": clock.now(),
                }
                for name, a in missing.items()
            ],
        )
        found = _sequences(connection, dataset, list(wanted))
        missing = {name: a for name, a in wanted.items() if name not in found}
    return found


def _sequences(connection: sa.Connection, dataset: Dataset, names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in batches(names):
        rows = connection.execute(
            sa.select(sequences.c.name, sequences.c.id).where(
                sequences.c.dataset_id == dataset.row_id, sequences.c.name.in_(part)
            )
        )
        found |= {row.name: row.id for row in rows}
    return found


def _status(arrival: Arrival, counts: bool) -> Status:
    annotated = counts and bool(arrival.document)
    return arrival.new.status or (Status.COMPLETE if annotated else Status.NEW)


def _columns(arrival: Arrival, counts: bool) -> dict[str, Any]:
    width, height = arrival.size
    return {
        "filename": arrival.filename,
        "display_name": arrival.new.display_name,
        "folder": arrival.folder,
        "status": _status(arrival, counts).value,
        "split": arrival.group,
        "width": width,
        "height": height,
        "annotation_count": arrival.classes.total() if counts else 0,
        "frame_number": arrival.new.frame_number,
        "meta": arrival.new.meta.as_json(),
    }


def _insert_documents(
    connection: sa.Connection,
    principal: Principal,
    annotated: Mapping[int, Arrival],
    *,
    set_id: int,
    counts: bool,
) -> None:
    if not annotated:
        return
    now = clock.now()
    connection.execute(
        sa.insert(annotation_revisions),
        [
            {
                "sample_id": row_id,
                "annotation_set_id": set_id,
                "revision": 1,
                "document": arrival.document_in(arrival.size),
                "annotation_count": arrival.classes.total(),
                "call_id": principal.call_id,
                "created_by": principal.key_uuid,
                "created_at": now,
            }
            for row_id, arrival in annotated.items()
        ],
    )
    if counts:
        connection.execute(
            sa.insert(sample_classes),
            [
                {"sample_id": row_id, "name": name, "count": count}
                for row_id, arrival in annotated.items()
                for name, count in arrival.classes.items()
            ],
        )
