"""What a window of an image looks like: oriented gradients and colours, averaged over a grid of cells.

Method. The aggregated channels of Dollar, Appel, Belongie and Perona, "Fast feature pyramids for object
detection" (2014): gradients in a few directions, normalised by their surroundings, and the colours in CIE
Lab. A direction's channel is a lobe around it, which costs two weighted sums instead of a histogram.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Array = NDArray[np.float32]

DIRECTIONS = 6
CHANNELS = DIRECTIONS + 4
"""Directions, the gradient's strength, lightness and the two colour axes."""
SURROUNDINGS = 17
"""Pixels across which gradients are normalised."""
FAINT = 0.01
"""A gradient of this strength (of lightness from 0 to 1 per pixel) counts as noise."""
_LOBE = math.cos(1.2 * math.pi / DIRECTIONS)


@dataclass(frozen=True, slots=True)
class Grid:
    """How a window is divided: ``inner`` cells across it, ``rim`` further cells around, ``cell`` pixels each.

    A window's feature vector has ``across`` ** 2 * CHANNELS numbers.
    """

    inner: int
    rim: int
    cell: int

    @property
    def across(self) -> int:
        """Cells across, the rim included."""
        return self.inner + 2 * self.rim

    @property
    def pixels(self) -> int:
        """Pixels across the window itself."""
        return self.inner * self.cell

    @property
    def length(self) -> int:
        """Numbers in a feature vector."""
        return self.across**2 * CHANNELS


def cells(image: Image, cell: int) -> Array:
    """The channels of an image averaged over cells: (H // cell, W // cell, CHANNELS)."""
    height, width = (side - side % cell for side in image.shape[:2])
    found = np.empty((height // cell, width // cell, CHANNELS), np.float32)
    size = (width // cell, height // cell)
    for index, channel in enumerate(_channels(np.ascontiguousarray(image[:height, :width]))):
        found[..., index] = cv2.resize(channel, size, interpolation=cv2.INTER_AREA)
    return found


def window_features(image: Image, windows: NDArray[np.float64], grid: Grid) -> Array:
    """Feature vectors (n, grid.length) of windows ``(left, top, right, bottom)``, each warped to a square."""
    margin = SURROUNDINGS // 2
    side = grid.across * grid.cell
    patches = [_patch(image, window, grid, margin) for window in windows]
    count, full = len(patches), side + 2 * margin
    found = np.empty((count, grid.across, grid.across, CHANNELS), np.float32)
    if count:
        strip = np.concatenate(patches)
        for index, channel in enumerate(_channels(strip)):
            inside = channel.reshape(count, full, full)[:, margin : margin + side, margin : margin + side]
            flat = np.ascontiguousarray(inside).reshape(count * side, side)
            small = cv2.resize(flat, (grid.across, count * grid.across), interpolation=cv2.INTER_AREA)
            found[..., index] = small.reshape(count, grid.across, grid.across)
    return found.reshape(count, grid.length)


def _channels(image: Image) -> Sequence[Array]:
    """CHANNELS arrays (H, W) of an RGB image."""
    scaled = image.astype(np.float32) * np.float32(1 / 255)
    lab = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab), np.float32) * np.float32(0.01)
    planes = [np.ascontiguousarray(lab[..., index]) for index in range(3)]
    strength, across, down = _strongest_gradient(planes)
    around = np.asarray(cv2.blur(strength, (SURROUNDINGS, SURROUNDINGS)), np.float32)
    scale = np.float32(1) / (around + np.float32(FAINT))
    across, down, length = across * scale, down * scale, strength * scale
    lobes = []
    for index in range(DIRECTIONS):
        angle = math.pi * index / DIRECTIONS
        along = np.asarray(cv2.addWeighted(across, math.cos(angle), down, math.sin(angle), 0), np.float32)
        lobe = cv2.addWeighted(np.abs(along), 1 / (1 - _LOBE), length, -_LOBE / (1 - _LOBE), 0)
        lobes.append(np.maximum(np.asarray(lobe, np.float32), np.float32(0)))
    return [*lobes, strength * np.float32(4), *(plane * np.float32(2) for plane in planes)]


def _strongest_gradient(planes: Sequence[Array]) -> tuple[Array, Array, Array]:
    """At each pixel the gradient of the plane where it is strongest: strength, across, down."""
    strength, across, down = _gradient(planes[0])
    for plane in planes[1:]:
        size, dx, dy = _gradient(plane)
        stronger = (size > strength).astype(np.uint8)
        for new, kept in ((size, strength), (dx, across), (dy, down)):
            cv2.copyTo(new, stronger, kept)
    return strength, across, down


def _gradient(plane: Array) -> tuple[Array, Array, Array]:
    smooth = cv2.GaussianBlur(plane, (3, 3), 0)
    across = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1), np.float32)
    down = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1), np.float32)
    # Not cv2.magnitude: its last digit depends on where in memory its arguments lie.
    return np.sqrt(across * across + down * down), across, down


def _patch(image: Image, window: NDArray[np.float64], grid: Grid, margin: int) -> Image:
    """The window with rim and margin, as a square picture."""
    left, top, right, bottom = (float(value) for value in window)
    side = grid.across * grid.cell + 2 * margin
    reach = (grid.rim * grid.cell + margin) / grid.pixels
    scale_x, scale_y = grid.pixels / (right - left), grid.pixels / (bottom - top)
    origin_x, origin_y = left - reach * (right - left), top - reach * (bottom - top)
    if min(scale_x, scale_y) < 0.6:
        # Sampling alone would skip pixels: reduce the part that is needed first.
        height, width = image.shape[:2]
        x0, y0 = max(0, int(origin_x)), max(0, int(origin_y))
        x1 = min(width, int(right + reach * (right - left)) + 2)
        y1 = min(height, int(bottom + reach * (bottom - top)) + 2)
        if x1 - x0 > 2 and y1 - y0 > 2:
            new_width = max(2, round((x1 - x0) * min(1.0, 1.5 * scale_x)))
            new_height = max(2, round((y1 - y0) * min(1.0, 1.5 * scale_y)))
            part = cv2.resize(image[y0:y1, x0:x1], (new_width, new_height), interpolation=cv2.INTER_AREA)
            by_x, by_y = new_width / (x1 - x0), new_height / (y1 - y0)
            image = np.asarray(part, np.uint8)
            origin_x, origin_y = (origin_x - x0) * by_x, (origin_y - y0) * by_y
            scale_x, scale_y = scale_x / by_x, scale_y / by_y
    # Pixel centres lie at halves, which warpAffine does not know.
    shift_x, shift_y = 0.5 * scale_x - 0.5 - scale_x * origin_x, 0.5 * scale_y - 0.5 - scale_y * origin_y
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    warped = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(warped, np.uint8)
