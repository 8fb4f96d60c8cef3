"""Images that come in with their annotations: written together, many in one transaction.

An image and what is known of it become true at once or not at all. What one image is refused for
(its name was taken, a class is unknown) leaves the others alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.classes import admit_classes
from tintype_studio.annotations.documents import Documents
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.annotations.options import declared_in, require_options
from tintype_studio.catalog.datasets import DEFAULT_SET, Dataset
from tintype_studio.catalog.ingest import Ingest, require_room
from tintype_studio.catalog.samples import IMAGE, Sample, Samples, Status, add_to_counters
from tintype_studio.errors import Conflict, InvalidInput, TintypeError
from tintype_studio.history.changes import Kind, add_to_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name
from tintype_studio.storage.database import Database
from tintype_studio.storage.search_tables import sample_classes
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, sample_files, samples


class StoredImage(Protocol):
    """An image whose bytes are checked and stored (``Ingest.stage``); upright pixels, size in bytes."""

    @property
    def filename(self) -> str: ...
    @property
    def folder(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def mime_type(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """An image to record, or one that the dataset has (``sample``) and that gets annotations.

    ``annotations`` are in the form in which they are kept (see ``documents.as_text``), ids unique. The status
    is ``complete`` with annotations and ``new`` without, unless one is given.
    """

    annotations: Sequence[dict[str, Any]]
    image: StoredImage | None = None
    sample: Sample | None = None
    split: str | None = None
    status: Status | None = None

    @property
    def final_status(self) -> Status:
        """What a new image gets."""
        return self.status or (Status.COMPLETE if self.annotations else Status.NEW)


@dataclass(slots=True)
class _Write:
    """What one transaction needs at every step."""

    connection: sa.Connection
    principal: Principal
    dataset: Dataset
    refused: dict[str, TintypeError] = field(default_factory=dict)
    learned: list[str] = field(default_factory=list)


class Importing:
    """Writes arrivals; the caller's transaction decides when they are true."""

    def __init__(self, database: Database, ingest: Ingest, documents: Documents) -> None:
        self._db = database
        self._ingest = ingest
        self._documents = documents

    def find(self, dataset: Dataset, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Sample]:
        """The dataset's images at ``(folder, filename)``; up to some hundred at a time.

        A file name that ends in ``.*`` finds the only image of that stem.
        """
        wanted = {(lookup_name(folder), lookup_name(name)): (folder, name) for folder, name in places}
        names = sorted({name for _, name in wanted if not name.endswith(".*")})
        mine = sa.and_(samples.c.dataset_id == dataset.row_id, samples.c.deleted_at.is_(None))
        query = sa.select(samples.c.id, samples.c.folder, samples.c.filename).where(mine)
        found: dict[tuple[str, str], int] = {}
        with self._db.read() as connection:
            for row in connection.execute(query.where(samples.c.filename.in_(names))) if names else ():
                if place := wanted.get((row.folder, row.filename)):
                    found[place] = row.id
            for (folder, name), place in wanted.items():
                if name.endswith(".*"):
                    like = samples.c.filename.startswith(name[:-1], autoescape=True)
                    rows = connection.execute(query.where(samples.c.folder == folder, like)).all()
                    stems = [row.id for row in rows if row.filename.rpartition(".")[0] == name[:-2]]
                    if len(stems) == 1:
                        found[place] = stems[0]
            by_id = Samples.of_rows(connection, list(found.values())) if found else {}
        return {place: by_id[row_id] for place, row_id in found.items() if row_id in by_id}

    def record(
        self,
        connection: sa.Connection,
        principal: Principal,
        dataset: Dataset,
        arrivals: Mapping[str, Arrival],
    ) -> dict[str, TintypeError]:
        """Write arrivals, by any key; returns by key those that were refused, of which nothing was written.

        Raises:
            Conflict: the dataset is gone, or the tier holds no more images; nothing is written then.
            Unavailable: bytes were purged meanwhile (``upload_raced``); try again.
        """
        write = _Write(connection, principal, dataset)
        self._ingest.require_alive(connection, dataset)
        self._admit(write, arrivals)
        fresh = {
            key: arrival
            for key, arrival in arrivals.items()
            if arrival.image is not None and key not in write.refused
        }
        if fresh:
            self._insert(write, fresh)
        for key, arrival in arrivals.items():
            if arrival.sample is not None and key not in write.refused:
                self._attach(write, key, arrival, arrival.sample)
        return write.refused

    def _admit(self, write: _Write, arrivals: Mapping[str, Arrival]) -> None:
        """Teach the dataset the class names, or refuse those images that have unknown ones or options."""
        names = {
            key: list(dict.fromkeys(entry["name"] for entry in arrival.annotations))
            for key, arrival in arrivals.items()
        }
        together = list(dict.fromkeys(name for own in names.values() for name in own))
        try:
            write.learned = admit_classes(write.connection, write.dataset.row_id, together)
        except InvalidInput:
            for key, own in names.items():
                try:
                    write.learned += admit_classes(write.connection, write.dataset.row_id, own)
                except InvalidInput as error:
                    write.refused[key] = error
        declared = declared_in(write.connection, write.dataset.row_id)
        for key, arrival in arrivals.items() if declared else ():
            chosen = ((entry["name"], entry.get("attributes", ())) for entry in arrival.annotations)
            try:
                require_options(chosen, declared)
            except InvalidInput as error:
                write.refused.setdefault(key, error)

    def _insert(self, write: _Write, fresh: Mapping[str, Arrival]) -> None:
        """New images with their files, annotations and counts."""
        connection, now = write.connection, clock.now()
        images = self._with_room(write, {k: a.image for k, a in fresh.items() if a.image is not None})
        if not images:
            return
        uuids = {clock.new_id(): key for key in images}
        rows = connection.execute(
            self._db.insert_ignore(samples).returning(samples.c.id, samples.c.uuid),
            [
                {
                    "uuid": uuid,
                    "dataset_id": write.dataset.row_id,
                    "filename": images[key].filename,
                    "folder": images[key].folder,
                    "status": fresh[key].final_status.value,
                    "split": fresh[key].split,
                    "width": images[key].width,
                    "height": images[key].height,
                    "annotation_count": len(fresh[key].annotations),
                    "created_at": now,
                    "updated_at": now,
                    "created_by": write.principal.key_id,
                    "created_call": write.principal.call_id,
                }
                for uuid, key in uuids.items()
            ],
        ).all()
        ids = {uuids[row.uuid]: row.id for row in rows}
        for key, image in images.items():
            if key not in ids:
                write.refused[key] = Conflict(
                    f"{image.folder.rstrip('/')}/{image.filename} is taken by another image.",
                    code="image_exists",
                    fix="Import under another name or folder, or delete the existing image first.",
                )
        if not ids:
            return
        taken = {key: images[key] for key in images if key in ids}
        connection.execute(
            sa.insert(sample_files),
            [
                {
                    "sample_id": ids[key],
                    "type": IMAGE,
                    "sha256": image.sha256,
                    "size": image.size,
                    "mime_type": image.mime_type,
                }
                for key, image in taken.items()
            ],
        )
        annotated = {ids[key]: fresh[key].annotations for key in taken if fresh[key].annotations}
        self._write_documents(write, annotated)
        add_to_counters(
            connection,
            write.dataset.row_id,
            images=len(taken),
            completed=sum(fresh[key].final_status is Status.COMPLETE for key in taken),
            annotations=sum(map(len, annotated.values())),
            size=sum(image.size for image in taken.values()),
            appended=True,
        )
        add_to_change(connection, write.principal, Kind.IMAGES_ADDED, write.dataset.row_id, len(taken))
        if annotated:
            self._log_saved(write, len(annotated))
        self._ingest.keep_bytes(connection, {image.sha256 for image in taken.values()})

    @staticmethod
    def _with_room(write: _Write, images: dict[str, StoredImage]) -> dict[str, StoredImage]:
        """Those images, from the first on, that the organization's tier has room for."""
        connection, principal = write.connection, write.principal
        try:
            require_room(connection, principal, len(images), sum(image.size for image in images.values()))
            return images
        except Conflict as error:
            kept: dict[str, StoredImage] = {}
            size = 0
            for key, image in images.items():
                try:
                    require_room(connection, principal, len(kept) + 1, size + image.size)
                except Conflict:
                    write.refused[key] = error
                else:
                    kept[key] = image
                    size += image.size
            return kept

    def _write_documents(self, write: _Write, annotated: Mapping[int, Sequence[dict[str, Any]]]) -> None:
        """The first revisions of new samples, and how often each names a class."""
        if not annotated:
            return
        connection, now = write.connection, clock.now()
        set_id = connection.execute(
            sa.select(annotation_sets.c.id).where(
                annotation_sets.c.dataset_id == write.dataset.row_id, annotation_sets.c.name == DEFAULT_SET
            )
        ).scalar_one()
        connection.execute(
            sa.insert(annotation_revisions),
            [
                {
                    "sample_id": sample_id,
                    "annotation_set_id": set_id,
                    "revision": 1,
                    "document": orjson.dumps(annotations).decode(),
                    "annotation_count": len(annotations),
                    "call_id": write.principal.call_id,
                    "created_by": write.principal.key_uuid,
                    "created_at": now,
                }
                for sample_id, annotations in annotated.items()
            ],
        )
        connection.execute(
            sa.insert(sample_classes),
            [
                {"sample_id": sample_id, "name": name, "count": count}
                for sample_id, annotations in annotated.items()
                for name, count in Counter(entry["name"] for entry in annotations).items()
            ],
        )

    def _attach(self, write: _Write, key: str, arrival: Arrival, sample: Sample) -> None:
        """Annotations for an image that is there and has none."""
        try:
            with self._db.write():
                saved = self._documents.save(
                    write.principal, sample.id, ANNOTATIONS.validate_python(arrival.annotations), bulk=True
                )
                if saved.previous_count:
                    raise Conflict(
                        f"{sample.folder.rstrip('/')}/{sample.filename} was annotated meanwhile.",
                        code="image_annotated",
                        fix="Import again; what has annotations is skipped.",
                    )
        except TintypeError as error:
            write.refused[key] = error

    def _log_saved(self, write: _Write, count: int) -> None:
        add_to_change(
            write.connection,
            write.principal,
            Kind.ANNOTATIONS_SAVED,
            write.dataset.row_id,
            count,
            classes_added=write.learned,
        )
        write.learned = []
