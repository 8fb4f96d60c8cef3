"""How images come in: one file, or a whole folder.

Bytes are checked, then stored by content, then recorded in batches: a crash at any point leaves no row
without its bytes, and what was not recorded is invisible and taken up by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.folder_walk import MOST_EXAMPLES, Failure, Found, Ignored, walk_pictures
from tintype_studio.catalog.image_files import MAX_FILE_BYTES, read_image_file, too_large
from tintype_studio.catalog.samples import IMAGE, Sample, Samples, Status, add_to_counters
from tintype_studio.errors import Conflict, TintypeError, Unavailable
from tintype_studio.history.changes import Kind, add_to_change
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.tiers import tier_of
from tintype_studio.names import clean_folder, clean_name, lookup_name
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database, rehearsing
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.sweep import keep_blobs
from tintype_studio.storage.tables import datasets, sample_files, samples

# Every upload through the REST dialect asks this twice.
_IN_PLACE = Prepared(
    sa.select(samples.c.id).where(
        samples.c.dataset_id == sa.bindparam("dataset"),
        samples.c.folder == sa.bindparam("in_folder"),
        samples.c.filename == sa.bindparam("name"),
        samples.c.deleted_at.is_(None),
    )
)

_STORED = Prepared(
    sa.select(
        sa.func.coalesce(sa.func.sum(datasets.c.image_count), 0).label("images"),
        sa.func.coalesce(sa.func.sum(datasets.c.total_size), 0).label("size"),
    ).where(datasets.c.organization_id == sa.bindparam("organization"), datasets.c.deleted_at.is_(None))
)

BATCH = 256
"""Files recorded in one transaction."""

GROUP = 4
"""Files that a worker takes at a time: handing them over one by one costs a tenth of the speed."""

Progress = Callable[[int, int, str], None]
"""Called with ``(files done, files in all, name of the last file)``; may raise to stop the work."""


@dataclass(slots=True)
class UploadReport:
    """What became of a folder's files."""

    dataset_name: str
    images_attempted: int = 0
    images_uploaded: int = 0
    images_skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    files_ignored: int = 0
    """Files whose names are not those of pictures."""
    ignored_examples: list[str] = field(default_factory=list)
    """The first of them."""

    def ignore(self, files: Sequence[Ignored]) -> None:
        """Count files that are no pictures."""
        self.files_ignored += len(files)
        room = MOST_EXAMPLES - len(self.ignored_examples)
        self.ignored_examples += [file.relative for file in files[:room]]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a folder holds for a dataset."""

    pictures: int
    existing: int
    """Those whose names the dataset has."""


@dataclass(frozen=True, slots=True)
class _Stored:
    filename: str
    folder: str
    width: int
    height: int
    mime_type: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    uuid: str


@dataclass(slots=True)
class _Run:
    """One upload of a folder: its report, and the rows that its files have met or made."""

    principal: Principal
    report: UploadReport
    skip_existing: bool
    places: set[int] = field(default_factory=set)

    def meet(self, found: Found, folder: str, filename: str, row_id: int | None) -> None:
        """Account for a file whose place in the dataset is taken by the row ``row_id``."""
        if row_id in self.places:
            self.report.failures.append(_collapsed(found, folder, filename))
            return
        if row_id is not None:
            self.places.add(row_id)
        if self.skip_existing:
            self.report.images_skipped += 1
        else:
            self.report.failures.append(
                Failure(found.relative, "conflict", "an image with this name exists in the dataset")
            )


class Ingest:
    """Takes images into datasets."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        catalog: Samples,
        uploading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._db = database
        self._blobs = blobs
        self._samples = catalog
        self._uploading = uploading
        """Entered while images come in, for those who look at them afterwards."""

    def add_image(
        self, principal: Principal, dataset: Dataset, *, data: bytes, filename: str, folder: str = "/"
    ) -> Sample:
        """Take one image. A name taken in the same folder is a ``Conflict``; nothing is overwritten."""
        with self._uploading():
            stored = self._store(data, filename, clean_folder(folder))
            row = self._record(principal, dataset, [stored])[0]
        if row is None:
            raise _name_taken(stored.folder, stored.filename, dataset)
        return self._samples.get(principal, row.uuid)

    def add_upload(
        self,
        principal: Principal,
        dataset: Dataset,
        *,
        read: Callable[[int], bytes],
        filename: str,
        folder: str = "/",
    ) -> Sample:
        """Take an image that was uploaded before; ``read`` gets its bytes, up to a limit."""
        # First of all: of an upload that was taken up by a call whose answer was lost, that is what matters.
        self.expect(dataset, filename, folder)
        data = read(MAX_FILE_BYTES)
        return self.add_image(principal, dataset, data=data, filename=filename, folder=folder)

    def expect(self, dataset: Dataset, filename: str, folder: str = "/") -> None:
        """Raise what ``add_image`` would raise for the name alone, before any byte is there."""
        from tintype_studio.media.formats import require_supported_extension

        folder, name = clean_folder(folder), stored_name(clean_name(filename, "File name", max_length=255))
        require_supported_extension(filename)
        place = {"dataset": dataset.row_id, "in_folder": folder, "name": name}
        with self._db.read() as connection:
            if _IN_PLACE.all(connection, place, alone=True):
                raise _name_taken(folder, name, dataset)

    def add_folder(
        self,
        principal: Principal,
        dataset: Dataset,
        folder: Path,
        *,
        organize_by_class: bool = True,
        skip_existing: bool = True,
        max_workers: int = 8,
        allowed: Callable[[Path], bool] = lambda _path: True,
        progress: Progress = lambda _done, _total, _name: None,
    ) -> UploadReport:
        """Take every picture below a folder.

        The first folder level becomes the virtual folder (``organize_by_class``); deeper levels collapse
        into it. ``allowed`` judges each file's real path, so that a link cannot lead outside.
        """
        report = UploadReport(dataset_name=dataset.name)
        folder = Path(os.path.realpath(folder))
        total = sum(1 for found in walk_pictures(folder, organize_by_class) if isinstance(found, Found))
        run = _Run(principal, report, skip_existing)
        done = 0
        with self._uploading(), ThreadPoolExecutor(max_workers, thread_name_prefix="ingest") as pool:
            files = walk_pictures(folder, organize_by_class)
            try:
                while walked := list(islice(files, BATCH)):
                    report.failures += [found for found in walked if isinstance(found, Failure)]
                    report.ignore([found for found in walked if isinstance(found, Ignored)])
                    batch = [found for found in walked if isinstance(found, Found)]
                    report.images_attempted += len(batch)
                    fresh = self._sort_out(dataset, batch, run)
                    skipped = len(batch) - len(fresh)
                    if skipped:
                        done += skipped
                        progress(done, total, batch[-1].relative)
                    outcomes = chain.from_iterable(
                        pool.map(partial(self._try_store_some, allowed=allowed), _grouped(fresh))
                    )
                    stored: list[tuple[Found, _Stored]] = []
                    for found, outcome in zip(fresh, outcomes, strict=True):
                        done += 1
                        if isinstance(outcome, Failure):
                            report.failures.append(outcome)
                        else:
                            stored.append((found, outcome))
                        progress(done, total, found.relative)
                    self._record_batch(dataset, stored, run)
            except BaseException:
                # A caller who cancels must not wait for the rest of the batch.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return report

    def survey(self, dataset: Dataset | None, folder: Path, *, organize_by_class: bool = True) -> Survey:
        """Count the pictures below a folder, and those whose names the dataset has, reading none of them."""
        pictures = existing = 0
        seen: set[tuple[str, str]] = set()
        files = walk_pictures(Path(os.path.realpath(folder)), organize_by_class)
        while walked := list(islice(files, BATCH)):
            # Names that meet in one folder are taken once.
            batch = {
                (lookup_name(found.folder), stored_name(found.filename))
                for found in walked
                if isinstance(found, Found)
            } - seen
            seen |= batch
            pictures += len(batch)
            if dataset is not None:
                existing += len(batch & self._existing(dataset, [name for _, name in batch]).keys())
        return Survey(pictures, existing)

    def _record_batch(self, dataset: Dataset, stored: list[tuple[Found, _Stored]], run: _Run) -> None:
        unique: dict[tuple[str, str], tuple[Found, _Stored]] = {}
        for found, item in stored:
            if unique.setdefault((item.folder, item.filename), (found, item)) != (found, item):
                run.report.failures.append(_collapsed(found, item.folder, item.filename))
        recorded = self._record(run.principal, dataset, [item for _, item in unique.values()])
        taken = [pair for pair, row in zip(unique.values(), recorded, strict=True) if row is None]
        rows = [row for row in recorded if row is not None]
        run.places.update(row.id for row in rows)
        run.report.images_uploaded += len(rows)
        # Names that only the content reveals (a JPEG named .heic), or taken by another upload meanwhile.
        existing = self._existing(dataset, [item.filename for _, item in taken])
        for found, item in taken:
            run.meet(found, item.folder, item.filename, existing.get((item.folder, item.filename)))

    def _sort_out(self, dataset: Dataset, batch: list[Found], run: _Run) -> list[Found]:
        """Take out the files whose names are in the dataset already; the rest must be read."""
        existing = self._existing(dataset, [stored_name(found.filename) for found in batch])
        fresh = []
        for found in batch:
            folder, filename = lookup_name(found.folder), stored_name(found.filename)
            row_id = existing.get((folder, filename))
            if row_id is None:
                fresh.append(found)
            else:
                run.meet(found, folder, filename, row_id)
        return fresh

    def _existing(self, dataset: Dataset, filenames: list[str]) -> dict[tuple[str, str], int]:
        """Row ids of the dataset's images with one of these file names, by folder and file name."""
        if not filenames:
            return {}
        with self._db.read() as connection:
            rows = connection.execute(
                sa.select(samples.c.folder, samples.c.filename, samples.c.id).where(
                    samples.c.dataset_id == dataset.row_id,
                    samples.c.deleted_at.is_(None),
                    samples.c.filename.in_(set(filenames)),
                )
            ).all()
        return {(row.folder, row.filename): row.id for row in rows}

    def _try_store_some(
        self, group: list[Found], *, allowed: Callable[[Path], bool]
    ) -> list[_Stored | Failure]:
        return [self._try_store(found, allowed) for found in group]

    def _try_store(self, found: Found, allowed: Callable[[Path], bool]) -> _Stored | Failure:
        try:
            path = found.path
            if found.is_link:
                # Not Path.resolve: before Python 3.13 it raises RuntimeError on a link that leads to itself.
                path = Path(os.path.realpath(path))
            if not allowed(path):
                return Failure(found.relative, "path_not_allowed", "the link leads outside the allowed roots")
            return self._store(read_image_file(path), found.filename, clean_folder(found.folder))
        except TintypeError as error:
            return Failure(found.relative, error.code, error.message)
        except OSError as error:
            return Failure(found.relative, "unreadable", error.strerror or "the file cannot be read")

    def stage(self, data: bytes, filename: str, folder: str = "/") -> _Stored:
        """Check an image and store its bytes, which nothing names yet (see ``annotations.importing``)."""
        return self._store(data, filename, clean_folder(folder))

    def _store(self, data: bytes, filename: str, folder: str) -> _Stored:
        from tintype_studio.media.inspect import inspect_image

        filename = clean_name(filename, "File name", max_length=255)
        if len(data) > MAX_FILE_BYTES:
            raise too_large(len(data))
        info = inspect_image(data, filename)
        mime_type = info.mime_type
        if info.format == "heic":
            from tintype_studio.media.decode import heic_to_png

            data, mime_type = heic_to_png(data), "image/png"
            filename = str(PurePosixPath(filename).with_suffix(".png"))
        return _Stored(
            filename=filename,
            folder=folder,
            width=info.width,
            height=info.height,
            mime_type=mime_type,
            sha256=self._blobs.put(data),
            size=len(data),
        )

    def _record(self, principal: Principal, dataset: Dataset, batch: list[_Stored]) -> list[_Row | None]:
        """Insert rows for stored files in one transaction; None for a name that was taken meanwhile."""
        if not batch:
            return []
        now = clock.now()
        uuids = [clock.new_id() for _ in batch]
        insert = self._db.insert_ignore(samples).returning(samples.c.id, samples.c.uuid)
        with self._db.write() as connection:
            # Under the write transaction: a dataset deleted meanwhile must not gain images.
            self.require_alive(connection, dataset)
            require_room(connection, principal, len(batch), sum(s.size for s in batch))
            rows = connection.execute(
                insert,
                [
                    {
                        "uuid": uuid,
                        "dataset_id": dataset.row_id,
                        "filename": item.filename,
                        "folder": item.folder,
                        "status": Status.NEW.value,
                        "width": item.width,
                        "height": item.height,
                        "created_at": now,
                        "updated_at": now,
                        "created_by": principal.key_id,
                        "created_call": principal.call_id,
                    }
                    for uuid, item in zip(uuids, batch, strict=True)
                ],
            ).all()
            ids = {row.uuid: row.id for row in rows}
            taken = [(ids[u], item) for u, item in zip(uuids, batch, strict=True) if u in ids]
            files: list[dict[str, Any]] = [
                {
                    "sample_id": row_id,
                    "type": IMAGE,
                    "sha256": item.sha256,
                    "size": item.size,
                    "mime_type": item.mime_type,
                }
                for row_id, item in taken
            ]
            if files:
                connection.execute(sa.insert(sample_files), files)
                add_to_counters(
                    connection,
                    dataset.row_id,
                    images=len(files),
                    size=sum(item.size for _, item in taken),
                    appended=True,
                )
                add_to_change(connection, principal, Kind.IMAGES_ADDED, dataset.row_id, len(files))
                self.keep_bytes(connection, {item.sha256 for _, item in taken})
        return [_Row(ids[u], u) if u in ids else None for u in uuids]

    def keep_bytes(self, connection: sa.Connection, digests: set[str]) -> None:
        """Under the write transaction: bytes that a purge was about to remove stay."""
        if rehearsing() or keep_blobs(connection, digests, self._blobs.exists):
            return
        raise Unavailable(
            "A purge removed bytes while they were uploaded again; nothing of this batch was recorded.",
            code="upload_raced",
            fix="Repeat the upload.",
        )

    @staticmethod
    def require_alive(connection: sa.Connection, dataset: Dataset) -> None:
        """``Conflict`` when the dataset is gone, under the caller's write transaction."""
        alive = connection.execute(
            sa.select(datasets.c.id).where(datasets.c.id == dataset.row_id, datasets.c.deleted_at.is_(None))
        ).first()
        if alive is None:
            raise Conflict(
                f"Dataset {dataset.name!r} was deleted while images were uploaded to it.",
                code="dataset_deleted",
                fix="Create the dataset again and repeat the upload.",
            )


