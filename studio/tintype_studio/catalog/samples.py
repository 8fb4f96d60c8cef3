"""Samples: the images of a dataset, found, listed and deleted.

A sample has files by type (``image`` here); its size is upright (EXIF orientation applied), in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.places import Places
from tintype_studio.errors import Conflict, Forbidden, NotFound
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.column_types import UtcDateTime
from tintype_studio.storage.database import Database
from tintype_studio.storage.prepared import Prepared, Row
from tintype_studio.storage.tables import api_keys, datasets, sample_files, samples

IMAGE = "image"

THUMBNAIL_SIZES = (128, 256, 512, 1024)
"""Longest sides of kept thumbnails, in pixels."""


class Status(StrEnum):
    """Where an image stands in the labelling work."""

    NEW = "new"
    """No annotations yet."""
    ANNOTATE = "annotate"
    """Being labelled."""
    REVIEW = "review"
    """Labelled, waiting for a person's word."""
    COMPLETE = "complete"
    """Done; the default export takes these."""


STATUS_FILTERS: dict[str, tuple[Status, ...]] = {
    "all": tuple(Status),
    "complete": (Status.COMPLETE,),
    "in_progress": (Status.ANNOTATE, Status.REVIEW),
    "new": (Status.NEW,),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """An image of a dataset."""

    row_id: int
    dataset_row_id: int
    id: str
    filename: str
    folder: str
    status: Status
    split: str | None
    width: int
    height: int
    annotation_count: int
    file_size: int
    mime_type: str
    sha256: str
    created_at: datetime
    display_name: str | None = None
    """Shown instead of the file name, where somebody gave one."""

    @property
    def has_picture(self) -> bool:
        """Whether its picture is there: samples of other sensors, and those still to come, have none."""
        return self.sha256 != ""

    @property
    def is_labelled(self) -> bool:
        """Whether it has annotations, or somebody has said that it is complete without any."""
        return self.annotation_count > 0 or self.status is Status.COMPLETE


_LISTED = sa.select(
    samples,
    sample_files.c.size,
    sample_files.c.mime_type,
    sample_files.c.sha256,
).join(sample_files, sa.and_(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE))


_ANY = sa.select(
    samples,
    sa.func.coalesce(sample_files.c.size, 0).label("size"),
    sa.func.coalesce(sample_files.c.mime_type, "").label("mime_type"),
    sa.func.coalesce(sample_files.c.sha256, "").label("sha256"),
).outerjoin(sample_files, sa.and_(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE))

PICTURED = sa.exists(
    sa.select(sample_files.c.id).where(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE)
)
"""Condition on ``samples``: the picture is there."""


# Every upload through the REST dialect ends with this lookup.
_BY_UUID = Prepared(
    _LISTED.join(datasets, datasets.c.id == samples.c.dataset_id).where(
        samples.c.uuid == sa.bindparam("sample"),
        samples.c.deleted_at.is_(None),
        datasets.c.organization_id == sa.bindparam("organization"),
    )
)


def thumbnail_key(sha256: str, size: int) -> str:
    """Where the thumbnail of a stored image is kept, among what is derived."""
    return f"thumbnails/{size}/{sha256[:2]}/{sha256}.jpg"


class Samples:
    """Samples of every organization; each call sees only the principal's own."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._db = database
        self._blobs = blobs
        self._places = Places()

    def get(self, principal: Principal, sample_id: str) -> Sample:
        """An image by its UUID."""
        key = {"sample": printable(sample_id), "organization": principal.organization_id}
        with self._db.read() as connection:
            rows = _BY_UUID.all(connection, key, alone=True)
        if not rows:
            raise no_image(sample_id)
        return _sample(rows[0])

    def get_in(
        self, connection: sa.Connection, principal: Principal, sample_id: str, *, lock: bool = False
    ) -> Sample:
        """An image by its UUID inside the caller's transaction; ``lock`` it before changing it."""
        query = _LISTED.join(datasets, datasets.c.id == samples.c.dataset_id).where(
            samples.c.uuid == sample_id,
            samples.c.deleted_at.is_(None),
            datasets.c.organization_id == principal.organization_id,
        )
        if lock:
            query = query.with_for_update(of=samples)
        row = connection.execute(query).mappings().first()
        if row is None:
            raise no_image(sample_id)
        return _sample(row)

    @staticmethod
    def of_row(connection: sa.Connection, row_id: int) -> Sample:
        """A sample by its row's id, in the bin or not, with a picture (``has_picture``) or without."""
        return _sample(connection.execute(_ANY.where(samples.c.id == row_id)).mappings().one())

    @staticmethod
    def of_rows(
        connection: sa.Connection, row_ids: Sequence[int], conditions: Sequence[sa.ColumnElement[bool]] = ()
    ) -> dict[int, Sample]:
        """By row id, those of some samples that are not in the recycle bin and fulfil the conditions."""
        query = _LISTED.where(samples.c.id.in_(row_ids), samples.c.deleted_at.is_(None), *conditions)
        return {row["id"]: _sample(row) for row in connection.execute(query).mappings()}

    def find(self, dataset: Dataset, filename: str) -> Sample:
        """An image by file name, or by ``folder/filename`` where one name stands in several folders.

        A leading slash alone (``/001.jpg``) means the top folder.
        """
        folder, slash, name = lookup_name(filename).rpartition("/")
        query = _LISTED.where(
            samples.c.dataset_id == dataset.row_id,
            samples.c.deleted_at.is_(None),
            samples.c.filename == name,
        )
        if slash:
            query = query.where(samples.c.folder == "/" + folder.strip("/"))
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(samples.c.id).limit(2)).mappings().all()
        if not rows:
            raise NotFound(
                f"Dataset {dataset.name!r} has no image {printable(filename[:120])!r}.",
                code="image_not_found",
                fix="Call get_dataset with include_images=true to see the file names.",
            )
        if len(rows) > 1:
            raise Conflict(
                f"{filename!r} stands in more than one folder of {dataset.name!r}.",
                code="ambiguous_filename",
                fix="Write folder/filename, such as 'stop/001.jpg', or '/001.jpg' for the top folder.",
            )
        return _sample(rows[0])

    def page(
        self,
        dataset: Dataset,
        *,
        limit: int,
        after: int = 0,
        statuses: tuple[Status, ...] = tuple(Status),
    ) -> list[Sample]:
        """Images in upload order, those with ``row_id > after``; by key, so every page costs the same."""
        query = _LISTED.where(
            samples.c.dataset_id == dataset.row_id,
            samples.c.deleted_at.is_(None),
            samples.c.id > after,
        )
        if len(statuses) < len(Status):
            query = query.where(samples.c.status.in_([s.value for s in statuses]))
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(samples.c.id).limit(limit)).mappings().all()
        return [_sample(row) for row in rows]

    def page_at(
        self,
        dataset: Dataset,
        *,
        limit: int,
        offset: int,
        statuses: tuple[Status, ...] = tuple(Status),
    ) -> list[Sample]:
        """Images in upload order, from place ``offset`` (0 is the first) on.

        A page of all images costs the same wherever it lies, once its place is known (``Places``); one of
        some statuses is counted off, for every save may move it.
        """
        if len(statuses) < len(Status):
            return self._counted_off(dataset, statuses, limit=limit, offset=offset)
        with self._db.read() as connection:
            reordered = connection.execute(
                sa.select(datasets.c.reordered).where(datasets.c.id == dataset.row_id)
            ).scalar()
            if reordered is None:  # purged meanwhile
                return []
            place = self._places.before(
                connection,
                (dataset.id, dataset.row_id, reordered),
                offset,
                remember=not self._db.in_open_work(),
            )
            if place is None:
                return []
            after, skip = place
            query = (
                _LISTED.where(
                    samples.c.dataset_id == dataset.row_id,
                    samples.c.deleted_at.is_(None),
                    samples.c.id > after,
                )
                .order_by(samples.c.id)
                .limit(limit)
                .offset(skip)
            )
            return [_sample(row) for row in connection.execute(query).mappings()]

    def _counted_off(
        self, dataset: Dataset, statuses: tuple[Status, ...], *, limit: int, offset: int
    ) -> list[Sample]:
        query = (
            _LISTED.where(
                samples.c.dataset_id == dataset.row_id,
                samples.c.deleted_at.is_(None),
                samples.c.status.in_([s.value for s in statuses]),
            )
            .order_by(samples.c.id)
            .limit(limit)
            .offset(offset)
        )
        with self._db.read() as connection:
            return [_sample(row) for row in connection.execute(query).mappings()]

    def count(
        self, dataset: Dataset, *, statuses: tuple[Status, ...] = tuple(Status), unlabelled: bool = False
    ) -> int:
        """How many images have one of the statuses; of those, if so asked, the ones that are not labelled."""
        query = (
            sa.select(sa.func.count())
            .select_from(samples)
            .join(sample_files, sample_files.c.sample_id == samples.c.id)
            .where(
                sample_files.c.type == IMAGE,
                samples.c.dataset_id == dataset.row_id,
                samples.c.deleted_at.is_(None),
                samples.c.status.in_([s.value for s in statuses]),
            )
        )
        if unlabelled:
            query = query.where(samples.c.annotation_count == 0, samples.c.status != Status.COMPLETE.value)
        with self._db.read() as connection:
            return int(connection.execute(query).scalar_one())

    def image_bytes(self, sample: Sample) -> bytes:
        """The image file as it was uploaded (HEIC: as PNG)."""
        return self._blobs.get(sample.sha256)

    def thumbnail(self, sha256: str, size: int) -> bytes:
        """A JPEG of a stored image, kept once made. ``size`` is its longest side in pixels, rounded up."""
        from tintype_studio.media.thumbnails import thumbnail

        step = next((s for s in THUMBNAIL_SIZES if s >= size), THUMBNAIL_SIZES[-1])
        key = thumbnail_key(sha256, step)
        made = self._blobs.get_derived(key)
        if made is None:
            made = thumbnail(self._blobs.get(sha256), step)
            self._blobs.put_derived(key, made)
        return made

    def delete(self, principal: Principal, sample_id: str) -> Sample:
        """Put an image into the recycle bin; its file name is free again at once.

        A member deletes only what it uploaded, by this key or another of the same user; an admin all.
        """
        with self._db.write() as connection:
            sample = self.get_in(connection, principal, sample_id, lock=True)
            if not principal.role.covers(Role.ADMIN):
                _require_own(connection, principal, sample)
            connection.execute(
                sa.update(samples)
                .where(samples.c.id == sample.row_id)
                .values(deleted_at=clock.now(), deleted_call=principal.call_id)
            )
            add_to_counters(
                connection,
                sample.dataset_row_id,
                images=-1,
                completed=-1 if sample.status == Status.COMPLETE else 0,
                annotations=-sample.annotation_count,
                size=-bytes_of(connection, [sample.row_id]),
            )
            log_change(
                connection,
                principal,
                Kind.IMAGES_DELETED,
                sample.dataset_row_id,
                subject=sample.id,
                label=f"{sample.folder.rstrip('/')}/{sample.filename}",
            )
        return sample


