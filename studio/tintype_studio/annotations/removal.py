"""Takes annotations away by class, as a replacement of the class list may ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio.annotations.classes import names_in_use, newest_revision
from tintype_studio.annotations.documents import replace_document
from tintype_studio.catalog.datasets import Datasets
from tintype_studio.catalog.samples import Samples
from tintype_studio.history.changes import Kind, log_change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import annotation_revisions, samples

BATCH = 500
"""Images in one statement."""


@dataclass(frozen=True, slots=True)
class Removed:
    """How many annotations went, from how many images."""

    images: int = 0
    annotations: int = 0


class Removal:
    """Removes annotations from many images; all that a call removes is one transaction."""

    def __init__(self, database: Database, catalog: Datasets) -> None:
        self._db = database
        self._datasets = catalog

    def unlisted(
        self,
        principal: Principal,
        name: str,
        listed: Collection[str],
        *,
        check: Callable[[], None] = lambda: None,
    ) -> Removed:
        """Remove a dataset's annotations whose class is not ``listed``.

        The images keep the rest of theirs in a new revision; images in the recycle bin stay as they are.
        The history says whether any of what went was last saved with another key.
        """
        with self._db.write() as connection:
            dataset = self._datasets.get_in(connection, principal, name)
            gone = names_in_use(connection, dataset.row_id) - set(listed)
            if not gone:
                return Removed()
            images = annotations = 0
            of_others = False
            after = 0
            while page := _documents(connection, dataset.row_id, after):
                check()
                kept = {row.id: _without(row.document, gone) for row in page}
                meant = Samples.of_rows(connection, [i for i, (_, fewer, _) in kept.items() if fewer])
                for row in page:
                    text, fewer, left = kept[row.id]
                    if fewer:
                        replace_document(connection, principal, meant[row.id], text, left)
                        images, annotations = images + 1, annotations + fewer
                        of_others = of_others or row.created_by != principal.key_uuid
                after = page[-1].id
            log_change(
                connection,
                principal,
                Kind.ANNOTATIONS_SAVED,
                dataset.row_id,
                count=images,
                detail={"annotations_removed": annotations} | ({"of_others": True} if of_others else {}),
            )
        return Removed(images, annotations)


def _documents(connection: sa.Connection, dataset_row_id: int, after: int) -> Sequence[sa.Row[Any, Any, Any]]:
    """Current documents of a dataset's living samples by the sample's row id, those behind ``after``."""
    page = (
        sa.select(samples.c.id)
        .where(
            samples.c.dataset_id == dataset_row_id,
            samples.c.deleted_at.is_(None),
            samples.c.annotation_count > 0,
            samples.c.id > after,
        )
        .order_by(samples.c.id)
        .limit(BATCH)
    )
    newest = (
        newest_revision()
        .where(annotation_revisions.c.sample_id.in_(page.scalar_subquery()))
        .group_by(annotation_revisions.c.sample_id)
        .scalar_subquery()
    )
    return connection.execute(
        sa.select(
            annotation_revisions.c.sample_id.label("id"),
            annotation_revisions.c.document,
            annotation_revisions.c.created_by,
        )
        .where(annotation_revisions.c.id.in_(newest))
        .order_by(annotation_revisions.c.sample_id)
    ).all()


def _without(document: str, classes: set[str]) -> tuple[str, int, int]:
    """A document without annotations of some classes; how many of them it had, and how many are left."""
    annotations = orjson.loads(document)
    kept = [annotation for annotation in annotations if annotation["name"] not in classes]
    return orjson.dumps(kept).decode(), len(annotations) - len(kept), len(kept)
