"""The one way in which an object is cut out for the attribute heads; training and inference share it.

The box with a margin fills the square as far as its shape allows, the rest is grey: so the network sees how
long and how wide the object is, and nothing of its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.letterbox import FILL

MARGIN = 0.15
"""Around the box, as a share of its longer side."""


def region_of(
    box: Sequence[float], width: int, height: int, margin: float = MARGIN
) -> tuple[int, int, int, int]:
    """Whole pixels (left, top, right, bottom) around a box with its margin, within a picture of that size;
    at least one pixel, wherever the box lies.
    """
    left, top, right, bottom = (float(value) for value in box)
    room = margin * max(right - left, bottom - top)
    x0 = min(max(0, math.floor(left - room)), width - 1)
    y0 = min(max(0, math.floor(top - room)), height - 1)
    return (
        x0,
        y0,
        min(max(x0 + 1, math.ceil(right + room)), width),
        min(max(y0 + 1, math.ceil(bottom + room)), height),
    )


def crop_of(image: NDArray[np.uint8], box: Sequence[float], size: int) -> NDArray[np.uint8]:
    """``[size, size, 3]`` uint8 of a box (left, top, right, bottom in pixels) in an image (H, W, 3)."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = region_of(box, width, height)
    part = image[y0:y1, x0:x1]
    scale = size / max(x1 - x0, y1 - y0)
    inner = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.full((size, size, 3), FILL, np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[1], left : left + inner[0]] = cv2.resize(part, inner, interpolation=how)
    return square
