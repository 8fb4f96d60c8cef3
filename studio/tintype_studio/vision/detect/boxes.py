"""Arithmetic on arrays of boxes. A box is ``(left, top, right, bottom)`` in pixels, an array (n, 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Deltas = NDArray[np.float32]

SHARPNESS = 3.0
"""Deltas are scaled by it, so that those of a typical window lie within about -1..1."""
LARGEST_STEP = 0.7
"""How far one correction may move or (in logarithm) resize a window, as a share of its size."""


def overlaps(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every box of ``first`` with every one of ``second``: (n, m)."""
    shared = _shared(first, second)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def nesting(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Intersection over the smaller of the two boxes: (n, m); 1 where one lies in the other."""
    smaller = np.minimum(areas(first)[:, None], areas(second)[None])
    return np.asarray(_shared(first, second) / np.maximum(smaller, 1e-9))


def _shared(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    a, b = first[:, None], second[None]
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    return np.asarray(np.clip(width, 0, None) * np.clip(height, 0, None))


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """Square pixels of each box."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def suppress(
    boxes: Boxes, scores: NDArray[np.floating], limit: float, most: int, *, nested: float | None = None
) -> list[int]:
    """Greedy non-maximum suppression: indices kept, best first; none overlaps a better one by ``limit``.

    With ``nested``, none lies in a better one, or around it, with that share of the smaller of the two.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        if len(rest):
            free = overlaps(boxes[best : best + 1], boxes[rest])[0] < limit
            if nested is not None:
                free &= nesting(boxes[best : best + 1], boxes[rest])[0] < nested
            rest = rest[free]
        order = rest
    return kept


def deltas(windows: Boxes, targets: Boxes) -> Deltas:
    """What turns each window into its target: (n, 4), after Girshick et al. (2014)."""
    width, height = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
    columns = (
        (targets[:, 0] + targets[:, 2] - windows[:, 0] - windows[:, 2]) / (2 * width),
        (targets[:, 1] + targets[:, 3] - windows[:, 1] - windows[:, 3]) / (2 * height),
        np.log((targets[:, 2] - targets[:, 0]) / width),
        np.log((targets[:, 3] - targets[:, 1]) / height),
    )
    return (SHARPNESS * np.stack(columns, axis=1)).astype(np.float32)


def moved(windows: Boxes, by: Deltas) -> Boxes:
    """The windows after their deltas."""
    step = np.clip(by.astype(np.float64) / SHARPNESS, -LARGEST_STEP, LARGEST_STEP)
    width, height = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
    x = (windows[:, 0] + windows[:, 2]) / 2 + step[:, 0] * width
    y = (windows[:, 1] + windows[:, 3]) / 2 + step[:, 1] * height
    half_width, half_height = width * np.exp(step[:, 2]) / 2, height * np.exp(step[:, 3]) / 2
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def within(boxes: Boxes, width: int, height: int) -> Boxes:
    """The parts of the boxes inside an image; some may be empty."""
    return np.clip(boxes, 0, (width, height, width, height))
