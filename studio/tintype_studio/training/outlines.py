"""Whether a dataset has outlines for a pipeline that learns from them: asked before anything is paid for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.catalog.samples import Status
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, samples
from tintype_studio.vision.train.drafts import is_draft
from tintype_studio.vision.train.requirements import MASK_TASKS, no_polygon

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.storage.database import Database
    from tintype_studio.vision.tasks import Task

OUTLINED = ("polygon", "mask")
"""Types whose outline is known."""
MARKS = tuple(f'"type":"{kind}"' for kind in OUTLINED)
"""In the text of a document (``documents.as_text``) that has one, so that the others need not be read."""
AT_ONCE = 25
"""Documents that are read at a time; mostly the first one ends the search."""


def require_outlines(
    database: Database,
    dataset: Dataset,
    task: Task,
    *,
    statuses: Sequence[Status],
    classes: Collection[str] | None,
    drafts: str,
) -> None:
    """Refuse a pipeline of masks where no polygon of the wanted classes is among the images of the statuses.

    ``drafts``: as in the configuration of a training. Raises ``InvalidInput`` (``wrong_export``), as the run
    does that finds none in its export.
    """
    if task not in MASK_TASKS:
        return
    only_drafts = False
    for polygon in _polygons(database, dataset, statuses):
        if classes is not None and polygon["name"] not in classes:
            continue
        if drafts != "skip" or not is_draft(polygon):
            return
        only_drafts = True
    raise no_polygon(
        task,
        "All its polygons are drafts: accept the right ones (accept_annotations) and train again, or train "
        'without drafts="skip".'
        if only_drafts
        else None,
    )


def _polygons(database: Database, dataset: Dataset, statuses: Sequence[Status]) -> Iterator[dict[str, Any]]:
    """Those of current documents, image by image."""
    later = annotation_revisions.alias()
    after = 0
    query = (
        sa.select(annotation_revisions.c.sample_id, annotation_revisions.c.document)
        .join(samples, samples.c.id == annotation_revisions.c.sample_id)
        .join(annotation_sets, annotation_sets.c.id == annotation_revisions.c.annotation_set_id)
        .where(
            samples.c.dataset_id == dataset.row_id,
            samples.c.deleted_at.is_(None),
            samples.c.status.in_([s.value for s in statuses]),
            samples.c.annotation_count > 0,
            annotation_sets.c.name == DEFAULT_SET,
            sa.or_(*(annotation_revisions.c.document.contains(mark, autoescape=True) for mark in MARKS)),
            ~sa.exists().where(
                later.c.sample_id == annotation_revisions.c.sample_id,
                later.c.annotation_set_id == annotation_revisions.c.annotation_set_id,
                later.c.revision > annotation_revisions.c.revision,
            ),
        )
        .order_by(samples.c.id)
        .limit(AT_ONCE)
    )
    while True:
        with database.read() as connection:
            rows = connection.execute(query.where(samples.c.id > after)).all()
        for row in rows:
            yield from (each for each in orjson.loads(row.document) if each["type"] in OUTLINED)
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].sample_id
