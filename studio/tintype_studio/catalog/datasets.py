"""Datasets: create, find, list, change, delete, and the counters that make listing cheap.

A dataset belongs to a project; callers that know no projects use the organization's default one. Names
are unique within the organization, case-sensitive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, NotFound
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.bootstrap import DEFAULT_PROJECT
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import (
    annotation_sets,
    dataset_classes,
    datasets,
    projects,
    samples,
)

DEFAULT_SET = "default"

_NAME_OF = Prepared(
    sa.select(datasets.c.name).where(
        datasets.c.uuid == sa.bindparam("dataset"),
        datasets.c.organization_id == sa.bindparam("organization"),
        datasets.c.deleted_at.is_(None),
    )
)

# Most calls begin with this lookup.
_BY_NAME = Prepared(
    sa.select(
        datasets,
        dataset_classes.c.name.label("class_name"),
        dataset_classes.c.type.label("class_type"),
        dataset_classes.c.color.label("class_color"),
        dataset_classes.c.attributes.label("class_attributes"),
        dataset_classes.c.label_index.label("class_index"),
    )
    .outerjoin(dataset_classes, dataset_classes.c.dataset_id == datasets.c.id)
    .where(
        datasets.c.organization_id == sa.bindparam("organization_id"),
        datasets.c.deleted_at.is_(None),
        datasets.c.name == sa.bindparam("name"),
    )
    .order_by(dataset_classes.c.position)
)

_IN_BIN = Prepared(
    sa.select(sa.func.count().label("count")).where(
        samples.c.dataset_id == sa.bindparam("dataset_id"), samples.c.deleted_at.is_not(None)
    )
)


MOST_COMPARED = 1000
"""Names, the newest first, among which those close to an unknown one are sought."""


@dataclass(frozen=True, slots=True)
class ClassAttribute:
    """What may be said of each object of a class, such as its colour: one of the options."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatasetClass:
    """A class label of a dataset."""

    name: str
    type: str | None = None
    """Annotation type that the class is meant for (bbox, polygon, polyline, keypoint), if declared."""
    color: str | None = None
    """``#rrggbb``."""
    attributes: tuple[ClassAttribute, ...] = ()
    index: int | None = field(default=None, compare=False)
    """Its label index; None for the next that is free, or the one that the class of this name has."""

    def as_json(self) -> dict[str, Any]:
        """For JSON; without ``attributes`` where it has none, and without ``index`` where that is open."""
        shape: dict[str, Any] = {"name": self.name, "type": self.type, "color": self.color}
        shape |= {"attributes": attributes_as_json(self.attributes)} if self.attributes else {}
        return shape | ({} if self.index is None else {"index": self.index})

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> DatasetClass:
        """What ``as_json`` gave, or a row of ``dataset_classes``."""
        attributes = attributes_from_json(found.get("attributes"))
        index = found.get("index", found.get("label_index"))
        return cls(found["name"], found["type"], found["color"], attributes, index)


def attributes_as_json(attributes: Sequence[ClassAttribute]) -> list[dict[str, Any]] | None:
    """As they are stored; None for no attribute."""
    return [{"name": each.name, "options": list(each.options)} for each in attributes] or None


