"""From an image to draft annotations: detect by name, and outline what was found where that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
from tintype_studio.annotations.options import with_options
from tintype_studio.annotations.review import as_draft
from tintype_studio.vision.detect.protocol import Detection, Detector
from tintype_studio.vision.protocols import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.vision.protocols import PromptSegmenter

OutputType = Literal["polygon", "bbox"]

FLOOR = 0.05
"""Detections below this score are not even spoken of."""
AGREES = 0.5
"""Intersection over union of the outline's box with the detection; below it the outline is something else."""
TOLERANCE_PX, TOLERANCE_SHARE = 1.5, 0.003
"""Outlines are simplified as those of prompts are."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names to find with one engine, each with the label and the shape that its annotations get."""

    engine: Detector
    names: tuple[str, ...]
    labels: tuple[str, ...]
    output_types: tuple[OutputType, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Draft annotations, best first; ``best`` is the highest score seen, also below the threshold."""

    annotations: list[Annotation]
    best: float | None


def find(
    image: NDArray[np.uint8],
    wanted: Sequence[Wanted],
    segmenter: PromptSegmenter,
    *,
    threshold: float,
    max_detections: int,
    check: Callable[[], None] = lambda: None,
) -> Found:
    """Every wanted object of an image, (H, W, 3) uint8 RGB, scored ``threshold`` or more."""
    kept: list[tuple[Detection, Wanted]] = []
    best: float | None = None
    for each in wanted:
        check()
        for detection in each.engine.detect(
            image, each.names, threshold=min(FLOOR, threshold), max_detections=max_detections
        ):
            best = detection.score if best is None else max(best, detection.score)
            if detection.score >= threshold:
                kept.append((detection, each))
    kept.sort(key=lambda pair: -pair[0].score)
    annotations = []
    for detection, each in kept[:max_detections]:
        check()
        index = each.names.index(detection.name)
        annotations.append(
            _annotation(
                image, detection, each.labels[index], each.output_types[index], each.engine.name, segmenter
            )
        )
    return Found(annotations, best)


def _annotation(
    image: NDArray[np.uint8],
    detection: Detection,
    label: str,
    output_type: OutputType,
    engine: str,
    segmenter: PromptSegmenter,
) -> Annotation:
    box = detection.box
    made: Annotation
    if output_type == "polygon":
        made = with_box(
            PolygonAnnotation(
                id=clock.new_id(),
                name=label,
                confidence=detection.score,
                created_by=engine,
                polygon=(detection.outline and detection.outline()) or _outline(image, box, segmenter),
            )
        )
    else:
        made = BBoxAnnotation(
            id=clock.new_id(),
            name=label,
            confidence=detection.score,
            created_by=engine,
            bounding_box=BoundingBox(x=box.x, y=box.y, w=box.w, h=box.h),
        )
    return as_draft(with_options(made, detection.options))


def _outline(image: NDArray[np.uint8], box: Box, segmenter: PromptSegmenter) -> PolygonGeometry:
    """The object in the box; the box itself where no outline that fills it can be found."""
    from tintype_studio.vision.polygons import mask_to_polygon

    segment = segmenter.segment_box(image, box)
    if segment is not None:
        tolerance = max(TOLERANCE_PX, TOLERANCE_SHARE * max(box.w, box.h))
        polygon = mask_to_polygon(segment.mask, offset=segment.offset, tolerance=tolerance)
        if polygon is not None and _agreement(polygon, box) >= AGREES:
            return polygon
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    return PolygonGeometry(paths=[[Point(x=box.x + i * box.w, y=box.y + j * box.h) for i, j in corners]])


def _agreement(polygon: PolygonGeometry, box: Box) -> float:
    """Intersection over union of the polygon's enclosing box and ``box``."""
    xs = [point.x for ring in polygon.paths for point in ring]
    ys = [point.y for ring in polygon.paths for point in ring]
    width = min(max(xs), box.x + box.w) - max(min(xs), box.x)
    height = min(max(ys), box.y + box.h) - max(min(ys), box.y)
    shared = max(0.0, width) * max(0.0, height)
    union = (max(xs) - min(xs)) * (max(ys) - min(ys)) + box.w * box.h - shared
    return shared / union if union else 0.0
