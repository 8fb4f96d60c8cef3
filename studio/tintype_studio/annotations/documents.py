"""Annotation documents: one per sample and annotation set; every save is a revision.

Saving replaces the whole document. The newest revision is the current one; earlier ones stay, which is
what undo and versions build on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.bounds import Outside, outside
from tintype_studio.annotations.classes import admit_classes, newest_revision
from tintype_studio.annotations.geometry import ANNOTATIONS, Annotation, with_box
from tintype_studio.annotations.masks import require_sizes
from tintype_studio.annotations.options import declared_in, require_options
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.catalog.samples import Sample, Samples, Status, add_to_counters
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.history.changes import Kind, add_to_change, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.search.class_counts import count_classes
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import (
    annotation_revisions,
    annotation_sets,
    samples,
)


@dataclass(frozen=True, slots=True)
class Saved:
    """The outcome of a save."""

    image_id: str
    previous_count: int
    new_count: int
    status: Status
    revision: int
    classes_added: list[str]
    outside: list[Outside] = field(default_factory=list)
    """Annotations that share nothing with the picture."""


class Documents:
    """Annotations of every organization; each call sees only the principal's own."""

    def __init__(self, database: Database, catalog: Samples) -> None:
        self._db = database
        self._samples = catalog

    def get(
        self, principal: Principal, sample_id: str, *, annotation_set: str | None = None
    ) -> tuple[Sample, list[Annotation]]:
        """An image and its annotations in a set, by name; an empty list when it has none."""
        with self._db.read() as connection:
            sample = self._samples.get_in(connection, principal, sample_id)
            set_id = None
            if annotation_set is not None:
                set_id = set_row_id(connection, sample.dataset_row_id, annotation_set)
            return sample, current_document(connection, sample.row_id, set_id)

    def of_samples(
        self, page: Sequence[Sample], set_id: int | None = None
    ) -> Iterator[tuple[Sample, list[Annotation]]]:
        """The annotations of many images, in their order, in one query; in the default set or one by row."""
        for sample, text in self.texts_of_samples(page, set_id):
            yield sample, ANNOTATIONS.validate_json(text) if text else []

    def texts_of_samples(
        self, page: Sequence[Sample], set_id: int | None = None
    ) -> Iterator[tuple[Sample, str]]:
        """The same as they are kept (see :func:`as_text`); nothing where there are none."""
        ids = [s.row_id for s in page if s.annotation_count or set_id is not None]
        documents: dict[int, str] = {}
        if ids:
            newest = (
                newest_revision(set_id)
                .where(annotation_revisions.c.sample_id.in_(ids))
                .group_by(annotation_revisions.c.sample_id)
                .scalar_subquery()
            )
            with self._db.read() as connection:
                for row in connection.execute(
                    sa.select(annotation_revisions.c.sample_id, annotation_revisions.c.document).where(
                        annotation_revisions.c.id.in_(newest)
                    )
                ):
                    documents[row.sample_id] = row.document
        for sample in page:
            yield sample, documents.get(sample.row_id, "")

    def save(
        self,
        principal: Principal,
        sample_id: str,
        annotations: Sequence[Annotation],
        *,
        bulk: bool = False,
        annotation_set: str | None = None,
    ) -> Saved:
        """Replace an image's annotations, in the default set or one of that name, with the given list.

        The image's status is then as ``status_after`` has it. Class names must be the dataset's; a dataset
        whose classes were never declared learns new names instead. What lies wholly outside the picture is
        saved and told in ``outside``.
        ``bulk`` is for calls that save many images: the log then has one line for all of a dataset.
        """
        document = [with_box(a) for a in annotations]
        if len({a.id for a in document}) < len(document):
            raise InvalidInput("An annotation id occurs twice.", fix="Give each annotation its own id.")
        with self._db.write() as connection:
            sample = self._samples.get_in(connection, principal, sample_id, lock=True)
            set_id = set_row_id(connection, sample.dataset_row_id, annotation_set or DEFAULT_SET)
            added = admit_classes(connection, sample.dataset_row_id, [a.name for a in document])
            if any(a.attributes for a in document):
                declared = declared_in(connection, sample.dataset_row_id)
                require_options(((a.name, a.attributes) for a in document), declared)
            if any(a.mask for a in document) and sample.width:
                require_sizes(document, sample.width, sample.height)
            text = as_text(document)
            revision, status = replace_document(
                connection, principal, sample, text, len(document), set_id=set_id
            )
            if bulk:
                add_to_change(
                    connection,
                    principal,
                    Kind.ANNOTATIONS_SAVED,
                    sample.dataset_row_id,
                    1,
                    classes_added=added,
                )
                return _saved(sample, len(document), status, revision, added)
            log_change(
                connection,
                principal,
                Kind.ANNOTATIONS_SAVED,
                sample.dataset_row_id,
                subject=sample.id,
                label=f"{sample.folder.rstrip('/')}/{sample.filename}",
                detail={"before": sample.annotation_count, "after": len(document)}
                | ({"classes_added": added} if added else {}),
            )
        saved = _saved(sample, len(document), status, revision, added)
        return replace(saved, outside=outside(document, sample.width, sample.height))