def attributes_from_json(found: Sequence[Mapping[str, Any]] | None) -> tuple[ClassAttribute, ...]:
    """What ``attributes_as_json`` gave."""
    return tuple(ClassAttribute(each["name"], tuple(each["options"])) for each in found or ())


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as it is listed."""

    row_id: int
    id: str
    organization_id: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    image_count: int
    completed_image_count: int
    annotation_count: int
    total_size: int
    classes_declared: bool
    annotation_types: list[str] | None
    """What its annotations are meant to be; None when nobody said. It restricts nothing."""
    reordered: int
    """Changes whenever images take other places in the list, which new images at its end do not."""
    project_row_id: int
    classes: list[DatasetClass] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DeletedCounts:
    """What went with a deleted dataset."""

    images_deleted: int
    annotations_deleted: int


class Datasets:
    """Datasets of every organization; each call sees only the principal's own."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(
        self,
        principal: Principal,
        *,
        name: str,
        description: str | None = None,
        annotation_types: Sequence[str] | None = None,
        project_row_id: int | None = None,
    ) -> Dataset:
        """Make an empty dataset, or raise ``Conflict`` when the name is taken.

        In the project of that row, which is the caller's to check; None for the default one.
        """
        name = clean_name(name, "Dataset name")
        now, uuid = clock.now(), clock.new_id()
        with self._db.write() as connection:
            project_id = project_row_id or default_project(connection, principal)
            row_id = connection.execute(
                self._db.insert_ignore(datasets)
                .values(
                    uuid=uuid,
                    organization_id=principal.organization_id,
                    project_id=project_id,
                    name=name,
                    description=description,
                    annotation_types=_types(annotation_types),
                    created_at=now,
                    updated_at=now,
                )
                .returning(datasets.c.id)
            ).scalar()
            if row_id is None:
                raise _exists(name)
            connection.execute(
                sa.insert(annotation_sets).values(
                    uuid=clock.new_id(), dataset_id=row_id, name=DEFAULT_SET, created_at=now
                )
            )
            log_change(connection, principal, Kind.DATASET_CREATED, row_id, subject=uuid, label=name)
        return self.get(principal, name)

    def get(self, principal: Principal, name: str) -> Dataset:
        """A dataset by name."""
        with self._db.read() as connection:
            return self._get(connection, principal, name, alone=True)

    def find(self, principal: Principal, name: str) -> Dataset | None:
        """A dataset by name, or None; a name that no dataset could have is an error."""
        try:
            return self.get(principal, clean_name(name, "Dataset name"))
        except NotFound:
            return None

    def get_or_create(self, principal: Principal, name: str) -> Dataset:
        """A dataset by name, made when it does not exist; safe against a second caller."""
        try:
            return self.get(principal, name)
        except NotFound:
            try:
                return self.create(principal, name=name)
            except Conflict:
                return self.get(principal, name)

    def list(
        self,
        principal: Principal,
        *,
        limit: int = 100,
        offset: int = 0,
        project_row_id: int | None = None,
    ) -> list[Dataset]:
        """Datasets by creation, newest first; those of one project, where it is given."""
        within = sa.true() if project_row_id is None else datasets.c.project_id == project_row_id
        with self._db.read() as connection:
            rows = (
                connection.execute(
                    sa.select(datasets)
                    .where(
                        datasets.c.organization_id == principal.organization_id,
                        datasets.c.deleted_at.is_(None),
                        within,
                    )
                    .order_by(datasets.c.id.desc())
                    .limit(limit)
                    .offset(offset)
                )
                .mappings()
                .all()
            )
            classes = _classes_of(connection, [row["id"] for row in rows])
        return [_dataset(dict(row), principal, classes.get(row["id"], [])) for row in rows]

    def name_of(self, principal: Principal, dataset_id: str) -> str:
        """The name of the dataset with this UUID."""
        key = {"organization": principal.organization_id, "dataset": printable(dataset_id)}
        with self._db.read() as connection:
            rows = _NAME_OF.all(connection, key, alone=True)
        if not rows:
            raise NotFound(
                f"No dataset has the id {printable(dataset_id[:80])!r}.",
                code="dataset_not_found",
                fix="Call list_datasets to see them.",
            )
        return str(rows[0]["name"])

    def count_in_bin(self, dataset: Dataset) -> int:
        """How many deleted images of one dataset lie in the recycle bin."""
        with self._db.read() as connection:
            (row,) = _IN_BIN.all(connection, {"dataset_id": dataset.row_id}, alone=True)
        return int(row["count"])

    def in_bin(self, of: Sequence[Dataset]) -> dict[str, int]:
        """By UUID, how many deleted images of the datasets lie in the recycle bin."""
        uuids = {dataset.row_id: dataset.id for dataset in of}
        counts = dict.fromkeys(uuids.values(), 0)
        with self._db.read() as connection:
            for row in connection.execute(
                sa.select(samples.c.dataset_id, sa.func.count().label("count"))
                .where(samples.c.dataset_id.in_(uuids), samples.c.deleted_at.is_not(None))
                .group_by(samples.c.dataset_id)
            ):
                counts[uuids[row.dataset_id]] = row._mapping["count"]
        return counts

    def update(
        self,
        principal: Principal,
        name: str,
        *,
        new_name: str | None = None,
        description: str | None = None,
        annotation_types: Sequence[str] | None = None,
    ) -> Dataset:
        """Rename or describe a dataset; what is None stays. An empty description takes it away.

        ``Conflict`` when the new name is taken (``dataset_exists``) or a job still works under the old one
        (``job_running``).
        """
        wanted: dict[str, Any] = {}
        if new_name is not None:
            wanted["name"] = clean_name(new_name, "Dataset name")
        if description is not None:
            wanted["description"] = description or None
        if annotation_types is not None:
            wanted["annotation_types"] = _types(annotation_types)
        with self._db.write() as connection:
            dataset = self.get_in(connection, principal, name)
            before = {key: getattr(dataset, key) for key in wanted}
            changed = [key for key in wanted if wanted[key] != before[key]]
            if not changed:
                return dataset
            values = {key: wanted[key] for key in changed}
            if not set_fields(connection, dataset.row_id, values):
                raise _exists(values["name"])
            log_change(
                connection,
                principal,
                Kind.DATASET_UPDATED,
                dataset.row_id,
                subject=dataset.id,
                label=dataset.name,
                detail={"before": {key: before[key] for key in changed}, "after": values},
            )
            return self.get_in(connection, principal, values.get("name", dataset.name))

    def delete(self, principal: Principal, name: str) -> DeletedCounts:
        """Put a dataset and its samples into the recycle bin; the name is free again at once."""
        now = clock.now()
        with self._db.write() as connection:
            dataset = self.get_in(connection, principal, name)
            put_into_bin(connection, dataset.row_id, now, principal.call_id)
            log_change(
                connection,
                principal,
                Kind.DATASET_DELETED,
                dataset.row_id,
                subject=dataset.id,
                label=dataset.name,
                detail={"images": dataset.image_count, "annotations": dataset.annotation_count},
            )
        return DeletedCounts(images_deleted=dataset.image_count, annotations_deleted=dataset.annotation_count)

    def get_in(self, connection: sa.Connection, principal: Principal, name: str) -> Dataset:
        """A dataset by name inside the caller's transaction."""
        return self._get(connection, principal, name, alone=False)

    def _get(self, connection: sa.Connection, principal: Principal, name: str, *, alone: bool) -> Dataset:
        key = {"organization_id": principal.organization_id, "name": lookup_name(name)}
        rows = _BY_NAME.all(connection, key, alone=alone)
        if not rows:
            raise _no_such_name(connection, principal, name)
        classes = [
            DatasetClass(
                row["class_name"],
                row["class_type"],
                row["class_color"],
                attributes_from_json(row["class_attributes"]),
                row["class_index"],
            )
            for row in rows
            if row["class_name"] is not None
        ]
        return _dataset(rows[0], principal, classes)


