"""Translucent areas on a picture, at a cost that has a limit.

Areas are painted one over the other, each inside its own bounding rectangle. When all of them together are
too much, those at the bottom, which the others mostly hide, are painted at a fraction of the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tintype_studio.media.palette import Color

if TYPE_CHECKING:
    import numpy as np

    Canvas = np.ndarray[Any, np.dtype[np.uint8]]
    Points = np.ndarray[Any, np.dtype[np.float64]]

_SHARP_PIXELS = 256_000_000
"""Pixels of bounding rectangles that are painted at full resolution, and again at a lower one."""

SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV: a sixteenth of a pixel."""


@dataclass(frozen=True, slots=True)
class Area:
    """A shape to fill by the even-odd rule. Coordinates are drawn pixels, not far outside the picture."""

    rings: Sequence[Points]
    color: Color

    def region(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the part of the picture it can touch; empty if right <= left."""
        lows, highs = zip(*((ring.min(axis=0), ring.max(axis=0)) for ring in self.rings), strict=True)
        left, top = (max(0, math.floor(min(low[axis] for low in lows))) for axis in (0, 1))
        right, bottom = (math.ceil(max(high[axis] for high in highs)) + 1 for axis in (0, 1))
        return left, top, min(width, right), min(height, bottom)


def fixed(points: Points) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Fixed-point coordinates for OpenCV, whose origin is the centre of the first pixel, not its corner."""
    import numpy as np

    return np.asarray(np.rint((points - 0.5) * (1 << SHIFT)), dtype=np.int32)


def paint_areas(canvas: Canvas, areas: Sequence[Area], opacity: float, check: Callable[[], None]) -> None:
    """Fill ``areas`` on ``canvas`` (height x width x 3) with ``opacity`` (0 to 1), the first at the bottom.

    ``check`` is called before each area.
    """
    height, width = canvas.shape[:2]
    extents = []
    for area in areas:
        left, top, right, bottom = area.region(width, height)
        extents.append(max(0, right - left) * max(0, bottom - top))
    sharp, first = 0, len(areas)
    while first and sharp + extents[first - 1] <= _SHARP_PIXELS:
        first -= 1
        sharp += extents[first]
    if first:
        factor = max(2, math.ceil(math.sqrt(sum(extents[:first]) / _SHARP_PIXELS)))
        _paint_coarsely(canvas, areas[:first], opacity, factor, check)
    for area in areas[first:]:
        check()
        _paint(canvas, area, opacity)


def _paint(canvas: Canvas, area: Area, opacity: float) -> None:
    import cv2
    import numpy as np

    height, width = canvas.shape[:2]
    left, top, right, bottom = area.region(width, height)
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, [fixed(ring - (left, top)) for ring in area.rings], (255,), cv2.LINE_8, SHIFT)
    region = canvas[top:bottom, left:right]
    before = np.arange(256, dtype=np.float32)[None, :, None]
    after = before * np.float32(1 - opacity) + np.array(area.color, np.float32) * opacity
    cv2.copyTo(cv2.LUT(region, after.astype(np.uint8)), mask, region)


def _paint_coarsely(
    canvas: Canvas, areas: Sequence[Area], opacity: float, factor: int, check: Callable[[], None]
) -> None:
    """Paint on small grounds of black and of white, which tell colour and opacity of the areas together."""
    import cv2
    import numpy as np

    height, width = canvas.shape[:2]
    size = (-(-height // factor), -(-width // factor), 3)
    black, white = np.zeros(size, np.uint8), np.full(size, 255, np.uint8)
    for area in areas:
        check()
        small = Area([ring / factor for ring in area.rings], area.color)
        _paint(black, small, opacity)
        _paint(white, small, opacity)
    whole = (size[1] * factor, size[0] * factor)
    color, through = (cv2.resize(part, whole)[:height, :width] for part in (black, white - black))
    canvas[:] = cv2.add(cv2.multiply(canvas, through, scale=1 / 255), color)
