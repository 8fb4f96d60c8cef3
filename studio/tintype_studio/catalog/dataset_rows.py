"""What stands behind the ids of rows: dialects with numeric ids name datasets, sets, labels, samples by them.

Every look-up is narrowed to the caller's organization and to what is not deleted, as is the dataset around
it: anything else is ``NotFound``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.sensor_tables import sample_groups
from tintype_studio.storage.tables import annotation_sets, dataset_classes, datasets, samples

if TYPE_CHECKING:
    from tintype_studio.studio import Studio


_PREFIXES = {"dataset": "ds", "annotation_set": "as", "sample": "s"}
"""What ids are written with, before the number in hexadecimal."""


@dataclass(frozen=True, slots=True)
class SetRow:
    """A living annotation set, and the dataset that it is of."""

    row_id: int
    id: str
    name: str
    description: str | None
    created_at: datetime
    dataset: Dataset


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label, which is a class of its dataset."""

    row_id: int
    name: str
    index: int
    color: str | None
    """``#rrggbb``."""
    dataset_row_id: int
    dataset_name: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of samples."""

    row_id: int
    id: str
    name: str
    dataset: Dataset


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A living sample, whatever files it has."""

    row_id: int
    id: str
    filename: str
    folder: str
    group: str | None
    dataset: Dataset


def dataset_of_row(studio: Studio, principal: Principal, row_id: int) -> Dataset:
    """A dataset by its row; ``NotFound`` (``dataset_not_found``)."""
    return _found(studio, principal, datasets, row_id, "dataset")[1]


def set_of_row(studio: Studio, principal: Principal, row_id: int) -> SetRow:
    """An annotation set by its row; ``NotFound`` (``annotation_set_not_found``)."""
    row, dataset = _found(studio, principal, annotation_sets, row_id, "annotation_set")
    return SetRow(row_id, row["uuid"], row["name"], row["description"], row["created_at"], dataset)


def label_of_row(studio: Studio, principal: Principal, row_id: int) -> LabelRow:
    """A label by its row; ``NotFound`` (``label_not_found``)."""
    row = _row(studio, principal, dataset_classes, row_id, "label")
    return LabelRow(
        row_id, row["name"], row["label_index"], row["color"], row["dataset_id"], row["dataset_name"]
    )


def group_of_row(studio: Studio, principal: Principal, row_id: int) -> GroupRow:
    """A group by its row; ``NotFound`` (``group_not_found``)."""
    row, dataset = _found(studio, principal, sample_groups, row_id, "group")
    return GroupRow(row_id, row["uuid"], row["name"], dataset)


def sample_of_row(studio: Studio, principal: Principal, row_id: int) -> SampleRow:
    """A sample by its row; ``NotFound`` (``sample_not_found``)."""
    row, dataset = _found(studio, principal, samples, row_id, "sample")
    return SampleRow(row_id, row["uuid"], row["filename"], row["folder"], row["split"], dataset)


def _found(
    studio: Studio, principal: Principal, table: sa.Table, row_id: int, what: str
) -> tuple[sa.RowMapping, Dataset]:
    """The row, if it lives, and its dataset."""
    row = _row(studio, principal, table, row_id, what)
    return row, studio.datasets.get(principal, row["dataset_name"])


def _row(studio: Studio, principal: Principal, table: sa.Table, row_id: int, what: str) -> sa.RowMapping:
    """The row, if it lives, with the name of its dataset."""
    query: sa.Select[Any] = sa.select(table, datasets.c.name.label("dataset_name")).where(
        table.c.id == row_id,
        datasets.c.organization_id == principal.organization_id,
        datasets.c.deleted_at.is_(None),
    )
    if table is not datasets:
        query = query.join(datasets, datasets.c.id == table.c.dataset_id)
        if "deleted_at" in table.c:
            query = query.where(table.c.deleted_at.is_(None))
    with studio.database.read() as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        name, prefix = what.replace("_", " "), _PREFIXES.get(what)
        shown = f"{prefix}-{row_id:x}" if prefix else str(row_id)
        raise NotFound(
            f"No {name} has the id {shown}.",
            code=f"{what}_not_found",
            fix=f"List the {name}s to see their ids; it may be deleted, or of another organization.",
        )
    return row