def default_project(connection: sa.Connection, principal: Principal) -> int:
    """Row of the organization's default project."""
    return int(
        connection.execute(
            sa.select(projects.c.id).where(
                projects.c.organization_id == principal.organization_id,
                projects.c.name == DEFAULT_PROJECT,
                projects.c.deleted_at.is_(None),
            )
        ).scalar_one()
    )


def set_fields(connection: sa.Connection, dataset_row_id: int, values: Mapping[str, Any]) -> bool:
    """Change a living dataset's name, description or annotation types; False when its new name is taken."""
    living = datasets.alias()
    free: sa.ColumnElement[bool] = sa.true()
    if "name" in values:
        _require_no_job(connection, dataset_row_id)
        free = ~sa.exists().where(
            living.c.organization_id == datasets.c.organization_id,
            living.c.name == values["name"],
            living.c.deleted_at.is_(None),
            living.c.id != dataset_row_id,
        )
    changed = connection.execute(
        sa.update(datasets)
        .where(datasets.c.id == dataset_row_id, free)
        .values(**values, updated_at=clock.now())
    )
    return changed.rowcount == 1


def _require_no_job(connection: sa.Connection, dataset_row_id: int) -> None:
    """A job that is not over looks its dataset up by the name it began with."""
    job = connection.execute(
        sa.select(jobs.c.uuid, jobs.c.title).where(
            jobs.c.dataset_id == dataset_row_id, jobs.c.finished_at.is_(None)
        )
    ).first()
    if job is not None:
        raise Conflict(
            f"The job {job.title!r} still works on this dataset.",
            code="job_running",
            fix=f"Wait for it, or stop it with cancel_job ({job.uuid}), then rename.",
            details={"job_id": job.uuid},
        )


