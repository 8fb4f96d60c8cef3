"""How well detections fit to what is expected, and which belongs to which."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def overlaps(some: Floats, others: Floats, room: Floats | None = None) -> NDArray[np.float64]:
    """Intersection over union, ``[N, M]``, of boxes ``[N, 4]`` and ``[M, 4]``.

    With ``room`` ``[N, 2]``, both boxes of a pair are wider and higher by so many pixels on each side: so
    boxes that do not touch can be near, and an uncertain place counts for less.
    """
    one, two = some[:, None, :], others[None, :, :]
    more = np.zeros((len(some), 1, 2)) if room is None else np.asarray(room)[:, None, :]
    low = np.maximum(one[..., :2], two[..., :2]) - more
    high = np.minimum(one[..., 2:], two[..., 2:]) + more
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = (one[..., 2:] - one[..., :2] + 2 * more).prod(axis=2)
    area = area + (two[..., 2:] - two[..., :2] + 2 * more).prod(axis=2)
    return np.asarray(shared / np.maximum(area - shared, 1e-9))


def like_sized(some: Floats, others: Floats, most: float) -> NDArray[np.bool_]:
    """``[N, M]``: whether neither area is over ``most`` times the other."""
    one = (some[:, 2:] - some[:, :2]).prod(axis=1)[:, None]
    two = (others[:, 2:] - others[:, :2]).prod(axis=1)[None, :]
    return np.asarray((one <= most * two) & (two <= most * one))


def pairs(
    fit: Floats, least: float, weights: Floats | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns that belong together: each at most once, so that the sum of their fits, times the
    ``weights`` of the rows, is the greatest; none that fits less than ``least``.
    """
    if not fit.size:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    worth = np.where(fit >= least, fit if weights is None else fit * weights[:, None], 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    good = worth[rows, columns] > 0
    return np.asarray(rows[good], np.intp), np.asarray(columns[good], np.intp)
