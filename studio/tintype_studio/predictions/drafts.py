"""Predictions as drafts of annotations, in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tintype_studio import clock
from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    with_box,
)
from tintype_studio.annotations.review import as_draft
from tintype_studio.predictions.moments import Sighting

TRACK = "track"
"""The attribute that tells which object of which prediction an annotation is, so that the annotations of one
object in many frames are found again.
"""
AUTHOR_LENGTH = 128
"""Of ``created_by``."""
LEAST_PX = 0.01
"""Sides of a box never become nothing by rounding."""


def draft_of(
    seen: Sighting,
    size: tuple[int, int],
    *,
    created_by: str,
    task: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Annotation:
    """A sighting as a draft, in a picture of ``size`` (width, height); a polygon where it has an outline.

    ``options`` are those to be told, all of the sighting's when None; ``task`` names its track.
    """
    width, height = size
    attributes: list[Any] = [] if task is None else [{TRACK: f"{task}/{seen.object_id}"}]
    chosen = seen.options if options is None else options
    attributes += [{attribute: option} for attribute, option in chosen.items()]
    common: dict[str, Any] = {
        "id": clock.new_id(),
        "name": seen.name,
        "confidence": round(min(1.0, max(0.0, seen.score)), 4),
        "created_by": created_by[:AUTHOR_LENGTH],
        "attributes": attributes,
    }
    rings = [ring for ring in seen.rings or () if len(ring) >= 3]
    if rings:
        paths = [_ring(ring, width, height) for ring in rings]
        made: Annotation = with_box(PolygonAnnotation(**common, polygon=PolygonGeometry(paths=paths)))
    else:
        made = BBoxAnnotation(**common, bounding_box=pixel_box(seen.box, width, height))
    return as_draft(made)


def pixel_box(corners: Sequence[float], width: int, height: int) -> BoundingBox:
    """Corners in shares as a box in pixels, inside the picture and never empty."""
    left, top, right, bottom = (min(1.0, max(0.0, value)) for value in corners)
    wide = max(LEAST_PX, round((right - left) * width, 2))
    high = max(LEAST_PX, round((bottom - top) * height, 2))
    return BoundingBox(
        x=max(0.0, min(round(left * width, 2), width - wide)),
        y=max(0.0, min(round(top * height, 2), height - high)),
        w=wide,
        h=high,
    )


def _ring(ring: Sequence[tuple[float, float]], width: int, height: int) -> list[Point]:
    return [
        Point(
            x=round(min(1.0, max(0.0, x)) * width, 2),
            y=round(min(1.0, max(0.0, y)) * height, 2),
        )
        for x, y in ring
    ]
