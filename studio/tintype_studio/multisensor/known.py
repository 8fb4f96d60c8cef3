"""Which samples that come in are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict
from tintype_studio.history.dependents import batches
from tintype_studio.multisensor.new_sample import Arrival
from tintype_studio.multisensor.samples import documents_of
from tintype_studio.multisensor.sizes import Size, rescaled
from tintype_studio.storage.tables import sample_files, samples


@dataclass(frozen=True, slots=True)
class Known:
    """A sample of the dataset that an arrival is, with its current annotations in the set (JSON)."""

    row: sa.RowMapping
    document: str

    @property
    def size(self) -> Size:
        """Width and height, as far as they are known."""
        return self.row["width"], self.row["height"]

    def document_in(self, size: Size) -> str:
        """Its annotations in a picture of another size than is known."""
        return rescaled(self.document, self.size, size)


def find_known(
    connection: sa.Connection, dataset: Dataset, arrivals: Sequence[Arrival], set_id: int
) -> tuple[dict[str, Known], set[str]]:
    """By UUID as sent, the samples that are there, locked; and the UUIDs that something else has.

    Raises ``Conflict`` (``sample_exists``) where another sample has the place of one that is new.
    """
    rows: dict[str, sa.RowMapping] = {}
    taken: set[str] = set()
    for part in batches(arrivals):
        for row in connection.execute(
            sa.select(samples).where(samples.c.uuid.in_([a.uuid for a in part])).with_for_update()
        ).mappings():
            if row["dataset_id"] == dataset.row_id and row["deleted_at"] is None:
                rows[row["uuid"]] = row
            else:
                taken.add(row["uuid"])
    by_place = _in_places(connection, dataset, [a for a in arrivals if a.uuid not in rows])
    ids = [row["id"] for row in (*rows.values(), *by_place.values())]
    documents: dict[int, str] = {}
    for some in batches(ids):
        documents |= documents_of(connection, some, set_id)
    bare = _without_files(connection, [row["id"] for row in by_place.values()])
    known = {uuid: Known(row, documents.get(row["id"], "")) for uuid, row in rows.items()}
    claimed = {row["id"] for row in rows.values()}
    others: list[Arrival] = []
    for arrival in arrivals:
        other = by_place.get(arrival.place) if arrival.uuid not in rows else None
        if other is None:
            continue
        found = Known(other, documents.get(other["id"], ""))
        if other["id"] not in claimed and (other["id"] in bare or _says_the_same(found, arrival)):
            known[arrival.uuid] = found
        else:
            others.append(arrival)
    if others:
        raise _taken(dataset, others)
    return known, taken


def _in_places(
    connection: sa.Connection, dataset: Dataset, arrivals: Sequence[Arrival]
) -> dict[tuple[str, str], Any]:
    wanted = {arrival.place for arrival in arrivals}
    found: dict[tuple[str, str], Any] = {}
    for part in batches(sorted({filename for _, filename in wanted})):
        for row in connection.execute(
            sa.select(samples)
            .where(
                samples.c.dataset_id == dataset.row_id,
                samples.c.deleted_at.is_(None),
                samples.c.filename.in_(part),
            )
            .with_for_update()
        ).mappings():
            if (row["folder"], row["filename"]) in wanted:
                found[row["folder"], row["filename"]] = row
    return found


def _without_files(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    with_files: set[int] = set()
    for part in batches(ids):
        query = sa.select(sample_files.c.sample_id).where(sample_files.c.sample_id.in_(part))
        with_files |= set(connection.execute(query).scalars())
    return set(ids) - with_files


def _says_the_same(known: Known, arrival: Arrival) -> bool:
    """Whether a sample that has files could be the one that is sent: its files will tell."""
    row, new = known.row, arrival.new
    return (
        arrival.group in {None, row["split"]}
        and new.frame_number in {None, row["frame_number"]}
        and (not arrival.document or same_annotations(arrival.document_in(known.size), known.document))
    )


def same_annotations(one: str, other: str) -> bool:
    """Whether two documents say the same, whatever ids their annotations have."""
    return one == other or _nameless(one) == _nameless(other)


def _nameless(document: str) -> list[dict[str, Any]]:
    entries = orjson.loads(document) if document else []
    return [{key: value for key, value in entry.items() if key != "id"} for entry in entries]


def _taken(dataset: Dataset, others: Sequence[Arrival]) -> Conflict:
    first = others[0]
    more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
    return Conflict(
        f"Dataset {dataset.name!r} has another sample {first.filename!r} in {first.folder!r}{more}; "
        "nothing was added.",
        code="sample_exists",
        fix="Leave out what is there (list_samples shows it), or give other image names or a sequence_name.",
        details={"samples": [f"{a.folder.rstrip('/')}/{a.filename}" for a in others[:20]]},
    )
