"""A close-up of what a prompt gave, for an agent that looks before it saves."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    enclosing_box,
)

if TYPE_CHECKING:
    from PIL.Image import Image

MARGIN = 0.4
"""Surroundings on each side, as a share of the longer side of what is shown."""
MIN_SIDE = 48
MAX_SIDE = 640
MAX_ENLARGED = 8


@dataclass(frozen=True, slots=True)
class CloseUp:
    """An encoded JPEG and where it lies: image x = ``x`` + picture x * ``scale``, y alike."""

    data: bytes
    width: int
    height: int
    x: int
    y: int
    scale: float


def close_up(
    image: bytes, found: Sequence[Annotation], *, numbered: bool, colors: Mapping[str, str]
) -> CloseUp:
    """Draw annotations on the part of the image around them, at most ``MAX_SIDE`` pixels wide and high.

    Their labels are their classes, or numbers from 1 if ``numbered``. With none the whole image is shown.
    Raises like `decode_upright`.
    """
    from PIL.Image import Resampling

    from tintype_studio.media.decode import decode_upright
    from tintype_studio.media.draw import draw_annotations

    upright = decode_upright(image)
    left, top, right, bottom = _window(found, *upright.size)
    crop = upright.crop((left, top, right, bottom))
    factor = min(MAX_SIDE / max(crop.size), MAX_ENLARGED)
    size = max(1, round(crop.width * factor)), max(1, round(crop.height * factor))
    shown = crop.resize(size, Resampling.LANCZOS if factor < 1 else Resampling.BICUBIC)
    factor = shown.width / crop.width
    moved = [
        _moved(annotation, left, top, str(number) if numbered else annotation.name)
        for number, annotation in enumerate(found, 1)
    ]
    drawn = draw_annotations(shown, moved, colors=colors, scale=factor, fill_opacity=0.2)
    return CloseUp(_jpeg(drawn), drawn.width, drawn.height, left, top, round(1 / factor, 4))


def _window(found: Sequence[Annotation], width: int, height: int) -> tuple[int, int, int, int]:
    if not found:
        return 0, 0, width, height
    boxes = [enclosing_box(annotation) for annotation in found]
    left, top = min(b[0] for b in boxes), min(b[1] for b in boxes)
    right, bottom = max(b[0] + b[2] for b in boxes), max(b[1] + b[3] for b in boxes)
    longer = max(right - left, bottom - top)
    margin = max(MARGIN * longer, (MIN_SIDE - longer) / 2)
    return (
        max(0, math.floor(left - margin)),
        max(0, math.floor(top - margin)),
        min(width, math.ceil(right + margin)),
        min(height, math.ceil(bottom + margin)),
    )


def _moved(annotation: Annotation, left: int, top: int, name: str) -> Annotation:
    """The annotation in coordinates of the window, under another name."""
    if isinstance(annotation, PolygonAnnotation):
        paths = [[Point(x=p.x - left, y=p.y - top) for p in ring] for ring in annotation.polygon.paths]
        return annotation.model_copy(
            update={"name": name, "polygon": PolygonGeometry(paths=paths), "bounding_box": None}
        )
    if isinstance(annotation, BBoxAnnotation):
        box = annotation.bounding_box
        moved = BoundingBox(x=box.x - left, y=box.y - top, w=box.w, h=box.h)
        return annotation.model_copy(update={"name": name, "bounding_box": moved})
    return annotation


def _jpeg(image: Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, subsampling=0)
    return file.getvalue()
