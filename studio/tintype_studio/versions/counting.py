"""How much a dataset holds: the summary that is kept with a version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_studio.catalog.samples import IMAGE
from tintype_studio.storage.tables import annotation_revisions, annotation_sets, sample_files, samples
from tintype_studio.versions.manifest import SampleRow

TYPES = ("bbox", "polygon", "polyline", "keypoint", "mask", "box3d", "tag")
_MARKS = {kind: f'"type":"{kind}"' for kind in TYPES}
_PAGE = 1000


@dataclass(slots=True)
class Summary:
    """Counts of one moment."""

    samples: int = 0
    images: int = 0
    """Samples with a picture."""
    annotations: dict[str, int] = field(default_factory=dict)
    """By type, in all annotation sets."""
    files: dict[str, int] = field(default_factory=dict)
    """Files of sensors by type, pictures left out."""
    labels: int = 0
    annotation_sets: int = 0

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Summary:
        """What ``as_json`` gave."""
        return cls(**{name: kept[name] for name in cls.__slots__ if name in kept})


class Tally:
    """Sums samples up, page by page."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._annotations: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._samples = 0

    def add(self, page: Sequence[SampleRow]) -> None:
        """Count some samples, and the annotations of the revisions that they name."""
        self._samples += len(page)
        self._files.update(each[0] for row in page for each in row.files)
        revisions = [revision for row in page for _, revision in row.revisions]
        for start in range(0, len(revisions), _PAGE):
            for document, count in self._connection.execute(
                sa.select(annotation_revisions.c.document, annotation_revisions.c.annotation_count).where(
                    annotation_revisions.c.id.in_(revisions[start : start + _PAGE])
                )
            ):
                if count:
                    count_types(document, count, self._annotations)

    def summary(self, head: dict[str, Any]) -> Summary:
        """The sum, with what stands in the head of a manifest."""
        files = dict(sorted(self._files.items()))
        images = files.pop(IMAGE, 0)
        return Summary(
            samples=self._samples,
            images=images,
            annotations=dict(sorted(self._annotations.items())),
            files=files,
            labels=len(head["classes"]),
            annotation_sets=len(head["sets"]),
        )


def count_types(document: str, count: int, into: Counter[str]) -> None:
    """Count the annotations of a document by type, without parsing it where that is not needed."""
    found = {kind: number for kind, mark in _MARKS.items() if (number := document.count(mark))}
    if sum(found.values()) != count:
        # An attribute of that name and value: the letters say less than the structure.
        found = Counter(annotation["type"] for annotation in orjson.loads(document))
    for kind, number in found.items():
        into[kind] += number


def summary_now(
    connection: sa.Connection, dataset_row_id: int, labels: int, check: Callable[[], None]
) -> Summary:
    """What a dataset holds now, counted."""
    mine = sa.and_(samples.c.dataset_id == dataset_row_id, samples.c.deleted_at.is_(None))
    total = connection.execute(sa.select(sa.func.count()).select_from(samples).where(mine)).scalar_one()
    files: dict[str, int] = dict(
        connection.execute(
            sa.select(sample_files.c.type, sa.func.count())
            .select_from(samples.join(sample_files, sample_files.c.sample_id == samples.c.id))
            .where(mine)
            .group_by(sample_files.c.type)
            .order_by(sample_files.c.type)
        ).all()
    )
    sets = (
        connection.execute(
            sa.select(annotation_sets.c.id).where(
                annotation_sets.c.dataset_id == dataset_row_id, annotation_sets.c.deleted_at.is_(None)
            )
        )
        .scalars()
        .all()
    )
    return Summary(
        samples=total,
        images=files.pop(IMAGE, 0),
        annotations=_annotations_now(connection, mine, sets, check),
        files=files,
        labels=labels,
        annotation_sets=len(sets),
    )


def _annotations_now(
    connection: sa.Connection,
    mine: sa.ColumnElement[bool],
    set_ids: Sequence[int],
    check: Callable[[], None],
) -> dict[str, int]:
    counts: Counter[str] = Counter()
    after = 0
    while True:
        check()
        ids = (
            connection.execute(
                sa.select(samples.c.id).where(mine, samples.c.id > after).order_by(samples.c.id).limit(_PAGE)
            )
            .scalars()
            .all()
        )
        if not ids:
            return dict(sorted(counts.items()))
        newest = (
            sa.select(sa.func.max(annotation_revisions.c.id))
            .where(
                annotation_revisions.c.sample_id.in_(ids),
                annotation_revisions.c.annotation_set_id.in_(set_ids),
            )
            .group_by(annotation_revisions.c.sample_id, annotation_revisions.c.annotation_set_id)
        )
        for document, count in connection.execute(
            sa.select(annotation_revisions.c.document, annotation_revisions.c.annotation_count).where(
                annotation_revisions.c.id.in_(newest), annotation_revisions.c.annotation_count > 0
            )
        ):
            count_types(document, count, counts)
        after = ids[-1]
