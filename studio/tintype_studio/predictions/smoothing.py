"""Values over time without their noise: means of what is near in time, however uneven the times are.

What lies further apart than the reach is not mixed: at a frame a second nothing changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MOST_NEIGHBOURS = 60
"""On each side."""
_LEAST = 1e-3
"""Weight below which a neighbour is too far to count."""


def smoothed(
    seconds: Floats, values: Floats, weights: Floats, reach: float, *, straight: bool
) -> NDArray[np.float64]:
    """``values`` ``[n, k]`` at rising times ``[n]``, each the mean of its neighbours, by their ``weights``
    ``[n]`` and a Gaussian of ``reach`` seconds; ``straight``: on the line through them, so that what moves
    does not lag.
    """
    seconds, values = np.asarray(seconds, np.float64), np.asarray(values, np.float64)
    weights = np.asarray(weights, np.float64)
    own = weights[:, None]
    w0, w1, w2 = own.copy(), np.zeros_like(own), np.zeros_like(own)
    v0, v1 = own * values, np.zeros_like(values)
    for offset in range(1, min(MOST_NEIGHBOURS, len(seconds) - 1) + 1):
        apart = seconds[offset:] - seconds[:-offset]
        near = np.exp(-0.5 * (apart / reach) ** 2)
        near[near < _LEAST] = 0
        if not near.any():
            break
        for here, there, sign in (
            (slice(None, -offset), slice(offset, None), 1.0),
            (slice(offset, None), slice(None, -offset), -1.0),
        ):
            weight = (near * weights[there])[:, None]
            away = (sign * apart)[:, None]
            w0[here] += weight
            w1[here] += weight * away
            w2[here] += weight * away**2
            v0[here] += weight * values[there]
            v1[here] += weight * away * values[there]
    mean = v0 / w0
    if not straight:
        return np.asarray(mean)
    fall = w0 * w2 - w1**2
    line = (w2 * v0 - w1 * v1) / np.where(fall > 0, fall, 1)
    # A line through one point alone, or nearly so, is anything.
    return np.asarray(np.where(fall > 1e-6 * w0**2 * reach**2, line, mean))
