"""Paths cut off at a rectangle around the picture.

OpenCV's time to paint a shape grows with its extent, and its integers end; what lies far outside must not
reach it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Points = np.ndarray[Any, np.dtype[np.float64]]


def clip_path(path: Points, window: tuple[float, float, float, float], *, closed: bool) -> Points:
    """``path`` (points x 2) inside ``window`` (left, top, right, bottom); empty if it lies beyond one side.

    Each side in turn cuts the path off (Sutherland and Hodgman). Where the path leaves and comes back, the
    result runs along the side instead, so that inside the window both the lines and the area by the
    even-odd rule stay as they were; lines on the window's own border are new.
    """
    left, top, right, bottom = window
    for axis, sign, limit in ((0, 1, left), (1, 1, top), (0, -1, right), (1, -1, bottom)):
        if not len(path):
            break
        path = _cut(path, axis, sign, limit, closed)
    return path


def _cut(path: Points, axis: int, sign: int, limit: float, closed: bool) -> Points:
    """The part of ``path`` where ``sign * coordinate >= sign * limit``."""
    import numpy as np

    depth = sign * (path[:, axis] - limit)
    inside = depth >= 0
    if inside.all():
        return path
    if not inside.any():
        return path[:0]
    following, depth_after = np.roll(path, -1, axis=0), np.roll(depth, -1)
    crosses = inside != np.roll(inside, -1)
    if not closed:
        crosses[-1] = False
    with np.errstate(divide="ignore", invalid="ignore"):  # where nothing crosses, the result is not used
        part = depth / (depth - depth_after)
        crossing = path + part[:, None] * (following - path)
    crossing[:, axis] = limit
    both = np.stack((path, crossing), axis=1).reshape(-1, 2)
    kept: Points = both[np.stack((inside, crosses), axis=1).ravel()]
    return kept
