"""From a prediction to shapes in pixels of the original picture: boxes, and polygons where there are masks.

Large pictures are looked at in a frame of at most ``FRAME`` pixels: a network sees a few hundred, and masks
of many objects at full size would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
from tintype_studio.errors import InvalidInput
from tintype_studio.vision.heads import Choices, options_of
from tintype_studio.vision.tasks import Signature, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.vision.infer.heads import Heads
    from tintype_studio.vision.infer.prediction import Found, Prediction

FRAME = 1280
"""Longest side, in pixels."""
TOLERANCE_PX, TOLERANCE_SHARE = 1.5, 0.003
"""How far a polygon may leave its mask: pixels of the frame, or a share of the object's longer side."""
SPECK_PX, SPECK_SHARE = 16, 0.0002
"""Regions of fewer pixels, or of a smaller share of the picture, are not told."""
AUTHOR_LENGTH = 128
"""Of ``created_by``."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One object or region, in pixels of the original picture."""

    name: str
    score: float
    box: BoundingBox
    polygon: PolygonGeometry | None
    choices: Choices = field(default_factory=dict)
    """Of its attributes, from models that have learned some."""


def framed(data: bytes) -> tuple[NDArray[np.uint8], float, float]:
    """An image file's upright pixels in the frame, and pixels of the original for each of them, on x and y.

    Raises as ``decode_upright`` does.
    """
    import numpy as np

    from tintype_studio.media.decode import decode_with_info

    image, info = decode_with_info(data, fit=(FRAME, FRAME))
    return np.asarray(image, np.uint8), info.width / image.width, info.height / image.height


def in_frame(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float, float]:
    """The same for pixels that are decoded already."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    if max(height, width) <= FRAME:
        return image, 1.0, 1.0
    share = FRAME / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    reduced = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return reduced, width / size[0], height / size[1]


def shapes_of(
    signature: Signature,
    prediction: Prediction,
    *,
    across: float = 1.0,
    down: float = 1.0,
    threshold: float = 0.0,
    most: int = 300,
    choices: Sequence[Choices] = (),
) -> list[Shape]:
    """The objects of a prediction, or its regions of one class that hang together; best first.

    ``across`` and ``down`` are pixels of the original for each of the prediction's. Regions of a mean
    certainty below ``threshold`` are left out; objects were, when they were decoded. ``choices`` are those of
    the objects, in their order.
    """
    if signature.task is Task.SEMANTIC:
        return _region_shapes(signature, prediction, across, down, threshold, most)
    found = prediction.objects[:most]
    return [
        Shape(
            signature.classes[each.label],
            round(each.score, 4),
            box_of(each.box, across, down),
            polygon_of(each, across, down) if signature.task is Task.INSTANCES else None,
            choices[index] if choices else {},
        )
        for index, each in enumerate(found)
    ]


def chosen_for(
    heads: Heads,
    signature: Signature,
    prediction: Prediction,
    pixels: NDArray[np.uint8],
    check: Callable[[], None] = lambda: None,
) -> list[Choices]:
    """The attributes of each object of a prediction about these pixels, for ``shapes_of``."""
    boxes = [each.box for each in prediction.objects]
    return heads.choose(pixels, boxes, [signature.classes[e.label] for e in prediction.objects], check=check)


def ranked(signature: Signature, prediction: Prediction) -> list[tuple[str, float]]:
    """The classes of a classified image with their scores, best first."""
    scores = [] if prediction.scores is None else prediction.scores.tolist()
    order = sorted(range(len(scores)), key=lambda label: -scores[label])
    return [(signature.classes[label], round(scores[label], 4)) for label in order]


def drafts_of(shapes: Sequence[Shape], created_by: str) -> list[Annotation]:
    """The shapes as annotations that nobody has confirmed yet."""
    drafts = []
    for shape in shapes:
        common: dict[str, Any] = {
            "id": clock.new_id(),
            "name": shape.name,
            "confidence": shape.score,
            "created_by": created_by[:AUTHOR_LENGTH],
        }
        made: Annotation
        if shape.polygon is None:
            made = BBoxAnnotation(**common, bounding_box=shape.box)
        else:
            made = with_box(PolygonAnnotation(**common, polygon=shape.polygon))
        drafts.append(as_draft(with_options(made, options_of(shape.choices))))
    return drafts


def box_of(corners: tuple[float, float, float, float], across: float, down: float) -> BoundingBox:
    """The same box in pixels of the original."""
    left, top, right, bottom = corners
    # Hundredths of a pixel are more than a network knows; a box never becomes empty by rounding.
    return BoundingBox(
        x=round(left * across, 2),
        y=round(top * down, 2),
        w=max(0.01, round((right - left) * across, 2)),
        h=max(0.01, round((bottom - top) * down, 2)),
    )


def polygon_of(found: Found, across: float, down: float) -> PolygonGeometry:
    """The outline of an object's mask; its box where the mask is empty or in shreds."""
    left, top, right, bottom = found.region
    outline = None
    if found.mask is not None:
        outline = _outline(found.mask, (left, top), max(right - left, bottom - top), across, down)
    if outline is not None:
        return outline
    x0, y0, x1, y1 = found.box
    return PolygonGeometry(
        paths=[[Point(x=x * across, y=y * down) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]]
    )


def _outline(
    mask: NDArray[np.bool_], offset: tuple[int, int], side: int, across: float, down: float
) -> PolygonGeometry | None:
    from tintype_studio.vision.polygons import mask_to_polygon

    try:
        polygon = mask_to_polygon(mask, offset=offset, tolerance=max(TOLERANCE_PX, TOLERANCE_SHARE * side))
    except InvalidInput:  # more rings or points than an annotation may have
        return None
    if polygon is None or (across == 1 and down == 1):
        return polygon
    return PolygonGeometry(
        paths=[[Point(x=p.x * across, y=p.y * down) for p in ring] for ring in polygon.paths]
    )


def _region_shapes(
    signature: Signature,
    prediction: Prediction,
    across: float,
    down: float,
    threshold: float,
    most: int,
) -> list[Shape]:
    import cv2
    import numpy as np

    regions, certainty = prediction.regions, prediction.certainty
    if regions is None:
        return []
    smallest = max(SPECK_PX, SPECK_SHARE * regions.size)
    found: list[tuple[float, int, str, tuple[int, int, int, int], NDArray[np.bool_]]] = []
    for label in np.unique(regions[regions > 0]).tolist():
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (regions == label).astype(np.uint8), connectivity=4
        )
        for part in range(1, count):
            left, top, width, height, area = (int(value) for value in stats[part])
            if area < smallest:
                continue
            window = np.s_[top : top + height, left : left + width]
            mask = np.asarray(parts[window] == part)
            score = 1.0 if certainty is None else float(certainty[window][mask].mean())
            if score >= threshold:
                name = signature.classes[label - 1]
                found.append((min(1.0, score), area, name, (left, top, left + width, top + height), mask))
    found.sort(key=lambda each: (-each[0], -each[1]))
    shapes = []
    for score, _, name, (left, top, right, bottom), mask in found[:most]:
        polygon = _outline(mask, (left, top), max(right - left, bottom - top), across, down)
        if polygon is not None:
            box = box_of((left, top, right, bottom), across, down)
            shapes.append(Shape(name, round(score, 4), box, polygon))
    return shapes
