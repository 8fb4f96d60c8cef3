"""A workspace in which every deed is a call of its own, for tests of the history."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import TintypeError
from tintype_studio.history.changes import Change
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import metadata
from tintype_studio.studio import Studio

AWKWARD = [
    {"id": "1", "name": "car", "bounding_box": {"x": 0.1, "y": 1e-7, "w": 2.25, "h": 3}, "confidence": 0.3},
    {"id": "é", "name": "Straße", "keypoint": {"x": -0.0, "y": 8}, "attributes": [{"n": [None, True, 0.1]}]},
    {"id": "3", "name": "car", "polyline": {"path": [{"x": -1, "y": 2}, {"x": 4, "y": 5}]}},
]

STATE = """
    SELECT d.uuid, d.name, d.description, d.annotation_types, d.classes_declared, d.image_count,
        d.completed_image_count, d.annotation_count, d.total_size,
        s.uuid, s.folder, s.filename, s.status, s.annotation_count,
        coalesce((SELECT r.document FROM annotation_revisions r WHERE r.sample_id = s.id
            ORDER BY r.revision DESC LIMIT 1), '[]')
    FROM datasets d LEFT JOIN samples s ON s.dataset_id = d.id AND s.deleted_at IS NULL
    WHERE d.deleted_at IS NULL ORDER BY d.id, s.id
"""
CLASSES = """
    SELECT d.uuid, c.name, c.type, c.color, c.attributes
    FROM datasets d JOIN dataset_classes c ON c.dataset_id = d.id
    WHERE d.deleted_at IS NULL ORDER BY d.id, c.position, c.id
"""


@dataclass
class World:
    """A workspace whose every deed is a call of its own, and what it looks like."""

    studio: Studio
    principal: Principal
    picture: Callable[..., bytes]
    boxes: Callable[..., list[Any]]

    def acts(self, session: str = "monday", principal: Principal | None = None) -> Principal:
        """Somebody in a new call."""
        who = principal or self.principal
        return replace(who, call_id=clock.new_id(), session=session, tool="some_tool")

    def add(self, who: Principal, filename: str, dataset: str = "signs") -> Sample:
        found = self.studio.datasets.get(who, dataset)
        data = self.picture(seed=zlib.crc32(filename.encode()))
        return self.studio.ingest.add_image(who, found, data=data, filename=filename)

    def image(self, filename: str, dataset: str = "signs") -> str:
        return self.studio.samples.find(self.studio.datasets.get(self.principal, dataset), filename).id

    def label(self, who: Principal, filename: str, annotations: list[Any]) -> None:
        self.studio.documents.save(who, self.image(filename), annotations)

    def declare(self, who: Principal, *names: str) -> None:
        colour = ClassAttribute("colour", ("red", "blue"))
        classes = [DatasetClass(n, "bbox", "#ff0000", (colour,)) for n in names]
        self.studio.classes.declare(who, "signs", classes)

    def undo(self, call: Principal, by: Principal | None = None) -> Principal:
        """Take a call back; returns the undoing call."""
        by = by or self.acts("undoing")
        assert call.call_id is not None
        undone = self.studio.undo.call(by, call.call_id)
        assert undone.calls == [call.call_id]
        return by

    def seen(self) -> list[Any]:
        """Living datasets with their counters, classes, images and documents as text."""
        with self.studio.database.read() as connection:
            return [tuple(row) for text in (STATE, CLASSES) for row in connection.execute(sa.text(text))]

    def rows(self) -> dict[str, list[Any]]:
        """Everything that the database holds."""
        with self.studio.database.read() as connection:
            return {
                t.name: [tuple(r) for r in connection.execute(sa.select(t))] for t in metadata.sorted_tables
            }

    def changes(self, call: Principal) -> list[Change]:
        return self.studio.changes.of_call(self.principal, str(call.call_id))

    def refusal(self, deed: Callable[[], object]) -> TintypeError:
        """The error of a deed, which must change nothing."""
        before = self.rows()
        with pytest.raises(TintypeError) as refused:
            deed()
        assert self.rows() == before
        return refused.value

    def undo_refusal(self, call: Principal, by: Principal | None = None) -> TintypeError:
        return self.refusal(lambda: self.undo(call, by))


def signs(
    studio: Studio, owner: Principal, picture: Callable[..., bytes], boxes: Callable[..., list[Any]]
) -> World:
    """``signs`` with three pictures, two of them labelled."""
    made = World(studio, owner, picture, boxes)
    studio.datasets.create(made.acts("setup"), name="signs")
    for filename in ("a.jpg", "b.jpg", "c.jpg"):
        made.add(made.acts("setup"), filename)
    made.label(
        made.acts("setup"), "a.jpg", AnnotationList.model_validate({"annotations": AWKWARD}).annotations
    )
    made.label(made.acts("setup"), "b.jpg", boxes(2, "bus"))
    return made
