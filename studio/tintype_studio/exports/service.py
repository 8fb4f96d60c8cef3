"""Creates, lists, hands out and deletes exports.

An export is a row that names a blob. A small one is built in the call that asks for it and then recorded,
whole. A large one is a job (``jobs/kinds/export.py``): its row is there from the start, and turns
``completed`` only when the blob is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.documents import Documents
from tintype_studio.catalog.datasets import Dataset, Datasets
from tintype_studio.catalog.samples import STATUS_FILTERS, Samples
from tintype_studio.errors import Conflict, InvalidInput, NotFound, Unavailable
from tintype_studio.exports.build import Builder, Built, Progress
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.samples import MultiSamples
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.sweep import keep_blobs, mark_unused
from tintype_studio.storage.tables import datasets, exports

SMALL_IMAGES = 500
SMALL_BYTES = 64 << 20
"""Of the image files that go in. An export up to these is built within a second or so."""
STATUSES = ("pending", "processing", "completed", "failed")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What goes into an export."""

    format: str = "pictograph"
    include_images: bool = True
    class_filter: list[str] | None = None
    """Only annotations of these classes; images stay."""
    status_filter: str = "complete"
    """A key of ``STATUS_FILTERS``."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export as it is listed. Sizes in bytes."""

    id: str
    dataset_id: str
    dataset_name: str
    name: str
    format: str
    status: str
    include_images: bool
    class_filter: list[str] | None
    status_filter: str | None
    error_message: str | None
    notes: list[str]
    sha256: str | None
    file_size: int | None
    image_count: int | None
    annotation_count: int | None
    created_at: datetime
    completed_at: datetime | None
    job_id: str | None
    """The job that builds it, or built it."""

    @property
    def unfinished(self) -> bool:
        """Whether it is still to be built."""
        return self.status in {"pending", "processing"}

    @property
    def options(self) -> ExportOptions:
        """What it was asked to be."""
        return ExportOptions(
            self.format, self.include_images, self.class_filter, self.status_filter or "complete"
        )


