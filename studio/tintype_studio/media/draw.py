"""Annotations drawn on a picture, for people and for agents that look at it.

Order: translucent fills, a dark casing under every outline, the outlines, label tags on top. Large objects
come first, so that small ones stay visible. Line widths and letters follow the size of the picture, and the
lines of small objects are thinner, so that they do not cover what they mark.

The cost has a limit: of very many large outlines the largest, which the others hide, are drawn more simply.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    KeypointAnnotation,
    Point,
    PolygonAnnotation,
    PolylineAnnotation,
    has_place,
)
from tintype_studio.annotations.masks import as_outline
from tintype_studio.media.budget import keep_going
from tintype_studio.media.clipping import clip_path
from tintype_studio.media.decode import decode_with_info
from tintype_studio.media.fills import SHIFT, Area, fixed, paint_areas
from tintype_studio.media.labels import (
    Box,
    Placer,
    Spots,
    Tag,
    TagMaker,
    spots_for_box,
    spots_for_outline,
    spots_for_point,
)
from tintype_studio.media.palette import Color, class_color, text_color

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Canvas = np.ndarray[Any, np.dtype[np.uint8]]
    Points = np.ndarray[Any, np.dtype[np.float64]]

_T = TypeVar("_T")

_FINE_LINES = 16_000_000
"""Pixels of polygon and polyline outlines that are drawn with care; a corner counts as some."""

_CORNER = 16

_CHECK_EVERY = 20

_MIN_FONT, _MAX_FONT = 10, 40
_CASING_OPACITY = 0.45
_COMFORTABLE_SIDE = 512
_FEW_COLORS = 256


@dataclass(frozen=True, slots=True)
class _Shape:
    """An annotation in drawn pixels, ready to paint."""

    annotation: Annotation
    color: Color
    rings: list[Points]
    visible: list[Points]
    """The rings cut off well outside the picture."""
    box: Box
    line: int
    """Width of its lines."""

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    @property
    def closed(self) -> bool:
        return not isinstance(self.annotation, PolylineAnnotation)


def draw_annotations(
    image: Image,
    annotations: Iterable[Annotation],
    *,
    colors: Mapping[str, str],
    scale: float,
    labels: bool = True,
    fill_opacity: float = 0.25,
    check: Callable[[], None] = keep_going,
) -> Image:
    """Draw annotations on a copy of ``image``; the result is RGB of the same size.

    ``scale`` is drawn pixels per pixel of the coordinates. ``colors`` maps class names to CSS colours; a
    class without one gets a stable colour by its name. Polygons are filled by the even-odd rule with
    ``fill_opacity`` (0 to 1), so holes keep the picture's own pixels; masks are drawn as their outlines, and
    what has no place in the picture (tags, boxes in space) is not. With ``labels`` each object gets a tag
    with its class, and its confidence when below 1; where tags would hide the picture some are left out.
    ``check`` is called again and again; it raises to stop.
    """
    import cv2
    import numpy as np
    from PIL import Image as PILImage

    canvas: Canvas = np.array(image.convert("RGB"))
    height, width = canvas.shape[:2]
    shapes = []
    for annotation in map(as_outline, filter(has_place, _checked(annotations, check))):
        shape = _shape(annotation, class_color(annotation.name, colors), scale, (width, height))
        if shape.visible:
            shapes.append(shape)
    shapes.sort(key=lambda shape: -shape.area)
    if fill_opacity > 0:
        polygons = [shape for shape in shapes if isinstance(shape.annotation, PolygonAnnotation)]
        paint_areas(canvas, [Area(shape.visible, shape.color) for shape in polygons], fill_opacity, check)
    fine = _are_fine(shapes, width, height)
    _case(canvas, [shape for shape, with_care in zip(shapes, fine, strict=True) if with_care], check)
    for shape, with_care in _checked(zip(shapes, fine, strict=True), check):
        if with_care:
            _stroke(canvas, shape, shape.color, 0)
        else:
            paths = [fixed(path) for path in shape.visible]
            cv2.polylines(canvas, paths, shape.closed, shape.color, shift=SHIFT)
    drawn = PILImage.fromarray(canvas)
    if labels and shapes:
        _label(drawn, shapes, check)
    return drawn


def preview(
    data: bytes,
    annotations: Sequence[Annotation],
    *,
    max_side: int,
    colors: Mapping[str, str],
    check: Callable[[], None] = keep_going,
) -> tuple[bytes, str, int, int]:
    """The upright picture with its annotations, as ``(file, mime type, width, height)``.

    The longest side is at most ``max_side`` pixels. Pictures with few pixels are enlarged by a whole factor
    towards 512, or there would be no room for a readable label. The file is a JPEG, or a PNG where the
    picture has few colours (masks, diagrams, screenshots) and the PNG is smaller.

    ``check`` is called again and again, but not while pixels are decoded or encoded; it raises to stop.
    Raises like `decode_upright`.
    """
    from PIL.Image import Resampling

    check()
    image, info = decode_with_info(data, fit=(max_side, max_side), check=check)
    check()
    factor = min(_COMFORTABLE_SIDE, max_side) // max(image.size)
    few_colors = image.getcolors(_FEW_COLORS) is not None
    if factor > 1:
        smooth = Resampling.NEAREST if few_colors else Resampling.BICUBIC
        image = image.resize((image.width * factor, image.height * factor), smooth)
    scale = max(image.size) / max(info.width, info.height)
    drawn = draw_annotations(image, annotations, colors=colors, scale=scale, check=check)
    check()
    encoded, mime = _encode(drawn, maybe_png=few_colors)
    return encoded, mime, drawn.width, drawn.height


def _encode(image: Image, *, maybe_png: bool) -> tuple[bytes, str]:
    jpeg = io.BytesIO()
    # Full colour resolution: thin coloured lines smear without it.
    image.save(jpeg, "JPEG", quality=85, subsampling=0)
    if maybe_png:
        png = io.BytesIO()
        image.save(png, "PNG")
        if png.tell() < jpeg.tell():
            return png.getvalue(), "image/png"
    return jpeg.getvalue(), "image/jpeg"


# --- Geometry in drawn pixels -------------------------------------------------------------------------


def _line_width(width: int, height: int) -> int:
    return min(8, round(1 + math.sqrt(width * height) / 550))


def _font_size(width: int, height: int, count: int) -> int:
    """Letters for a picture with ``count`` tags: smaller when there are many."""
    size = 6 + math.sqrt(width * height) / 75
    if count > 25:
        size *= max(0.7, (25 / count) ** 0.25)
    return max(_MIN_FONT, min(_MAX_FONT, round(size)))


def _shape(annotation: Annotation, color: Color, scale: float, canvas: tuple[int, int]) -> _Shape:
    """The annotation on a canvas of (width, height)."""
    import numpy as np

    match annotation:
        case PolygonAnnotation():
            rings = [_points(ring, scale) for ring in annotation.polygon.paths]
        case PolylineAnnotation():
            rings = [_points(annotation.polyline.path, scale)]
        case KeypointAnnotation():
            rings = [_points([annotation.keypoint], scale)]
        case BBoxAnnotation(bounding_box=b):
            corners = [Point.model_construct(x=b.x, y=b.y), Point.model_construct(x=b.x + b.w, y=b.y + b.h)]
            rings = [_points(corners, scale)]
        case _:
            raise AssertionError("a mask is drawn as its outline, and what has no place is not")
    everything = np.concatenate(rings) if len(rings) > 1 else rings[0]
    left, top = everything.min(axis=0).tolist()
    right, bottom = everything.max(axis=0).tolist()
    base_line = line = _line_width(*canvas)
    if not isinstance(annotation, KeypointAnnotation):
        line = max(1, min(base_line, round(max(right - left, bottom - top) / 20)))
    box = (left, top, right, bottom)
    return _Shape(annotation, color, rings, _visible(annotation, rings, box, canvas, base_line), box, line)


def _points(points: Sequence[Point], scale: float) -> Points:
    import numpy as np

    return np.array([(point.x, point.y) for point in points], dtype=np.float64) * scale


def _visible(
    annotation: Annotation, rings: list[Points], box: Box, canvas: tuple[int, int], margin: int
) -> list[Points]:
    """The rings without what lies further outside than the canvas is long; none if nothing touches it."""
    width, height = canvas
    if not _touches(box, width, height, margin):
        return []
    reach = max(width, height) + margin
    window = (-reach, -reach, width + reach, height + reach)
    far = box[0] < window[0] or box[1] < window[1] or box[2] > window[2] or box[3] > window[3]
    if not far or isinstance(annotation, BBoxAnnotation):
        return rings
    closed = isinstance(annotation, PolygonAnnotation)
    clipped = [clip_path(ring, window, closed=closed) for ring in rings]
    return [ring for ring in clipped if len(ring)]


def _touches(box: Box, width: int, height: int, margin: int) -> bool:
    left, top, right, bottom = box
    return right >= -margin and bottom >= -margin and left <= width + margin and top <= height + margin


def _are_fine(shapes: Sequence[_Shape], width: int, height: int) -> list[bool]:
    """Which shapes are drawn with care: all but the largest outlines, if there is too much to draw."""
    fine = []
    cost = 0.0
    for shape in reversed(shapes):
        if isinstance(shape.annotation, PolygonAnnotation | PolylineAnnotation):
            cost += sum(_effort(path, width, height) for path in shape.visible)
            fine.append(cost <= _FINE_LINES)
        else:
            fine.append(True)
    return fine[::-1]


def _effort(path: Points, width: int, height: int) -> float:
    """About how many pixels of a picture the lines of a path cross, and something for each corner."""
    import numpy as np

    low, high = np.minimum(path[:-1], path[1:]), np.maximum(path[:-1], path[1:])
    seen = (high[:, 0] >= 0) & (high[:, 1] >= 0) & (low[:, 0] <= width) & (low[:, 1] <= height)
    lengths = np.minimum(high - low, (width, height)).sum(axis=1)
    return float(lengths[seen].sum()) + _CORNER * len(path)


def _checked(things: Iterable[_T], check: Callable[[], None]) -> Iterator[_T]:
    """``things``, with a check now and then."""
    for index, thing in enumerate(things):
        if index % _CHECK_EVERY == 0:
            check()
        yield thing


# --- Painting -----------------------------------------------------------------------------------------


def _case(canvas: Canvas, shapes: Sequence[_Shape], check: Callable[[], None]) -> None:
    """Darken a rim around all outlines, so that they show on ground of their own colour."""
    import numpy as np

    rim = np.zeros(canvas.shape[:2], np.uint8)
    for shape in _checked(shapes, check):
        _stroke(rim, shape, (255,), 1)
    rows, columns = np.nonzero(rim)
    keep = 1 - rim[rows, columns, None].astype(np.float32) * (_CASING_OPACITY / 255)
    canvas[rows, columns] = (canvas[rows, columns] * keep).astype(np.uint8)


def _stroke(canvas: Canvas, shape: _Shape, color: Sequence[int], grow: int) -> None:
    """Paint the lines of a shape, ``grow`` pixels wider on each side."""
    import cv2

    if isinstance(shape.annotation, BBoxAnnotation):
        _frame(canvas, shape, color, grow)
    elif isinstance(shape.annotation, KeypointAnnotation):
        center = fixed(shape.rings[0][0])
        radius = _keypoint_radius(shape.line) + grow
        at = (int(center[0]), int(center[1]))
        if not grow:
            white = (255, 255, 255)
            cv2.circle(canvas, at, round(radius * (1 << SHIFT)), white, cv2.FILLED, cv2.LINE_AA, SHIFT)
            radius -= max(1.0, shape.line * 0.6)
        cv2.circle(canvas, at, round(radius * (1 << SHIFT)), color, cv2.FILLED, cv2.LINE_AA, SHIFT)
    else:
        rings = [fixed(ring) for ring in shape.visible]
        thickness, passes = _opencv_pen(shape.line + 2 * grow)
        for _ in range(passes):
            cv2.polylines(canvas, rings, shape.closed, color, thickness, cv2.LINE_AA, SHIFT)


def _opencv_pen(width: int) -> tuple[int, int]:
    """``(thickness, passes)`` for an antialiased line that looks ``width`` pixels wide.

    OpenCV's antialiased lines come out about one pixel wider than asked and only in odd widths; a second
    pass firms up the soft rim, which makes the even ones.
    """
    odd = width - 1 + width % 2
    return {1: 1, 3: 2}.get(odd, odd - 2), 1 if width % 2 else 2


def _keypoint_radius(line: int) -> float:
    return 1.5 + 1.4 * line


def _frame(canvas: Canvas, shape: _Shape, color: Sequence[int], grow: int) -> None:
    """A rectangle on whole pixels, which stays sharp; edges at the picture's border are moved inside."""
    height, width = canvas.shape[:2]
    line = shape.line
    left, right = (_edge(at, line, width) for at in (shape.box[0], shape.box[2]))
    top, bottom = (_edge(at, line, height) for at in (shape.box[1], shape.box[3]))
    right, bottom = max(right, left), max(bottom, top)
    x0, y0 = max(0, left - grow), max(0, top - grow)
    x1, y1 = max(0, right + line + grow), max(0, bottom + line + grow)
    for edge in (top, bottom):
        canvas[max(0, edge - grow) : max(0, edge + line + grow), x0:x1] = color
    for edge in (left, right):
        canvas[y0:y1, max(0, edge - grow) : max(0, edge + line + grow)] = color