def _saved(sample: Sample, count: int, status: Status, revision: int, added: list[str]) -> Saved:
    return Saved(
        image_id=sample.id,
        previous_count=sample.annotation_count,
        new_count=count,
        status=status,
        revision=revision,
        classes_added=added,
    )


def as_text(document: Sequence[Annotation]) -> str:
    """A document as it is kept."""
    return orjson.dumps([a.model_dump(mode="json", exclude_none=True) for a in document]).decode()


def set_row_id(connection: sa.Connection, dataset_row_id: int, name: str) -> int:
    """Row of a living annotation set of a dataset; ``NotFound`` (``annotation_set_not_found``)."""
    found = connection.execute(
        sa.select(annotation_sets.c.id).where(
            annotation_sets.c.dataset_id == dataset_row_id,
            annotation_sets.c.name == name,
            annotation_sets.c.deleted_at.is_(None),
        )
    ).scalar()
    if found is None:
        raise NotFound(
            f"The dataset has no annotation set named {printable(name[:120])!r}.",
            code="annotation_set_not_found",
            fix="Call list_annotation_sets to see them; the first one is named default.",
        )
    return int(found)


def current_document(
    connection: sa.Connection, sample_row_id: int, set_id: int | None = None
) -> list[Annotation]:
    """A sample's annotations as they stand in the caller's transaction, in the default set or one by row."""
    newest = (
        newest_revision(set_id).where(annotation_revisions.c.sample_id == sample_row_id).scalar_subquery()
    )
    text = connection.execute(
        sa.select(annotation_revisions.c.document).where(annotation_revisions.c.id == newest)
    ).scalar()
    return ANNOTATIONS.validate_json(text) if text else []


def newest_change(connection: sa.Connection, sample_row_id: int) -> datetime | None:
    """When a sample's annotations were last saved; None if they never were."""
    newest = newest_revision().where(annotation_revisions.c.sample_id == sample_row_id).scalar_subquery()
    return connection.execute(
        sa.select(annotation_revisions.c.created_at).where(annotation_revisions.c.id == newest)
    ).scalar()


def status_after(sample: Sample, count: int) -> Status:
    """The status of an image that had ``sample``'s annotations and now has ``count``.

    With annotations it is ``complete``; when the last one is taken away, ``new``. An image that had none and
    has none keeps the status that somebody gave it: ``complete`` then says that nothing is there to be seen.
    """
    if count:
        return Status.COMPLETE
    return Status.NEW if sample.annotation_count else sample.status


def replace_document(
    connection: sa.Connection,
    principal: Principal,
    sample: Sample,
    text: str,
    count: int,
    *,
    status: Status | None = None,
    set_id: int | None = None,
) -> tuple[int, Status]:
    """Make ``text`` (JSON of ``count`` annotations) a sample's newest revision, and its counters true.

    Returns the revision's number and the sample's new status: ``status``, or else as ``status_after`` has it.
    Only the default annotation set (None, or its row) counts: in others, a save changes nothing else.
    """
    default = set_row_id(connection, sample.dataset_row_id, DEFAULT_SET)
    revision = _insert_revision(connection, principal, sample, text, count, set_id or default)
    if set_id not in (None, default):
        return revision, sample.status
    count_classes(connection, sample.row_id, text)
    status = status or status_after(sample, count)
    connection.execute(
        sa.update(samples)
        .where(samples.c.id == sample.row_id)
        .values(status=status.value, annotation_count=count, updated_at=clock.now())
    )
    add_to_counters(
        connection,
        sample.dataset_row_id,
        completed=sample.has_picture * ((status == Status.COMPLETE) - (sample.status == Status.COMPLETE)),
        annotations=count - sample.annotation_count,
    )
    return revision, status


def _insert_revision(
    connection: sa.Connection, principal: Principal, sample: Sample, text: str, count: int, set_id: int
) -> int:
    revision = 1 + int(
        connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(annotation_revisions.c.revision), 0)).where(
                annotation_revisions.c.sample_id == sample.row_id,
                annotation_revisions.c.annotation_set_id == set_id,
            )
        ).scalar_one()
    )
    connection.execute(
        sa.insert(annotation_revisions).values(
            sample_id=sample.row_id,
            annotation_set_id=set_id,
            revision=revision,
            document=text,
            annotation_count=count,
            status_before=sample.status.value,
            call_id=principal.call_id,
            created_by=principal.key_uuid,
            created_at=clock.now(),
        )
    )
    return revision