class Exports:
    """Exports of every organization; each call sees only the principal's own."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        liveness: Liveness,
        catalog: Datasets,
        images: Samples,
        documents: Documents,
        scratch: Path,
    ) -> None:
        self._db = database
        self._blobs = blobs
        self._liveness = liveness
        self._datasets = catalog
        self._samples = images
        self._builder = Builder(blobs, images, documents, MultiSamples(database), scratch)

    def create(
        self,
        principal: Principal,
        *,
        dataset_name: str,
        name: str,
        options: ExportOptions,
        progress: Progress = lambda _done, _total: None,
    ) -> Export:
        """Build an export and record it, completed. Of a build that fails nothing is left.

        In a unit of work, it reads and stores the ZIP before it begins to write.
        """
        dataset, options = self._resolve(principal, dataset_name, options)
        name = self._free_name(dataset, name)
        now = clock.now()
        built = self._builder.build(dataset, options, now, progress=progress)
        with self._db.write() as connection:
            self._keep(connection, built)
            values = {**asdict(built), "completed_at": clock.now(), "instance": self._liveness.instance}
            self._insert(
                connection, principal, dataset, name, options, status="completed", created_at=now, **values
            )
        return self.get(principal, dataset_name, name)

    def is_small(self, principal: Principal, dataset_name: str, options: ExportOptions) -> bool:
        """Whether an export is built so soon that it need not be a job."""
        dataset, options = self._resolve(principal, dataset_name, options)
        if options.include_images and dataset.total_size > SMALL_BYTES:
            return False
        return dataset.image_count <= SMALL_IMAGES or self._count(dataset, options) <= SMALL_IMAGES

    def survey(self, principal: Principal, *, dataset_name: str, name: str, options: ExportOptions) -> int:
        """How many images an export would hold; refuses what ``create`` would refuse."""
        dataset, options = self._resolve(principal, dataset_name, options)
        self._free_name(dataset, name)
        return self._count(dataset, options)

    def _count(self, dataset: Dataset, options: ExportOptions) -> int:
        return self._samples.count(dataset, statuses=STATUS_FILTERS[options.status_filter])

    def _free_name(self, dataset: Dataset, name: str) -> str:
        """The name as it is kept; ``Conflict`` when the dataset has an export of it that has not failed."""
        name = clean_name(name, "Export name", max_length=100)
        query = sa.select(exports.c.id).where(
            exports.c.dataset_id == dataset.row_id, exports.c.name == name, exports.c.status != "failed"
        )
        with self._db.read() as connection:
            if connection.execute(query).first() is not None:
                raise _name_taken(dataset, name)
        return name

    def _resolve(
        self, principal: Principal, dataset_name: str, options: ExportOptions
    ) -> tuple[Dataset, ExportOptions]:
        from tintype_studio.formats import writer_for

        writer_for(options.format)
        if options.status_filter not in STATUS_FILTERS:
            raise InvalidInput(
                f"Status filter {printable(options.status_filter[:40])!r} is unknown.",
                fix=f"Use one of: {', '.join(STATUS_FILTERS)}.",
            )
        if options.class_filter is not None:
            options = replace(options, class_filter=[lookup_name(c) for c in options.class_filter])
        dataset = self._datasets.get(principal, dataset_name)
        require_known_classes(dataset, options.class_filter)
        return dataset, options

    def _insert(
        self,
        connection: sa.Connection,
        principal: Principal,
        dataset: Dataset,
        name: str,
        options: ExportOptions,
        **values: Any,
    ) -> None:
        """A row in place of a failed one of that name; ``Conflict`` when there is one that has not failed."""
        connection.execute(
            sa.delete(exports).where(
                exports.c.dataset_id == dataset.row_id,
                exports.c.name == name,
                exports.c.status == "failed",
            )
        )
        row_id = connection.execute(
            self._db.insert_ignore(exports)
            .values(
                uuid=clock.new_id(),
                organization_id=principal.organization_id,
                dataset_id=dataset.row_id,
                name=name,
                **asdict(options),
                **values,
            )
            .returning(exports.c.id)
        ).scalar()
        if row_id is None:
            raise _name_taken(dataset, name)

    def _keep(self, connection: sa.Connection, built: Built) -> None:
        """Make sure that the bytes are there, and stay."""
        if not keep_blobs(connection, {built.sha256}, self._blobs.exists):
            raise Unavailable("A purge removed the export's bytes; create it again.", code="export_raced")

    # --- As a job -----------------------------------------------------------------------------------------

    def begin(
        self,
        connection: sa.Connection,
        principal: Principal,
        *,
        job_id: str,
        dataset_name: str,
        name: str,
        options: ExportOptions,
    ) -> None:
        """The row of an export that a job will build, in the transaction that writes the job down."""
        dataset, options = self._resolve(principal, dataset_name, options)
        name = clean_name(name, "Export name", max_length=100)
        self._insert(
            connection,
            principal,
            dataset,
            name,
            options,
            status="pending",
            job_id=job_id,
            instance=self._liveness.instance,
            created_at=clock.now(),
        )

    def build(
        self, principal: Principal, job_id: str, *, progress: Progress, stored: Callable[[], None]
    ) -> Built:
        """Build what a job was asked for; ``stored`` is called when the ZIP is about to be stored."""
        export = self.get_of_job(principal, job_id)
        dataset = self._datasets.get(principal, export.dataset_name)
        with self._db.write(durable=False) as connection:
            connection.execute(
                sa.update(exports)
                .where(exports.c.job_id == job_id, exports.c.status == "pending")
                .values(status="processing", instance=self._liveness.instance)
            )
        return self._builder.build(
            dataset, export.options, export.created_at, progress=progress, stored=stored
        )

    def complete(self, job_id: str, built: Built, connection: sa.Connection) -> None:
        """Record what was built, in the transaction that finishes the job's step."""
        self._keep(connection, built)
        completed = connection.execute(
            sa.update(exports)
            .where(exports.c.job_id == job_id, exports.c.status.in_(("pending", "processing")))
            .values(status="completed", completed_at=clock.now(), **asdict(built))
        ).rowcount
        if not completed:  # somebody deleted it
            mark_unused(self._db, connection, [built.sha256])

    def fail(self, connection: sa.Connection, job_id: str, message: str) -> None:
        """End an export whose job has ended without it."""
        connection.execute(
            sa.update(exports)
            .where(exports.c.job_id == job_id, exports.c.status.in_(("pending", "processing")))
            .values(status="failed", error_message=message[:500], completed_at=clock.now())
        )

    def get_of_job(self, principal: Principal, job_id: str) -> Export:
        """The export that a job builds or has built."""
        with self._db.read() as connection:
            row = connection.execute(_listed(principal).where(exports.c.job_id == job_id)).mappings().first()
        if row is None:
            raise NotFound("The export was deleted.", code="export_not_found", fix="Create it again.")
        return _export(row)

    # --- What there is ------------------------------------------------------------------------------------

    def get(self, principal: Principal, dataset_name: str, name: str) -> Export:
        """An export by dataset and name."""
        with self._db.read() as connection:
            row = (
                connection.execute(
                    _listed(principal).where(
                        datasets.c.name == lookup_name(dataset_name), exports.c.name == lookup_name(name)
                    )
                )
                .mappings()
                .first()
            )
        if row is None:
            raise NotFound(
                f"Dataset {printable(dataset_name[:120])!r} has no export named {printable(name[:100])!r}.",
                code="export_not_found",
                fix="Call list_exports to see the names.",
            )
        return _export(row)

    def list(
        self,
        principal: Principal,
        *,
        limit: int = 50,
        offset: int = 0,
        dataset_name: str | None = None,
        status: str | None = None,
    ) -> list[Export]:
        """Exports, newest first; of all datasets unless one is named."""
        query = _listed(principal).order_by(exports.c.id.desc()).limit(limit).offset(offset)
        if dataset_name is not None:
            query = query.where(exports.c.dataset_id == self._datasets.get(principal, dataset_name).row_id)
        if status is not None:
            query = query.where(exports.c.status == status)
        with self._db.read() as connection:
            return [_export(row) for row in connection.execute(query).mappings()]

    def delete(self, principal: Principal, dataset_name: str, name: str) -> Export:
        """Remove an export and its ZIP for good; the bytes are freed by the next sweep.

        What was trained on it stays. The caller ends the job of one that is unfinished.
        """
        with self._db.write() as connection:
            export = self.get(principal, dataset_name, name)
            connection.execute(sa.delete(exports).where(exports.c.uuid == export.id))
            if export.sha256 is not None:
                mark_unused(self._db, connection, [export.sha256])
        return export

    def ready(self, principal: Principal, dataset_name: str, name: str) -> Export:
        """An export that is completed; ``Conflict`` (``export_not_ready``) for any other."""
        export = self.get(principal, dataset_name, name)
        if export.status != "completed" or export.sha256 is None:
            raise Conflict(
                f"Export {export.name!r} is {export.status}, not completed.",
                code="export_not_ready",
                fix="Create the export again under this name."
                if export.status == "failed"
                else "Wait until get_export shows it completed.",
                retryable=export.status != "failed",
            )
        return export

    def open(self, principal: Principal, dataset_name: str, name: str) -> tuple[Export, Iterator[bytes]]:
        """A completed export and its bytes in chunks."""
        export = self.ready(principal, dataset_name, name)
        return export, self._blobs.stream(export.sha256 or "")

    def fail_dead(self) -> int:
        """Mark unfinished exports that nobody works on as failed; returns how many. Called at every start.

        A job ends its export itself. This is for versions that built every export in the call, and for those
        that did not know the kind of job.
        """
        unfinished = exports.c.status.in_(("pending", "processing"))
        query = (
            sa.select(exports.c.id, exports.c.instance, exports.c.job_id)
            .outerjoin(jobs, jobs.c.uuid == exports.c.job_id)
            .where(unfinished, sa.or_(jobs.c.id.is_(None), jobs.c.finished_at.is_not(None)))
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        dead = [
            row.id
            for row in rows
            if row.job_id is not None or row.instance is None or self._liveness.is_dead(row.instance)
        ]
        if dead:
            with self._db.write() as connection:
                connection.execute(
                    sa.update(exports)
                    # One that was finished while this process looked at it must stay finished.
                    .where(exports.c.id.in_(dead), unfinished)
                    .values(
                        status="failed",
                        completed_at=clock.now(),
                        error_message="The server stopped while it built this export; create it again.",
                    )
                )
        return len(dead)


def _name_taken(dataset: Dataset, name: str) -> Conflict:
    return Conflict(
        f"Dataset {dataset.name!r} has an export named {name!r}.",
        code="export_exists",
        fix="Choose another name (a date in it helps), or download the existing export.",
    )


def require_known_classes(dataset: Dataset, class_filter: list[str] | None) -> None:
    """Raise ``InvalidInput`` (``unknown_class``) unless the dataset has all the classes that are named."""
    known = {c.name for c in dataset.classes}
    unknown = [name for name in class_filter or [] if name not in known]
    if unknown:
        raise InvalidInput(
            f"Not classes of dataset {dataset.name!r}: {', '.join(printable(n) for n in unknown[:20])}.",
            code="unknown_class",
            fix=f"Use classes of the dataset: {', '.join(sorted(known)[:50]) or '(none yet)'}.",
        )


def _listed(principal: Principal) -> sa.Select[Any]:
    return (
        sa.select(exports, datasets.c.name.label("dataset_name"), datasets.c.uuid.label("dataset_uuid"))
        .join(datasets, datasets.c.id == exports.c.dataset_id)
        .where(exports.c.organization_id == principal.organization_id, datasets.c.deleted_at.is_(None))
    )


def _export(row: sa.RowMapping) -> Export:
    return Export(
        id=row["uuid"],
        dataset_id=row["dataset_uuid"],
        dataset_name=row["dataset_name"],
        name=row["name"],
        format=row["format"],
        status=row["status"],
        include_images=row["include_images"],
        class_filter=row["class_filter"],
        status_filter=row["status_filter"],
        error_message=row["error_message"],
        notes=row["notes"] or [],
        sha256=row["sha256"],
        file_size=row["file_size"],
        image_count=row["image_count"],
        annotation_count=row["annotation_count"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
        job_id=row["job_id"],
    )