def _require_own(connection: sa.Connection, principal: Principal, sample: Sample) -> None:
    maker = connection.execute(
        sa.select(api_keys.c.id, api_keys.c.user_id)
        .join(samples, samples.c.created_by == api_keys.c.id)
        .where(samples.c.id == sample.row_id)
    ).first()
    if maker is not None and (
        maker.id == principal.key_id or (principal.user_id is not None and maker.user_id == principal.user_id)
    ):
        return
    raise not_your_own(sample.filename, principal)


def no_image(sample_id: str) -> NotFound:
    """The refusal of an id that no image of the organization has."""
    return NotFound(
        f"No image has the id {printable(sample_id[:80])!r}.",
        code="image_not_found",
        fix="Call get_dataset with include_images=true to see the ids.",
    )


def not_your_own(filename: str, principal: Principal) -> Forbidden:
    """The refusal of a deletion of what somebody else uploaded."""
    return Forbidden(
        f"A member deletes only its own images; {filename!r} was uploaded by someone else.",
        code="not_your_own",
        fix="Use a key with the role admin, or ask whoever uploaded it.",
        details={"required_role": Role.ADMIN.value, "role": principal.role.value},
    )


_COUNT = Prepared(
    sa.update(datasets)
    .where(datasets.c.id == sa.bindparam("dataset"))
    .values(
        image_count=datasets.c.image_count + sa.bindparam("images", type_=sa.BigInteger),
        completed_image_count=datasets.c.completed_image_count
        + sa.bindparam("completed", type_=sa.BigInteger),
        annotation_count=datasets.c.annotation_count + sa.bindparam("annotations", type_=sa.BigInteger),
        total_size=datasets.c.total_size + sa.bindparam("bytes", type_=sa.BigInteger),
        reordered=datasets.c.reordered + sa.bindparam("moved", type_=sa.BigInteger),
        updated_at=sa.bindparam("now", type_=UtcDateTime),
    )
)


