"""Images that a job imports with their annotations, whatever it reads them from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.annotations.importing import Arrival, Importing
from tintype_studio.catalog.image_files import MAX_FILE_BYTES
from tintype_studio.catalog.ingest import stored_name
from tintype_studio.catalog.samples import Status
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError
from tintype_studio.formats.reading.converted import Converted
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import Done
from tintype_studio.names import clean_folder, printable

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.formats.reading.base import ImportItem, Reader
    from tintype_studio.jobs.run import Run
    from tintype_studio.multisensor.edf import SampleSource
    from tintype_studio.multisensor.new_sample import NewSample

THREADS = 8
KEY_LENGTH = 200


def counted(run: Run, reader: Reader) -> int:
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


def keyed(reader: Reader, prefix: str = "") -> Iterator[tuple[str, ImportItem]]:
    """Items by what names them in the job, with a prefix; long paths end in a digest."""
    for item in reader.items():
        path = printable(item.path)
        key = f"{prefix}{path}"
        if len(key) > KEY_LENGTH or not path:
            digest = hashlib.sha256(path.encode()).hexdigest()[:16]
            key = f"{key[: KEY_LENGTH - 20]}~{digest}"
        yield key, item


class Arrivals:
    """Items of a reader on their way into a dataset: read in threads, written chunk by chunk.

    An image that the dataset has gets the annotations if it has none; one that is annotated is skipped, or
    fails where ``skip_annotated`` is off. With ``same_size``, one of another size fails, too: it is another
    picture.
    """

    def __init__(
        self,
        run: Run,
        reader: Reader,
        dataset: Dataset,
        *,
        skip_annotated: bool = True,
        same_size: bool = False,
    ) -> None:
        self._run = run
        self._skip_annotated = skip_annotated
        self._same_size = same_size
        self._source = reader.source
        self._dataset = dataset
        self._importing = Importing(run.studio.database, run.studio.ingest, run.studio.documents)

    def take_all(self, items: Iterator[tuple[str, ImportItem]], chunk: int) -> None:
        """Import what is not finished, ``chunk`` items in one transaction."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="import") as pool:
            try:
                fresh = ((k, i) for k, i in items if k not in self._run.finished)
                while some := dict(islice(fresh, chunk)):
                    self._run.check()
                    self._take(some, pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _take(self, chunk: dict[str, ImportItem], pool: ThreadPoolExecutor) -> None:
        existing = self._existing(chunk)
        written = Together(self._importing, self._run.principal, self._dataset, list(chunk))

        def one(key: str) -> Done:
            self._run.check()
            return self._one(key, chunk[key], existing.get(key), written)

        self._run.finish([*pool.map(lambda key: self._run.attempt(key, one), chunk)])

    def _existing(self, chunk: dict[str, ImportItem]) -> dict[str, Sample]:
        """Images that the dataset has, by key."""
        places = {key: place_of(item) for key, item in chunk.items() if item.error is None}
        found = self._importing.find(self._dataset, list(places.values()))
        return {key: found[place] for key, place in places.items() if place in found}

    def _one(self, key: str, item: ImportItem, sample: Sample | None, written: Together) -> Done:
        try:
            return self._arrive(key, item, sample, written)
        except TintypeError as error:
            if printable(item.filename) in error.message:
                raise
            raise _named(error, key) from error

    def _arrive(self, key: str, item: ImportItem, sample: Sample | None, written: Together) -> Done:
        from tintype_studio.media.inspect import inspect_image

        if item.error is not None:
            raise item.error
        if sample is not None:
            if sample.annotation_count and not self._skip_annotated:
                raise Conflict(
                    "The dataset has an annotated image of this name.",
                    code="image_exists",
                    fix="Import with skip_existing, or delete the image first.",
                )
            converted = self._converted(item, sample.width, sample.height)
            documents = converted.documents
            if sample.annotation_count or not documents:
                return Done(skipped=True)
            if self._same_size and item.size not in {None, (sample.width, sample.height)}:
                raise Conflict(
                    "The dataset has another image of this name.",
                    code="image_exists",
                    fix="Import into a dataset of another name, or move the image to another folder first.",
                )
            arrival = Arrival(documents, sample=sample)
        elif item.arriving is not None:
            return self._arrive_whole(item.arriving)
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

    def _arrive_whole(self, arriving: Callable[[], tuple[NewSample, list[SampleSource]]]) -> Done:
        """A sample with all its files; one that is there and says the same is skipped."""
        new, files = arriving()
        population = self._run.studio.population
        if not files:
            raise NotFound(
                "None of the files of the sample is in the source.",
                code="image_missing",
                fix="Add them to the source, in the folder or ZIP beside the table.",
            )
        staged = tuple(population.stage(file.read(), file.type, file.filename) for file in files)
        detail = {"annotations": len(new.annotations)}

        def write(_connection: sa.Connection) -> None:
            population.populate(self._run.principal, self._dataset, [replace(new, files=staged)], learn=True)

        return Done(write=write, detail=detail)

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


class Together:
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


def place_of(item: ImportItem) -> tuple[str, str]:
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
