"""Where objects are expected: a Kalman filter of nearly constant velocity for many boxes at once.

Everything is measured in the objects' own sizes and in seconds, so that neither the resolution nor the frame
rate changes what is likely, and frames may come at uneven times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MEASURED = 0.05
"""Standard deviation of a detector's centres and sides, in sizes."""
FIRST_SPEED, FIRST_GROWTH = 1.5, 0.3
"""Of an object about which nothing is known: sizes a second, of its centre and of its sides."""
SHAKE, SWELL = 1.5, 0.3
"""How fast speeds change: sizes a second, after one second."""


def centred(corners: Floats) -> NDArray[np.float64]:
    """(left, top, right, bottom) as (centre x, centre y, width, height)."""
    corners = np.asarray(corners, np.float64)
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def cornered(boxes: Floats) -> NDArray[np.float64]:
    """The way back."""
    boxes = np.asarray(boxes, np.float64)
    half = np.maximum(boxes[:, 2:], 1.0) / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


class Motion:
    """Rows are objects. Of centre x, centre y, width and height each: value, speed and their covariance."""

    def __init__(self) -> None:
        self.mean: NDArray[np.float64] = np.zeros((0, 4, 2))
        self._own: NDArray[np.float64] = np.zeros((0, 4))
        """Variance of the values."""
        self._both: NDArray[np.float64] = np.zeros((0, 4))
        self._speed: NDArray[np.float64] = np.zeros((0, 4))

    def add(self, corners: Floats) -> None:
        """New objects, at the end."""
        boxes = centred(corners)
        size = _sizes(boxes)[:, None]
        speed = np.array([FIRST_SPEED, FIRST_SPEED, FIRST_GROWTH, FIRST_GROWTH])
        self.mean = np.concatenate([self.mean, np.stack([boxes, np.zeros_like(boxes)], axis=2)])
        self._own = np.concatenate([self._own, np.repeat((MEASURED * size) ** 2, 4, axis=1)])
        self._both = np.concatenate([self._both, np.zeros_like(boxes)])
        self._speed = np.concatenate([self._speed, (speed * size) ** 2])

    def advance(self, seconds: float) -> None:
        """Time passes."""
        size = _sizes(self.mean[:, :, 0])[:, None]
        noise = (np.array([SHAKE, SHAKE, SWELL, SWELL]) * size) ** 2
        self.mean[:, :, 0] += self.mean[:, :, 1] * seconds
        self._own += 2 * seconds * self._both + seconds**2 * self._speed + noise * seconds**3 / 3
        self._both += seconds * self._speed + noise * seconds**2 / 2
        self._speed += noise * seconds

    def calm(self, rows: NDArray[np.integer]) -> None:
        """These objects were not seen; what got narrower as it went behind something does not go on so."""
        self.mean[rows, 2:, 1] = 0.0

    def correct(self, rows: NDArray[np.integer], corners: Floats) -> None:
        """These objects were seen, where ``corners`` tells."""
        boxes = centred(corners)
        noise = (MEASURED * _sizes(boxes)[:, None]) ** 2
        own, both = self._own[rows], self._both[rows]
        total = own + noise
        wrong = boxes - self.mean[rows, :, 0]
        self.mean[rows, :, 0] += own / total * wrong
        self.mean[rows, :, 1] += both / total * wrong
        self._speed[rows] -= both**2 / total
        self._both[rows] *= noise / total
        self._own[rows] *= noise / total

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Drop the other objects."""
        self.mean, self._own = self.mean[which], self._own[which]
        self._both, self._speed = self._both[which], self._speed[which]

    def corners(self) -> NDArray[np.float64]:
        """``[N, 4]``: where they are expected."""
        return cornered(self.mean[:, :, 0])

    def spread(self) -> NDArray[np.float64]:
        """``[N, 2]``: standard deviation of the centres, in pixels."""
        return np.asarray(np.sqrt(self._own[:, :2]))


def _sizes(boxes: Floats) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(boxes[:, 2], 1.0) * np.maximum(boxes[:, 3], 1.0)))
