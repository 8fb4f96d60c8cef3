"""Builds the ZIP of an export.

It is spooled to a temporary file while it grows, so memory stays flat.
"""

from __future__ import annotations

import errno
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio.annotations.documents import Documents
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import STATUS_FILTERS, Sample, Samples
from tintype_studio.errors import Unavailable
from tintype_studio.multisensor.samples import MultiSamples
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.tables import samples

if TYPE_CHECKING:
    from tintype_studio.exports.service import ExportOptions
    from tintype_studio.formats.base import ExportItem

PAGE = 500
WHOLE = "edgefirst"
"""The format that holds samples of several sensors whole."""

Progress = Callable[[int, int | None], None]
"""Called with ``(images written, images in all)``, None where the total is unknown; may raise to stop
the work."""


@dataclass(frozen=True, slots=True)
class Built:
    """A ZIP that is stored. Size in bytes; ``notes`` say what the format could not hold."""

    sha256: str
    file_size: int
    image_count: int
    annotation_count: int
    notes: list[str]


class Builder:
    """Reads a dataset, writes the ZIP, stores it."""

    def __init__(
        self,
        blobs: Blobs,
        images: Samples,
        documents: Documents,
        multisensor: MultiSamples,
        scratch: Path,
    ) -> None:
        self._blobs = blobs
        self._samples = images
        self._documents = documents
        self._multisensor = multisensor
        self._scratch = scratch

    def build(
        self,
        dataset: Dataset,
        options: ExportOptions,
        created_at: datetime,
        *,
        progress: Progress = lambda _done, _total: None,
        stored: Callable[[], None] = lambda: None,
    ) -> Built:
        """The ZIP, with ``created_at`` on everything in it; ``stored`` is called before it is stored.

        Raises:
            NotFound: ``blob_missing``: an image was purged while its page was being written.
            Unavailable: ``storage_failed``: the disk is full.
        """
        from tintype_studio.formats import writer_for
        from tintype_studio.formats.base import ExportClass

        wanted = set(options.class_filter) if options.class_filter is not None else None
        classes = [
            ExportClass(c.name, c.color, c.type, c.attributes, c.index)
            for c in dataset.classes
            if wanted is None or c.name in wanted
        ]
        try:
            with tempfile.TemporaryFile(dir=self._scratch) as file:
                with (
                    zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
                    writer_for(options.format)(
                        archive, dataset_name=dataset.name, classes=classes, created_at=created_at
                    ) as writer,
                ):
                    total = _images_in_all(dataset, options.status_filter)
                    for done, item in enumerate(self._items(dataset, options, wanted), 1):
                        writer.add(item)
                        progress(done, total)
                    summary = writer.finish()
                stored()
                sha256, size = self._blobs.put_file(file)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise Unavailable(
                "The server's disk is full; the export was not built.",
                code="storage_failed",
                fix="Ask the operator to free disk space, then create the export again.",
            ) from error
        notes = [*summary.notes, *self._left_out(dataset, options)]
        if not summary.images and dataset.image_count:
            notes.append(
                f"The export is empty: none of the {dataset.image_count:,} images has the wanted status "
                "(complete, unless status_filter says otherwise)."
            )
        return Built(sha256, size, summary.images, summary.annotations, notes)

    def _items(
        self, dataset: Dataset, options: ExportOptions, wanted: set[str] | None
    ) -> Iterator[ExportItem]:
        from tintype_studio.formats.base import ExportItem
        from tintype_studio.formats.figures import StoredDocument

        if options.format == WHOLE:
            yield from self._whole_samples(dataset, options, wanted)
            return
        for page in self._pages(dataset, options.status_filter):
            for sample, text in self._documents.texts_of_samples(page):
                yield ExportItem(
                    image_id=sample.id,
                    filename=sample.filename,
                    folder=sample.folder,
                    width=sample.width,
                    height=sample.height,
                    status=sample.status.value,
                    split=sample.split,
                    annotations=StoredDocument(text, wanted),
                    image=partial(self._samples.image_bytes, sample) if options.include_images else None,
                )

    def _left_out(self, dataset: Dataset, options: ExportOptions) -> list[str]:
        """What no format of pictures holds of samples of several sensors, in sentences."""
        if options.format == WHOLE:
            return []
        from tintype_studio.formats.base import counted

        files, bare, told = self._multisensor.beside_pictures(dataset, _of_status(options))
        notes = []
        if files:
            notes.append(
                f"{counted(files, 'file of another sensor was', 'files of other sensors were')} left out"
            )
        if bare:
            notes.append(
                f"{counted(bare, 'sample without a picture was', 'samples without pictures were')} left out"
            )
        if told:
            told_of = counted(told, "picture went", "pictures went")
            notes.append(f"{told_of} in without sequence, frame, place, attitude and other facts")
        return [f"{note}: only {WHOLE} holds them." for note in notes]

    def _whole_samples(
        self, dataset: Dataset, options: ExportOptions, wanted: set[str] | None
    ) -> Iterator[ExportItem]:
        """Samples with all their files, those without a picture, too."""
        from tintype_studio.formats.base import ExportItem
        from tintype_studio.formats.figures import StoredDocument

        after = 0
        while page := self._multisensor.page(dataset, where=_of_status(options), after=after, limit=PAGE):
            for sample in page:
                yield ExportItem(
                    image_id=sample.id,
                    filename=sample.filename,
                    folder=sample.folder,
                    width=sample.width or 0,
                    height=sample.height or 0,
                    status=sample.status.value,
                    split=sample.group,
                    annotations=StoredDocument(sample.document, wanted),
                    sensors=sample,
                    read=self._blobs.get if options.include_images else None,
                )
            after = page[-1].row_id

    def _pages(self, dataset: Dataset, status_filter: str) -> Iterator[list[Sample]]:
        after = 0
        while page := self._samples.page(
            dataset, limit=PAGE, after=after, statuses=STATUS_FILTERS[status_filter]
        ):
            yield page
            after = page[-1].row_id


def _of_status(options: ExportOptions) -> tuple[sa.ColumnElement[bool], ...]:
    if options.status_filter == "all":
        return ()
    return (samples.c.status.in_([status.value for status in STATUS_FILTERS[options.status_filter]]),)


def _images_in_all(dataset: Dataset, status_filter: str) -> int | None:
    """How many images a filter lets through, where a counter of the dataset tells."""
    counters = {"all": dataset.image_count, "complete": dataset.completed_image_count}
    return counters.get(status_filter)