def _exists(name: str) -> Conflict:
    return Conflict(
        f"A dataset named {name!r} exists.",
        code="dataset_exists",
        fix="Use the existing dataset, or choose another name.",
    )


def _types(annotation_types: Sequence[str] | None) -> list[str] | None:
    return None if annotation_types is None else list(dict.fromkeys(annotation_types))


def put_into_bin(connection: sa.Connection, dataset_row_id: int, now: datetime, call_id: str | None) -> None:
    """Mark a dataset and its living samples as deleted by a call.

    What goes with the dataset has its time, which no sample has that the same call deleted before.
    """
    before = connection.execute(
        sa.select(sa.func.max(samples.c.deleted_at)).where(
            samples.c.dataset_id == dataset_row_id, samples.c.deleted_call == call_id
        )
    ).scalar()
    if before is not None and before >= now:
        now = before + timedelta(microseconds=1)
    gone = {"deleted_at": now, "deleted_call": call_id}
    connection.execute(sa.update(datasets).where(datasets.c.id == dataset_row_id).values(**gone))
    connection.execute(
        sa.update(samples)
        .where(samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None))
        .values(**gone)
    )


def _classes_of(connection: sa.Connection, dataset_ids: list[int]) -> dict[int, list[DatasetClass]]:
    if not dataset_ids:
        return {}
    rows = connection.execute(
        sa.select(dataset_classes)
        .where(dataset_classes.c.dataset_id.in_(dataset_ids))
        .order_by(dataset_classes.c.dataset_id, dataset_classes.c.position)
    ).mappings()
    found: dict[int, list[DatasetClass]] = {}
    for row in rows:
        found.setdefault(row["dataset_id"], []).append(DatasetClass.from_json(dict(row)))
    return found


def _dataset(row: Mapping[str, Any], principal: Principal, classes: list[DatasetClass]) -> Dataset:
    return Dataset(
        row_id=row["id"],
        id=row["uuid"],
        organization_id=principal.organization_uuid,
        name=row["name"],
        description=row["description"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        image_count=row["image_count"],
        completed_image_count=row["completed_image_count"],
        annotation_count=row["annotation_count"],
        total_size=row["total_size"],
        classes_declared=row["classes_declared"],
        annotation_types=row["annotation_types"],
        reordered=row["reordered"],
        project_row_id=row["project_id"],
        classes=classes,
    )


def _no_such_name(connection: sa.Connection, principal: Principal, name: str) -> NotFound:
    """The refusal, with names that are close to it."""
    import difflib

    mine = sa.and_(datasets.c.organization_id == principal.organization_id, datasets.c.deleted_at.is_(None))
    newest = sa.select(datasets.c.name).where(mine).order_by(datasets.c.id.desc()).limit(MOST_COMPARED)
    names = {known.casefold(): known for known in connection.execute(newest).scalars()}
    close = [names[found] for found in difflib.get_close_matches(lookup_name(name).casefold(), names)]
    hint = f"Did you mean {' or '.join(repr(printable(each)) for each in close)}? " if close else ""
    return NotFound(
        f"No dataset is named {printable(name[:120])!r}.",
        code="dataset_not_found",
        fix=f"{hint}Names are case-sensitive; call list_datasets to see them.",
        details={"close_matches": close} if close else None,
    )
