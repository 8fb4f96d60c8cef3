"""Builds, lists and hands out exports.

An export is a row that names a blob. The ZIP is spooled to a temporary file while it grows, so memory
stays flat; the row turns ``completed`` only when the blob is stored.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.documents import Documents
from tintype_studio.catalog.datasets import Dataset, Datasets
from tintype_studio.catalog.samples import STATUS_FILTERS, Sample, Samples
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_name, lookup_name, printable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.storage.tables import datasets, exports

if TYPE_CHECKING:
    from tintype_studio.formats.base import ExportItem

PAGE = 500

Progress = Callable[[int, int | None], None]
"""Called with ``(images written, images in all)``, None where the total is unknown; may raise to stop
the work."""


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


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What goes into an export."""

    format: str = "pictograph"
    include_images: bool = True
    class_filter: list[str] | None = None
    """Only annotations of these classes; images stay."""
    status_filter: str = "complete"
    """A key of ``STATUS_FILTERS``."""


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
        self._documents = documents
        self._scratch = scratch

    def create(
        self,
        principal: Principal,
        *,
        dataset_name: str,
        name: str,
        options: ExportOptions,
        progress: Progress = lambda _done, _total: None,
    ) -> Export:
        """Build an export and return it completed. A failed build is recorded as failed and raised."""
        dataset, options = self._resolve(principal, dataset_name, options)
        export_id = self._insert(principal, dataset, name, options)
        try:
            values = self._build(dataset, options, progress)
        except BaseException as error:
            # Whatever stopped the build, the name must not stay blocked by a row that never ends.
            self._finish(export_id, status="failed", error_message=_reason(error))
            raise
        self._finish(export_id, status="completed", **values)
        return self.get(principal, dataset_name, name)

    def survey(self, principal: Principal, *, dataset_name: str, name: str, options: ExportOptions) -> int:
        """How many images an export would hold; refuses what ``create`` would refuse."""
        dataset, options = self._resolve(principal, dataset_name, options)
        name = clean_name(name, "Export name", max_length=100)
        with self._db.read() as connection:
            taken = connection.execute(
                sa.select(exports.c.id).where(
                    exports.c.dataset_id == dataset.row_id,
                    exports.c.name == name,
                    exports.c.status != "failed",
                )
            ).first()
        if taken is not None:
            raise _name_taken(dataset, name)
        return self._samples.count(dataset, statuses=STATUS_FILTERS[options.status_filter])

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
        principal: Principal,
        dataset: Dataset,
        name: str,
        options: ExportOptions,
    ) -> int:
        name = clean_name(name, "Export name", max_length=100)
        with self._db.write() as connection:
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
                    status="processing",
                    format=options.format,
                    include_images=options.include_images,
                    class_filter=options.class_filter,
                    status_filter=options.status_filter,
                    instance=self._liveness.instance,
                    created_at=clock.now(),
                )
                .returning(exports.c.id)
            ).scalar()
        if row_id is None:
            raise _name_taken(dataset, name)
        return int(row_id)

    def _build(
        self,
        dataset: Dataset,
        options: ExportOptions,
        progress: Progress,
    ) -> dict[str, Any]:
        from tintype_studio.formats import writer_for
        from tintype_studio.formats.base import ExportClass

        wanted = set(options.class_filter) if options.class_filter is not None else None
        classes = [
            ExportClass(name=c.name, color=c.color, type=c.type)
            for c in dataset.classes
            if wanted is None or c.name in wanted
        ]
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            with (
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
                writer_for(options.format)(
                    archive, dataset_name=dataset.name, classes=classes, created_at=clock.now()
                ) as writer,
            ):
                items = self._items(dataset, options, wanted)
                total = _images_in_all(dataset, options.status_filter)
                for done, item in enumerate(items, 1):
                    writer.add(item)
                    progress(done, total)
                summary = writer.finish()
            sha256, size = self._blobs.put_file(file)
        return {
            "sha256": sha256,
            "file_size": size,
            "image_count": summary.images,
            "annotation_count": summary.annotations,
            "notes": list(summary.notes),
        }

    def _items(
        self, dataset: Dataset, options: ExportOptions, wanted: set[str] | None
    ) -> Iterator[ExportItem]:
        from tintype_studio.formats.base import ExportItem

        for page in self._pages(dataset, options.status_filter):
            for sample, document in self._documents.of_samples(page):
                yield ExportItem(
                    image_id=sample.id,
                    filename=sample.filename,
                    folder=sample.folder,
                    width=sample.width,
                    height=sample.height,
                    status=sample.status.value,
                    split=sample.split,
                    annotations=[a for a in document if wanted is None or a.name in wanted],
                    image=partial(self._samples.image_bytes, sample) if options.include_images else None,
                )

    def _pages(self, dataset: Dataset, status_filter: str) -> Iterator[list[Sample]]:
        after = 0
        while page := self._samples.page(
            dataset, limit=PAGE, after=after, statuses=STATUS_FILTERS[status_filter]
        ):
            yield page
            after = page[-1].row_id

    def _finish(self, export_id: int, *, status: str, **values: Any) -> None:
        with self._db.write() as connection:
            if "sha256" in values and not keep_blobs(connection, {values["sha256"]}, self._blobs.exists):
                raise Unavailable("A purge removed the export's bytes; create it again.", code="export_raced")
            connection.execute(
                sa.update(exports)
                # A process that finished and ended while another one looked at its row must stay finished.
                .where(exports.c.id == export_id, exports.c.status == "processing")
                .values(status=status, completed_at=clock.now(), **values)
            )

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

    def list(self, principal: Principal, *, limit: int = 50, offset: int = 0) -> list[Export]:
        """Exports of all datasets, newest first."""
        with self._db.read() as connection:
            rows = connection.execute(
                _listed(principal).order_by(exports.c.id.desc()).limit(limit).offset(offset)
            ).mappings()
            return [_export(row) for row in rows]

    def open(self, principal: Principal, dataset_name: str, name: str) -> tuple[Export, Iterator[bytes]]:
        """A completed export and its bytes in chunks."""
        export = self.get(principal, dataset_name, name)
        if export.status != "completed" or export.sha256 is None:
            raise Conflict(
                f"Export {name!r} is {export.status}, not completed.",
                code="export_not_ready",
                fix="Create the export again under this name."
                if export.status == "failed"
                else "Wait until list_exports shows it completed.",
                retryable=export.status != "failed",
            )
        return export, self._blobs.stream(export.sha256)

    def fail_dead(self) -> int:
        """Mark exports whose process died as failed; returns how many. Called at every start."""
        with self._db.read() as connection:
            rows = connection.execute(
                sa.select(exports.c.id, exports.c.instance).where(exports.c.status == "processing")
            ).all()
        dead = [row.id for row in rows if row.instance is None or self._liveness.is_dead(row.instance)]
        for export_id in dead:
            self._finish(
                export_id,
                status="failed",
                error_message="The server stopped while it built this export; create it again.",
            )
        return len(dead)


def _name_taken(dataset: Dataset, name: str) -> Conflict:
    return Conflict(
        f"Dataset {dataset.name!r} has an export named {name!r}.",
        code="export_exists",
        fix="Choose another name (a date in it helps), or download the existing export.",
    )


def _images_in_all(dataset: Dataset, status_filter: str) -> int | None:
    """How many images a filter lets through, where a counter of the dataset tells."""
    counters = {"all": dataset.image_count, "complete": dataset.completed_image_count}
    return counters.get(status_filter)


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


def _reason(error: BaseException) -> str:
    return error.message[:500] if isinstance(error, TintypeError) else "The build was stopped."


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
    )