def require_room(connection: sa.Connection, principal: Principal, count: int, added_size: int) -> None:
    """``Conflict`` when so many more images, of so many bytes together, are over the tier's limits."""
    tier = tier_of(principal.tier)
    images, size = stored_in_all(connection, principal)
    if images + count > tier.max_images or size + added_size > tier.max_storage_bytes:
        raise Conflict(
            f"The organization's tier {principal.tier!r} holds {tier.max_images} images and "
            f"{tier.max_storage_bytes >> 30} GiB; this would be more.",
            code="tier_limit",
            fix="Delete what is not needed, or move to a larger tier.",
        )


def stored_in_all(connection: sa.Connection, principal: Principal) -> tuple[int, int]:
    """Images and bytes that count against the organization's tier."""
    (row,) = _STORED.all(connection, {"organization": principal.organization_id})
    return int(row["images"]), int(row["size"])


def _grouped(files: list[Found]) -> Iterator[list[Found]]:
    return (files[i : i + GROUP] for i in range(0, len(files), GROUP))


def stored_name(filename: str) -> str:
    """The name under which a file of this name is kept: HEIC becomes PNG."""
    filename = lookup_name(filename)
    path = PurePosixPath(filename)
    return str(path.with_suffix(".png")) if path.suffix.lower() in {".heic", ".heif"} else filename


def _collapsed(found: Found, folder: str, filename: str) -> Failure:
    place = f"{folder.rstrip('/')}/{filename}"
    return Failure(found.relative, "conflict", f"another file of this upload has the place {place} already")


def _name_taken(folder: str, filename: str, dataset: Dataset) -> Conflict:
    return Conflict(
        f"Folder {folder!r} of dataset {dataset.name!r} has an image named {filename!r}.",
        code="image_exists",
        fix="Upload under another name or folder, or delete the existing image first.",
    )