def add_to_counters(
    connection: sa.Connection,
    dataset_row_id: int,
    *,
    images: int = 0,
    completed: int = 0,
    annotations: int = 0,
    size: int = 0,
    appended: bool = False,
) -> None:
    """Keep a dataset's counters true; called in the transaction that changes what they count.

    ``appended``: the images are new rows, which stand behind all others in the list.
    """
    # Elsewhere than in SQLite, which has one writer at a time, a later row may be seen before an earlier one.
    moved = images != 0 and not (appended and connection.dialect.name == "sqlite")
    _COUNT.run(
        connection,
        {
            "dataset": dataset_row_id,
            "images": images,
            "completed": completed,
            "annotations": annotations,
            "bytes": size,
            "moved": int(moved),
            "now": clock.now(),
        },
    )


def bytes_of(connection: sa.Connection, row_ids: Sequence[int]) -> int:
    """Bytes of all files of some hundred samples, whatever sensor they are of."""
    total = sa.func.coalesce(sa.func.sum(sample_files.c.size), 0)
    return int(connection.execute(sa.select(total).where(sample_files.c.sample_id.in_(row_ids))).scalar_one())


def _sample(row: sa.RowMapping | Row) -> Sample:
    return Sample(
        row_id=row["id"],
        dataset_row_id=row["dataset_id"],
        id=row["uuid"],
        filename=row["filename"],
        folder=row["folder"],
        status=Status(row["status"]),
        split=row["split"],
        width=row["width"] or 0,
        height=row["height"] or 0,
        annotation_count=row["annotation_count"],
        file_size=row["size"],
        mime_type=row["mime_type"],
        sha256=row["sha256"],
        created_at=row["created_at"],
        display_name=row["display_name"],
    )
