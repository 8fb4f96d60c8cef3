"""What samples that are there learn from those that come in again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.documents import replace_document
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Samples
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.history.image_ids import SIZE, pack
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.known import Known, same_annotations
from tintype_studio.multisensor.new_sample import Arrival
from tintype_studio.multisensor.sample_meta import meta_from_json
from tintype_studio.multisensor.sizes import Size, scale_documents
from tintype_studio.storage.tables import samples


@dataclass(slots=True)
class ColumnChanges:
    """Columns of samples that one call changes, for one line of the history."""

    found: dict[str, dict[bytes, tuple[Any, Any, list[int]]]] = field(default_factory=dict)

    def add(self, row_id: int, column: str, before: Any, after: Any) -> None:
        """A sample had one value and has another."""
        alike = self.found.setdefault(column, {})
        key = orjson.dumps([before, after])
        alike.setdefault(key, (before, after, []))[2].append(row_id)

    def log(self, connection: sa.Connection, principal: Principal, dataset_row_id: int) -> None:
        """Write the line, if anything has changed."""
        ids = {i for alike in self.found.values() for _, _, own in alike.values() for i in own}
        if ids:
            detail = {
                column: [[before, after, pack(own)] for before, after, own in alike.values()]
                for column, alike in self.found.items()
            }
            log_change(
                connection, principal, Kind.SAMPLES_UPDATED, dataset_row_id, count=len(ids), detail=detail
            )


def update_samples(
    connection: sa.Connection,
    principal: Principal,
    dataset: Dataset,
    known: Iterable[tuple[Known, Arrival]],
    rows_of_sequences: Mapping[str, int],
    *,
    set_id: int,
) -> tuple[set[int], int]:
    """Take over what arrivals tell of samples that are there: what is told replaces what was known.

    Names and places stay. Returns the row ids of those that changed, and how many documents were saved.
    """
    columns, changed, saved = ColumnChanges(), set[int](), 0
    for found, arrival in known:
        row_id = found.row["id"]
        values = _news(found.row, arrival, rows_of_sequences)
        size: Size = found.size
        if size[0] is None and arrival.size[0] is not None:
            size = arrival.size
            set_size(connection, row_id, found.size, size)
            columns.add(row_id, SIZE, list(found.size), list(size))
            changed.add(row_id)
        if values:
            for column, value in values.items():
                columns.add(row_id, column, found.row[column], value)
            connection.execute(
                sa.update(samples).where(samples.c.id == row_id).values(**values, updated_at=clock.now())
            )
            changed.add(row_id)
        text = arrival.document_in(size)
        if text and not same_annotations(text, found.document_in(size)):
            sample = Samples.of_row(connection, row_id)
            replace_document(connection, principal, sample, text, arrival.classes.total(), set_id=set_id)
            changed.add(row_id)
            saved += 1
    columns.log(connection, principal, dataset.row_id)
    return changed, saved


def set_size(connection: sa.Connection, row_id: int, before: Size, after: Size) -> None:
    """Make a sample's size known, its annotations keeping their place in the picture."""
    scale_documents(connection, row_id, before, after)
    connection.execute(
        sa.update(samples)
        .where(samples.c.id == row_id)
        .values(width=after[0], height=after[1], updated_at=clock.now())
    )


def _news(row: sa.RowMapping, arrival: Arrival, rows_of_sequences: Mapping[str, int]) -> dict[str, Any]:
    new = arrival.new
    told: dict[str, Any] = {
        "split": arrival.group,
        "frame_number": new.frame_number,
        "display_name": new.display_name,
        "meta": meta_from_json(row["meta"]).with_news(new.meta).as_json(),
    }
    if row["sequence_id"] is None and arrival.sequence is not None and row["folder"] == arrival.folder:
        told["sequence_id"] = rows_of_sequences.get(arrival.sequence)
    return {column: value for column, value in told.items() if value is not None and value != row[column]}
