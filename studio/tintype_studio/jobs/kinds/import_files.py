"""Imports an annotated dataset from a folder or a ZIP on this machine.

``args``: ``dataset``, ``path`` (real and absolute: the worker reads it, so it runs on the same machine),
``format``, ``create`` and ``skip_existing``.

First the whole source is looked through (``scan``), and refused before anything is written if it cannot be
understood. Then images come in with their annotations (``import``), a hundred in one transaction: what a
crash takes is taken up by the next turn. An image that the dataset has gets the annotations if it has none,
and is skipped otherwise.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.annotations.importing import Arrival, Importing, extend_classes
from tintype_studio.catalog.image_files import MAX_FILE_BYTES
from tintype_studio.catalog.ingest import stored_name
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError
from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.converted import Converted, sentences
from tintype_studio.formats.reading.source import open_source
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.names import clean_folder, printable

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.formats.reading.base import ImportItem, Reader
    from tintype_studio.jobs.job import Job
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

CHUNK = 100
"""Images in one transaction."""
THREADS = 8
KEY_LENGTH = 200
PAGE = 500


class ImportFiles(Kind):
    """Free; one item per image."""

    name = "import_files"

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Opens the source and what tells of it as a whole; the images are counted by the job."""
        dataset = studio.datasets.find(principal, args["dataset"])
        if dataset is None and not args["create"]:
            studio.datasets.get(principal, args["dataset"])  # refuses
        with open_source(args["path"]) as source:
            reader = open_reader(source, args["format"])
        return JobPlan(
            f"Import {reader.format} into {args['dataset']}",
            dataset_row_id=None if dataset is None else dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Look through the source, then import what is not finished."""
        studio, args = run.studio, run.args
        run.stage("scan")
        with open_source(args["path"]) as source:
            reader = open_reader(source, args["format"])
            run.stage("import", total=_counted(run, reader))
            dataset = _dataset(run)
            dataset = extend_classes(
                studio.database, studio.datasets, run.principal, dataset.name, reader.classes
            )
            work = _Work(run, reader, dataset)
            with ThreadPoolExecutor(THREADS, thread_name_prefix="import") as pool:
                try:
                    fresh = ((k, i) for k, i in _keyed(reader) if k not in run.finished)
                    while chunk := dict(islice(fresh, CHUNK)):
                        run.check()
                        work.do(chunk, pool)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            links = len(source.links)
        done = totals(studio, studio.jobs.get(run.principal, run.job.id))
        notes = sentences(reader.counts + Counter(done.counts))
        if links:
            notes.append(f"{links:,} links were not followed.")
        return {"format": reader.format, "notes": notes, **done.as_json()}


@dataclass(slots=True)
class Totals:
    """What came of a job's images. ``counts`` are those of ``Converted``."""

    added: int = 0
    attached: int = 0
    """Images that the dataset had, and that got annotations."""
    skipped: int = 0
    annotations: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """For the job's result."""
        return {
            "added": self.added,
            "attached": self.attached,
            "skipped": self.skipped,
            "annotations": self.annotations,
        }


def totals(studio: Studio, job: Job) -> Totals:
    """Of a job as it stands."""
    if job.result is not None:
        return Totals(**{name: job.result[name] for name in Totals().as_json()})
    found, after = Totals(), None
    while page := studio.jobs.items(job, limit=PAGE, after=after):
        for item in page:
            found.skipped += item.outcome == "skipped"
            found.added += item.outcome == "done" and not item.detail.get("attached")
            found.attached += bool(item.detail.get("attached"))
            found.annotations += item.detail.get("annotations", 0)
            found.counts.update(item.detail.get("noticed", {}))
        after = page[-1].key
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source holds for a dataset: images that it lists, and those of them that the dataset has."""

    listed: int
    existing: int


def survey(studio: Studio, dataset: Dataset | None, reader: Reader, check: Callable[[], None]) -> Survey:
    """Look through a source, reading no image."""
    importing = Importing(studio.database, studio.ingest, studio.documents)
    listed = existing = 0
    items = (item for item in reader.items() if item.error is None)
    while chunk := list(islice(items, CHUNK)):
        check()
        listed += len(chunk)
        if dataset is not None:
            existing += len(importing.find(dataset, [_place(item) for item in chunk]))
    return Survey(listed, existing)


def _counted(run: Run, reader: Reader) -> int:
    """How many images there are; ``InvalidInput`` when none of them can be imported."""
    count, first = 0, None
    wrong = 0
    for item in reader.items():
        run.check()
        count += 1
        wrong += item.error is not None
        first = first or item.error
    if wrong == count:
        why = "The annotation files list no image." if first is None else f"No image is fit: {first.message}"
        raise InvalidInput(
            why, code="nothing_to_import", fix="Check that the path names the whole dataset, and the format."
        )
    return count


def _dataset(run: Run) -> Dataset:
    name = run.args["dataset"]
    if run.args["create"]:
        return run.studio.datasets.get_or_create(run.principal, name)
    return run.studio.datasets.get(run.principal, name)


def _keyed(reader: Reader) -> Iterator[tuple[str, ImportItem]]:
    """Items by what names them in the job; long paths end in a digest."""
    for item in reader.items():
        key = printable(item.path)
        if len(key) > KEY_LENGTH or not key:
            digest = hashlib.sha256(key.encode()).hexdigest()[:16]
            key = f"{key[: KEY_LENGTH - 20]}~{digest}"
        yield key, item


class _Work:
    """Chunks of items, read in threads and written together."""

    def __init__(self, run: Run, reader: Reader, dataset: Dataset) -> None:
        self._run = run
        self._source = reader.source
        self._dataset = dataset
        self._importing = Importing(run.studio.database, run.studio.ingest, run.studio.documents)

    def do(self, chunk: dict[str, ImportItem], pool: ThreadPoolExecutor) -> None:
        """Import the items of one transaction."""
        existing = self._existing(chunk)
        written = _Together(self._importing, self._run.principal, self._dataset, list(chunk))

        def one(key: str) -> Done:
            self._run.check()
            return self._one(key, chunk[key], existing.get(key), written)

        self._run.finish([*pool.map(lambda key: self._run.attempt(key, one), chunk)])

    def _existing(self, chunk: dict[str, ImportItem]) -> dict[str, Sample]:
        """Images that the dataset has, by key."""
        places = {key: _place(item) for key, item in chunk.items() if item.error is None}
        found = self._importing.find(self._dataset, list(places.values()))
        return {key: found[place] for key, place in places.items() if place in found}

    def _one(self, key: str, item: ImportItem, sample: Sample | None, written: _Together) -> Done:
        try:
            return self._arrive(key, item, sample, written)
        except TintypeError as error:
            if printable(item.filename) in error.message:
                raise
            raise _named(error, key) from error

    def _arrive(self, key: str, item: ImportItem, sample: Sample | None, written: _Together) -> Done:
        from tintype_studio.media.inspect import inspect_image

        if item.error is not None:
            raise item.error
        if sample is not None:
            if sample.annotation_count and not self._run.args["skip_existing"]:
                raise Conflict(
                    "The dataset has an annotated image of this name.",
                    code="image_exists",
                    fix="Import with skip_existing, or delete the image first.",
                )
            converted = self._converted(item, sample.width, sample.height)
            documents = converted.documents
            if sample.annotation_count or not documents:
                return Done(skipped=True)
            arrival = Arrival(documents, sample=sample)
        else:
            data, folder = self._bytes(item), clean_folder(item.folder)
            info = inspect_image(data, item.filename)
            # Before the bytes are stored, so that an image that is refused for its annotations leaves none.
            converted = self._converted(item, info.width, info.height)
            documents = converted.documents
            stored = self._run.studio.ingest.stage(data, item.filename, folder)
            status = None if item.status is None else Status(item.status)
            arrival = Arrival(documents, stored, split=item.split, status=status)
        written.arrivals[key] = arrival
        return Done(write=partial(written.write, key), detail=_detail(arrival, converted))

    def _bytes(self, item: ImportItem) -> bytes:
        if item.image is not None:
            return self._source.read(item.image, MAX_FILE_BYTES)
        if item.embedded is not None:
            return item.embedded()
        raise NotFound(
            "There is no such image, neither in the source nor in the dataset.",
            code="image_missing",
            fix="Add it to the source, or upload it to the dataset first, in the same folder.",
        )

    @staticmethod
    def _converted(item: ImportItem, width: int, height: int) -> Converted:
        converted = item.convert(width, height)
        converted.notice("size", item.size is not None and item.size != (width, height))
        return converted


class _Together:
    """The arrivals of one chunk, written by the first item of each transaction for all of them.

    Items are written in their order, each in a part of the transaction that is taken back alone; and all of
    them again, from the first, when the transaction was taken back.
    """

    def __init__(
        self, importing: Importing, principal: Principal, dataset: Dataset, order: list[str]
    ) -> None:
        self.arrivals: dict[str, Arrival] = {}
        self._importing = importing
        self._principal = principal
        self._dataset = dataset
        self._order = {key: place for place, key in enumerate(order)}
        self._last = -1
        self._refused: dict[str, TintypeError] | None = None

    def write(self, key: str, connection: sa.Connection) -> None:
        """Called inside the transaction for one item: its own refusal is raised."""
        again = self._order[key] <= self._last  # the transaction began anew
        self._last = self._order[key]
        own = again or self._refused is None
        if own or self._refused is None:
            self._refused = None
            # Threads brought them in any order; the rows are to stand in that of the source.
            left = {k: self.arrivals[k] for k in self._order if k in self.arrivals}
            left = {k: a for k, a in left.items() if self._order[k] >= self._order[key]}
            self._refused = self._importing.record(connection, self._principal, self._dataset, left)
        if error := self._refused.get(key):
            if own:
                self._refused = None  # what was written with this item is taken back with it
            raise error


def _detail(arrival: Arrival, converted: Converted) -> dict[str, Any]:
    detail: dict[str, Any] = {"annotations": len(arrival.annotations)} if arrival.annotations else {}
    if arrival.sample is not None:
        detail["attached"] = True
    if noticed := {key: count for key, count in converted.counts.items() if count}:
        detail["noticed"] = noticed
    return detail


def _place(item: ImportItem) -> tuple[str, str]:
    """Folder and name under which the dataset would have the image."""
    name = f"{item.filename}.*" if item.any_extension else stored_name(item.filename)
    return "/" + item.folder.strip("/"), name


def _named(error: TintypeError, key: str) -> TintypeError:
    """The same error, which tells the image."""
    return type(error)(
        f"{key}: {error.message}",
        code=error.code,
        fix=error.fix,
        retryable=error.retryable,
        details=error.details,
    )


KIND = ImportFiles()
