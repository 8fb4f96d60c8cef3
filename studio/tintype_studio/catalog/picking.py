"""Images of a dataset that a call names by their ids, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy as sa

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import IMAGE
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.names import printable
from tintype_studio.storage.tables import api_keys, datasets, sample_files, samples

MAX_IMAGES = 10_000
"""Images of one call."""

BATCH = 500
"""Values in one statement."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """An image that was left as it is, and why."""

    id: str
    reason: str


@dataclass(slots=True)
class Batched:
    """What a call did to many images."""

    processed: int = 0
    """Images that are now as was asked, whether or not they were so before."""
    skipped: int = 0
    """Left out, as the caller asked for that case."""
    failed: list[Failed] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    """Virtual folders whose content changed."""

    def fail(self, picked: Picked, reason: str) -> None:
        """Leave an image as it is."""
        self.failed.append(Failed(picked.uuid, reason))


@dataclass(frozen=True, slots=True)
class Picked:
    """An image as it stands in the caller's transaction, locked."""

    id: int
    uuid: str
    filename: str
    folder: str
    status: str
    display_name: str | None
    split: str | None
    width: int | None
    height: int | None
    annotation_count: int
    in_bin: bool
    deleted_call: str | None
    created_by: int | None
    sha256: str
    size: int
    mime_type: str

    @property
    def has_picture(self) -> bool:
        """Whether its picture is there: samples of other sensors have none."""
        return self.sha256 != ""


_PICKED = (
    sa.select(
        samples,
        sa.func.coalesce(sample_files.c.sha256, "").label("sha256"),
        sa.func.coalesce(sample_files.c.size, 0).label("size"),
        sa.func.coalesce(sample_files.c.mime_type, "").label("mime_type"),
    )
    .outerjoin(sample_files, sa.and_(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE))
    .order_by(samples.c.id)
)


def chunks(values: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Parts of a list that fit into a statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def pick(
    connection: sa.Connection, dataset: Dataset, image_ids: Sequence[str], done: Batched
) -> list[Picked]:
    """The named images of the dataset, each once, in the order of their names; those in the bin, too.

    Other ids become failures. ``InvalidInput`` for none or too many, ``NotFound`` when none of them is there.
    """
    wanted = list(dict.fromkeys(image_ids))
    if not 1 <= len(wanted) <= MAX_IMAGES:
        raise InvalidInput(
            f"A call takes 1 to {MAX_IMAGES:,} images, not {len(wanted):,}.",
            code="invalid_batch",
            fix="Send the images in several calls.",
        )
    found: dict[str, Picked] = {}
    for part in chunks([printable(image_id) for image_id in wanted]):
        mine = (samples.c.dataset_id == dataset.row_id, samples.c.uuid.in_(part))
        found |= {p.uuid: p for p in _picked(connection, *mine)}
    if not found:
        raise NotFound(
            f"None of the {len(wanted):,} images is in dataset {dataset.name!r}.",
            code="image_not_found",
            fix="Call get_dataset with include_images=true to see the ids.",
        )
    for image_id in wanted:
        if image_id not in found:
            done.failed.append(Failed(printable(image_id[:80]), "no image of this dataset has this id"))
    return [found[image_id] for image_id in wanted if image_id in found]


def pick_one(connection: sa.Connection, principal: Principal, image_id: str) -> tuple[int, Picked] | None:
    """An image of a living dataset, in the bin or not, with the row id of that dataset."""
    dataset = connection.execute(
        sa.select(datasets.c.id)
        .join(samples, samples.c.dataset_id == datasets.c.id)
        .where(
            samples.c.uuid == printable(image_id),
            datasets.c.organization_id == principal.organization_id,
            datasets.c.deleted_at.is_(None),
        )
    ).scalar()
    if dataset is None:
        return None
    picked = next(_picked(connection, samples.c.uuid == printable(image_id)), None)
    return None if picked is None else (int(dataset), picked)


def living(picked: Iterable[Picked], done: Batched) -> list[Picked]:
    """Those that are not in the recycle bin; the others become failures."""
    alive = []
    for p in picked:
        if p.in_bin:
            done.fail(p, "the image is in the recycle bin")
        else:
            alive.append(p)
    return alive


def pictures(picked: Iterable[Picked], done: Batched) -> list[Picked]:
    """Those that have a picture; the others become failures."""
    seen = []
    for p in picked:
        if p.has_picture:
            seen.append(p)
        else:
            done.fail(p, "the sample has no picture")
    return seen


def in_places(
    connection: sa.Connection, dataset: Dataset, folder: str, filenames: Iterable[str]
) -> dict[str, Picked]:
    """The images in a folder with one of these file names, by file name."""
    found: dict[str, Picked] = {}
    for part in chunks(list(dict.fromkeys(filenames))):
        here = (
            samples.c.dataset_id == dataset.row_id,
            samples.c.deleted_at.is_(None),
            samples.c.folder == folder,
            samples.c.filename.in_(part),
        )
        found |= {p.filename: p for p in _picked(connection, *here)}
    return found


def own_keys(connection: sa.Connection, principal: Principal) -> set[int]:
    """Row ids of the principal's key and of the others of the same user: what they made is its own."""
    mine = [api_keys.c.id == principal.key_id]
    if principal.user_id is not None:
        mine.append(api_keys.c.user_id == principal.user_id)
    return set(connection.execute(sa.select(api_keys.c.id).where(sa.or_(*mine))).scalars())


def deletable(
    connection: sa.Connection, principal: Principal, picked: Sequence[Picked], done: Batched
) -> list[Picked]:
    """Those that the principal may delete, or bring back: an admin all, a member what it uploaded."""
    if principal.role.covers(Role.ADMIN):
        return list(picked)
    mine = own_keys(connection, principal)
    for p in picked:
        if p.created_by not in mine:
            done.fail(p, "a member deletes only its own images; this one was uploaded by someone else")
    return [p for p in picked if p.created_by in mine]


def _picked(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Iterator[Picked]:
    query = _PICKED.where(*conditions).with_for_update(of=samples)
    for row in connection.execute(query).mappings():
        yield _of_row(row)


def _of_row(row: sa.RowMapping) -> Picked:
    return Picked(
        id=row["id"],
        uuid=row["uuid"],
        filename=row["filename"],
        folder=row["folder"],
        status=row["status"],
        display_name=row["display_name"],
        split=row["split"],
        width=row["width"],
        height=row["height"],
        annotation_count=row["annotation_count"],
        in_bin=row["deleted_at"] is not None,
        deleted_call=row["deleted_call"],
        created_by=row["created_by"],
        sha256=row["sha256"],
        size=row["size"],
        mime_type=row["mime_type"],
    )
