"""How an object looks, in a few bytes: mean colours of a grid over its box. Enough to tell a red car from a
white one, not two white ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CELLS = 4
LENGTH = CELLS * CELLS * 3
_INNER = 0.1
"""Share of the box that is left out on each side: there is mostly background."""
_FINE = 32
"""Pixels of the shorter side that are enough for means."""
_LIGHT = 0.4
"""Weight of lightness, which changes with shadows, beside that of the colours."""
_LIGHT_STEP = 100 / 255
"""Of OpenCV's eight bits for lightness, in CIE units; those of the colours are one each."""


def look_of(image: NDArray[np.uint8], box: Sequence[float]) -> NDArray[np.uint8]:
    """``[LENGTH]``: Lab colours of what a box (left, top, right, bottom in pixels) of an image (H, W, 3; RGB)
    holds, row by row.
    """
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    left, top, right, bottom = box
    across, down = _INNER * (right - left), _INNER * (bottom - top)
    x0, y0 = min(max(0, int(left + across)), width - 1), min(max(0, int(top + down)), height - 1)
    x1, y1 = min(max(x0 + 1, int(right - across)), width), min(max(y0 + 1, int(bottom - down)), height)
    step = max(1, min(x1 - x0, y1 - y0) // _FINE)
    part = np.ascontiguousarray(image[y0:y1:step, x0:x1:step])
    small = np.asarray(cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.uint8).ravel()


def distances(some: NDArray[np.number], others: NDArray[np.number]) -> NDArray[np.float64]:
    """``[N, M]``: how far looks are from one another; about 2 for one object in two frames, 10 for things of
    clearly different colours (CIE 1976, lightness counting less).
    """
    import numpy as np

    weights = np.array([_LIGHT * _LIGHT_STEP, 1.0, 1.0])
    one = np.asarray(some, np.float64).reshape(len(some), -1, 3) * weights
    two = np.asarray(others, np.float64).reshape(len(others), -1, 3) * weights
    apart = np.linalg.norm(one[:, None] - two[None], axis=3)
    return np.asarray(apart.mean(axis=2))
