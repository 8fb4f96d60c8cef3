"""Shapes that several elements of a file make together, and pixels that a file gives row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.formats.reading.converted import Converted, invalid
from tintype_studio.formats.reading.masks import MAX_PIXELS
from tintype_studio.formats.regions import is_whole

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import PolygonGeometry

Ring = tuple[Sequence[float], Sequence[float]]
OVAL_POINTS = 64


class Groups:
    """Polygons that a file groups: those that lie apart are one polygon of several parts."""

    def __init__(self, converted: Converted) -> None:
        self._converted = converted
        self._found: dict[object, tuple[int, object, str, list[Ring], dict[str, Any]]] = {}

    def add(self, group: object, name: str, ring: Ring, more: dict[str, Any]) -> None:
        """A polygon of ``group``; it is joined only with those of its name, confidence and attributes."""
        key = (group, name, repr(more))
        place = len(self._converted.shapes)
        self._found.setdefault(key, (place, group, name, [], more))[3].append(ring)

    def finish(self) -> None:
        """Put the polygons where the first of each group stood."""
        shapes = self._converted.shapes
        for place, group, name, rings, more in reversed(self._found.values()):
            if apart(rings):
                shapes.insert(place, ("polygon", None, name, rings, more))
                continue
            told = {**more, "attributes": [*(more.get("attributes") or []), {"group_id": group}]}
            shapes[place:place] = [("polygon", None, name, [ring], told) for ring in rings]


def apart(rings: Sequence[Ring]) -> bool:
    """Whether rings neither nest nor touch, so that they can be one polygon of several parts."""
    try:
        return len(rings) > 1 and all(len(xs) >= 3 for xs, _ in rings) and is_whole(rings)
    except (TypeError, ValueError):  # a coordinate is no number, which is told where the shape is made
        return False


def rotated_box(x0: float, y0: float, x1: float, y1: float, degrees: float) -> Ring:
    """The corners of a box that is turned clockwise about its centre."""
    cx, cy, half_w, half_h = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)]
    return [cx + x * cos - y * sin for x, y in corners], [cy + x * sin + y * cos for x, y in corners]


def oval(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> Ring:
    """An ellipse as a polygon."""
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    angles = [2 * math.pi * n / OVAL_POINTS for n in range(OVAL_POINTS)]
    points = [(rx * math.cos(a), ry * math.sin(a)) for a in angles]
    return [cx + x * cos - y * sin for x, y in points], [cy + x * sin + y * cos for x, y in points]


def outline_of_rows(
    counts: Sequence[int], left: int, top: int, width: int, height: int, what: str
) -> PolygonGeometry | None:
    """The outline of run lengths row by row (pixels outside first) of a part of an image.

    Raises:
        InvalidInput: the runs do not add up to ``width`` x ``height``.
    """
    import numpy as np

    from tintype_studio.vision.polygons import mask_to_polygon

    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise invalid(f"{what}: a mask of {width} x {height} pixels makes no sense.")
    runs = np.asarray(counts, dtype=np.int64)
    if not len(runs) or runs.min() < 0 or runs.max() > width * height or runs.sum() != width * height:
        raise invalid(f"{what}: the runs of the mask do not add up to {width} x {height} pixels.")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return mask_to_polygon(mask, offset=(left, top), tolerance=0)