def _edge(at: float, line: int, length: int) -> int:
    """First pixel of a line centred on ``at``, moved inside if it would lie across the border."""
    first = round(at - line / 2)
    return min(max(first, 0), length - line) if -line <= at <= length + line else first


# --- Labels -------------------------------------------------------------------------------------------


def _label(image: Image, shapes: Sequence[_Shape], check: Callable[[], None]) -> None:
    from PIL import ImageDraw

    width, height = image.size
    size = _font_size(width, height, len(shapes))
    maker = TagMaker(size, max_width=min(width, max(width * 2 // 5, size * 14)))
    points = [_around(shape) for shape in shapes if isinstance(shape.annotation, KeypointAnnotation)]
    placer = Placer(width, height, len(shapes), keep_clear=points)
    pen = ImageDraw.Draw(image)
    for shape in _checked(shapes, check):
        if placer.full:
            break
        tag = maker.make(shape.annotation.name, shape.annotation.confidence)
        corner = placer.place(tag, _spots(shape, tag, width, height)) if tag else None
        if tag is None or corner is None:
            continue
        x, y = corner
        ground = (x, y, x + tag.width - 1, y + tag.height - 1)
        pen.rounded_rectangle(ground, radius=max(1, tag.height // 7), fill=shape.color)
        ink = text_color(shape.color)
        maker.lettering.draw(image, x + tag.padding, y + tag.baseline, tag.text, ink)


def _spots(shape: _Shape, tag: Tag, width: int, height: int) -> Spots:
    left, top, right, bottom = shape.box
    if isinstance(shape.annotation, KeypointAnnotation):
        return spots_for_point(left, top, tag, _keypoint_radius(shape.line) + 2)
    visible = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    if isinstance(shape.annotation, BBoxAnnotation):
        return spots_for_box(visible, tag, shape.line)
    return spots_for_outline(visible, _topmost(shape.rings, width, height), tag, shape.line)


def _around(shape: _Shape) -> Box:
    """The square that a keypoint's disc fills."""
    x, y, _, _ = shape.box
    radius = _keypoint_radius(shape.line) + 1
    return x - radius, y - radius, x + radius, y + radius


def _topmost(rings: Sequence[Points], width: int, height: int) -> tuple[float, float]:
    """The highest vertex inside the picture, or the highest of all if none is."""
    import numpy as np

    points = np.concatenate(rings)
    inside = points[(points >= 0).all(axis=1) & (points[:, 0] <= width) & (points[:, 1] <= height)]
    candidates = inside if len(inside) else points
    x, y = candidates[candidates[:, 1].argmin()]
    return float(x), float(y)
