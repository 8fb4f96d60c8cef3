"""Samples as several sensors saw them: every file, sequence, group and fact, listed, counted and found.

Unlike the tools of pictures (``catalog/samples.py``), this knows samples without a picture, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.classes import newest_revision
from tintype_studio.annotations.documents import set_row_id
from tintype_studio.annotations.geometry import ANNOTATIONS, Annotation
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import IMAGE, Status
from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.sample_meta import NOTHING, SampleMeta, meta_from_json
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.sensor_tables import sequences
from tintype_studio.storage.tables import annotation_revisions, datasets, sample_files, samples

MAX_PAGE = 1000
"""Samples in one page."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a sample, whose bytes are in ``studio.blobs``."""

    type: str
    filename: str
    """As it was called where it came from, or the sample's name."""
    sha256: str
    size: int
    mime_type: str


@dataclass(frozen=True, slots=True)
class SequenceOf:
    """The sequence that a sample is a frame of."""

    row_id: int
    id: str
    name: str
    description: str | None


@dataclass(frozen=True, slots=True)
class SensorSample:
    """A sample with all that is known of it. Sizes are pixels of the upright picture."""

    row_id: int
    dataset_row_id: int
    id: str
    filename: str
    folder: str
    """``/``, or ``/<sequence>``; pictures that came by other ways may lie elsewhere."""
    status: Status
    group: str | None
    width: int | None
    """None until it is known; annotations are then in units of a 1 x 1 picture."""
    height: int | None
    annotation_count: int
    """In the default annotation set."""
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    display_name: str | None = None
    sequence: SequenceOf | None = None
    frame_number: int | None = None
    meta: SampleMeta = NOTHING
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    """By type, those that are there."""
    document: str = ""
    """Its annotations in the set that was asked for, as they are kept (JSON); empty for none."""

    @property
    def annotations(self) -> list[Annotation]:
        """The annotations as models."""
        return ANNOTATIONS.validate_json(self.document) if self.document else []

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The annotations as they are kept, which is quick."""
        return cast("list[dict[str, Any]]", orjson.loads(self.document)) if self.document else []


class MultiSamples:
    """Samples of every organization; each call sees only the principal's own."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def page(
        self,
        dataset: Dataset,
        *,
        annotation_set: int | None = None,
        with_annotations: bool = True,
        groups: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        where: Sequence[sa.ColumnElement[bool]] = (),
        after: int = 0,
        limit: int = MAX_PAGE,
    ) -> list[SensorSample]:
        """Living samples in the order of their row ids, those with ``row_id > after``; by key, so every page
        costs the same.

        ``annotation_set`` is the row of the set whose annotations come along, None for the default one.
        ``groups``: in one of these. ``types``: with a file of one of these types. ``where``: further
        conditions over ``samples``. An empty list is as none.
        """
        query = (
            _SELECTED.where(*_matching(dataset, groups, types, where), samples.c.id > after)
            .order_by(samples.c.id)
            .limit(min(limit, MAX_PAGE))
        )
        with self._db.read() as connection:
            rows = connection.execute(query).mappings().all()
            return _whole(connection, rows, annotation_set if with_annotations else None, with_annotations)

    def count(
        self,
        dataset: Dataset,
        *,
        groups: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        where: Sequence[sa.ColumnElement[bool]] = (),
    ) -> int:
        """How many samples ``page`` would find in all."""
        query = sa.select(sa.func.count()).where(*_matching(dataset, groups, types, where))
        with self._db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def beside_pictures(
        self, dataset: Dataset, where: Sequence[sa.ColumnElement[bool]] = ()
    ) -> tuple[int, int, int]:
        """What formats of pictures do not hold of the samples that ``page`` would find.

        How many files of other sensors there are, samples without a picture, and pictures that are frames of
        a sequence or have further facts.
        """
        mine = _matching(dataset, None, None, where)
        files = sa.select(sa.func.count()).select_from(samples.join(sample_files)).where(*mine)
        pictured = sa.exists().where(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE)
        facts = sa.or_(samples.c.sequence_id.is_not(None), samples.c.meta.is_not(None))
        among = sa.select(sa.func.count()).select_from(samples).where(*mine)
        with self._db.read() as connection:
            other, bare, told = (
                int(connection.execute(query).scalar_one())
                for query in (
                    files.where(sample_files.c.type != IMAGE),
                    among.where(~pictured),
                    among.where(facts, pictured),
                )
            )
        return other, bare, told

    def get(self, principal: Principal, sample_id: str, *, annotation_set: str | None = None) -> SensorSample:
        """A living sample by its UUID; ``NotFound`` (``sample_not_found``).

        With its annotations in the set of that name, or in the default one.
        """
        return self._one(principal, samples.c.uuid == printable(sample_id), sample_id, annotation_set)

    def of_row(self, principal: Principal, row_id: int, *, annotation_set: str | None = None) -> SensorSample:
        """A living sample by its row id, which is its id on the wire; ``NotFound`` (``sample_not_found``)."""
        return self._one(principal, samples.c.id == row_id, f"s-{row_id:x}", annotation_set)

    def _one(
        self, principal: Principal, which: sa.ColumnElement[bool], shown: str, annotation_set: str | None
    ) -> SensorSample:
        query = _SELECTED.join(datasets, datasets.c.id == samples.c.dataset_id).where(
            which,
            samples.c.deleted_at.is_(None),
            datasets.c.deleted_at.is_(None),
            datasets.c.organization_id == principal.organization_id,
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                raise no_sample(shown)
            set_id = None
            if annotation_set is not None:
                set_id = set_row_id(connection, row["dataset_id"], annotation_set)
            return _whole(connection, [row], set_id, True)[0]

    def of_rows(
        self,
        connection: sa.Connection,
        row_ids: Sequence[int],
        *,
        annotation_set: int | None = None,
        with_annotations: bool = True,
        with_deleted: bool = False,
    ) -> dict[int, SensorSample]:
        """By row id, in the caller's transaction; some hundred at a time. The caller has judged whose."""
        query = _SELECTED.where(samples.c.id.in_(row_ids))
        if not with_deleted:
            query = query.where(samples.c.deleted_at.is_(None))
        rows = connection.execute(query.order_by(samples.c.id)).mappings().all()
        return {s.row_id: s for s in _whole(connection, rows, annotation_set, with_annotations)}

    def names(self, dataset: Dataset, *, groups: Sequence[str] | None = None) -> list[str]:
        """File names of the living samples, without duplicates, sorted."""
        query = sa.select(samples.c.filename).where(*_matching(dataset, groups, None, ())).distinct()
        with self._db.read() as connection:
            return sorted(connection.execute(query).scalars())


_SELECTED = sa.select(
    samples,
    sequences.c.uuid.label("sequence_uuid"),
    sequences.c.name.label("sequence_name"),
    sequences.c.description.label("sequence_description"),
).outerjoin(sequences, sequences.c.id == samples.c.sequence_id)


def no_sample(shown: str) -> NotFound:
    """The refusal of an id that no living sample of the organization has."""
    return NotFound(
        f"No sample has the id {printable(shown[:80])!r}.",
        code="sample_not_found",
        fix="Call list_samples to see the ids.",
    )


def has_file(*types: str) -> sa.ColumnElement[bool]:
    """Condition on ``samples``: there is a file of one of these types."""
    return sa.exists(
        sa.select(sample_files.c.id).where(
            sample_files.c.sample_id == samples.c.id, sample_files.c.type.in_(types)
        )
    )


def _matching(
    dataset: Dataset,
    groups: Sequence[str] | None,
    types: Sequence[str] | None,
    where: Sequence[sa.ColumnElement[bool]],
) -> list[sa.ColumnElement[bool]]:
    conditions = [samples.c.dataset_id == dataset.row_id, samples.c.deleted_at.is_(None), *where]
    if groups:
        conditions.append(samples.c.split.in_([lookup_name(group) for group in groups]))
    if types:
        conditions.append(has_file(*types))
    return conditions


def _whole(
    connection: sa.Connection,
    rows: Sequence[sa.RowMapping],
    annotation_set: int | None,
    with_annotations: bool,
) -> list[SensorSample]:
    """Samples of one dataset with their files and documents, in two further queries."""
    ids = [row["id"] for row in rows]
    if not ids:
        return []
    files: dict[int, dict[str, StoredFile]] = {}
    names = {row["id"]: row["filename"] for row in rows}
    for file in connection.execute(
        sa.select(sample_files).where(sample_files.c.sample_id.in_(ids)).order_by(sample_files.c.id)
    ):
        files.setdefault(file.sample_id, {})[file.type] = StoredFile(
            file.type, file.filename or names[file.sample_id], file.sha256, file.size, file.mime_type
        )
    documents = documents_of(connection, ids, annotation_set) if with_annotations else {}
    return [_sample(row, files.get(row["id"], {}), documents.get(row["id"], "")) for row in rows]


def documents_of(
    connection: sa.Connection, row_ids: Sequence[int], annotation_set: int | None = None
) -> dict[int, str]:
    """The current annotations of samples in a set by its row, or in the default ones: JSON, by row id."""
    newest = (
        newest_revision(annotation_set)
        .where(annotation_revisions.c.sample_id.in_(row_ids))
        .group_by(annotation_revisions.c.sample_id)
        .scalar_subquery()
    )
    found = connection.execute(
        sa.select(annotation_revisions.c.sample_id, annotation_revisions.c.document).where(
            annotation_revisions.c.id.in_(newest)
        )
    )
    return {row.sample_id: "" if row.document == "[]" else row.document for row in found}


def _sample(row: sa.RowMapping, files: Mapping[str, StoredFile], document: str) -> SensorSample:
    sequence = None
    if row["sequence_uuid"] is not None:
        sequence = SequenceOf(
            row["sequence_id"], row["sequence_uuid"], row["sequence_name"], row["sequence_description"]
        )
    return SensorSample(
        row_id=row["id"],
        dataset_row_id=row["dataset_id"],
        id=row["uuid"],
        filename=row["filename"],
        folder=row["folder"],
        status=Status(row["status"]),
        group=row["split"],
        width=row["width"],
        height=row["height"],
        annotation_count=row["annotation_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
        display_name=row["display_name"],
        sequence=sequence,
        frame_number=row["frame_number"],
        meta=meta_from_json(row["meta"]),
        files=files,
        document=document,
    )
