"""Looks at every place and size of an image through one small network, and keeps what may be an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.detect.boxes import Boxes, moved, suppress, within
from tintype_studio.vision.detect.channels import CHANNELS, Grid, Image, cells

if TYPE_CHECKING:
    from tintype_studio.vision.detect.network import Array, Network

COARSE = Grid(inner=6, rim=1, cell=4)
"""For every place: 24 pixels across the window, one cell around it."""

STEP = 1.35
"""Ratio of neighbouring window sizes."""
WIDE_SPREAD = 0.55
"""Of the logarithm of width to height: below it, windows of one shape reach all objects."""
LARGEST_LEVEL = 1280
"""Pixels: the longest side of the enlarged image that small objects are looked for in."""
MOST_CANDIDATES = 800
SMALLEST = 4.0
"""Pixels across the smallest box that is kept."""
SAME = 0.7
"""Intersection over union at which two proposals count as one."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Widths and heights of the windows that are tried, as shares of an image's longer side.

    Shares, because pictures of one kind keep their framing more than their number of pixels.
    """

    sizes: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, shares: Boxes) -> Shapes:
        """Those that reach all of some boxes, given in shares of their images' longer sides."""
        width, height = shares[:, 2] - shares[:, 0], shares[:, 3] - shares[:, 1]
        side, ratio = np.sqrt(width * height), np.log(width / height)
        low, high = np.quantile(ratio, 0.05), np.quantile(ratio, 0.95)
        ratios = [float(np.median(ratio))]
        if high - low > 2 * WIDE_SPREAD:
            ratios = [float(low + share * (high - low)) for share in (0.15, 0.5, 0.85)]
        first, last = float(side.min()), float(side.max())
        count = max(1, int(np.ceil(np.log(last * 1.1 / first) / np.log(STEP))) + 1)
        sides = np.exp(np.linspace(np.log(first), np.log(max(last, first * 1.1)), count))
        return cls(
            tuple((float(s * np.exp(r / 2)), float(s * np.exp(-r / 2))) for r in ratios for s in sides)
        )

    def pixels(self, image: Image) -> list[tuple[float, float]]:
        """The windows for one image, in its pixels."""
        longest = max(image.shape[:2])
        return [(width * longest, height * longest) for width, height in self.sizes]


def look_everywhere(
    image: Image, shapes: Shapes, network: Network
) -> tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]:
    """Every window with its class probabilities (n, classes + 1) and box deltas (n, 4)."""
    found: list[tuple[Boxes, Array, Array]] = []
    for width, height in shapes.pixels(image):
        seen = _at_one_size(image, width, height, network)
        if seen is not None:
            found.append(seen)
    if not found:
        return np.empty((0, 4)), np.empty((0, network.classes + 1), np.float32), np.empty((0, 4), np.float32)
    boxes, chances, by = zip(*found, strict=True)
    return np.concatenate(boxes), np.concatenate(chances), np.concatenate(by)


def propose(image: Image, shapes: Shapes, network: Network, most: int) -> Boxes:
    """Boxes that may hold an object of any class, likeliest first."""
    windows, chances, by = look_everywhere(image, shapes, network)
    likely = 1 - chances[:, -1]
    best = np.argsort(-likely, kind="stable")[:MOST_CANDIDATES]
    height, width = image.shape[:2]
    boxes, likely = within(moved(windows[best], by[best]), width, height), likely[best]
    large = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= SMALLEST
    boxes, likely = boxes[large], likely[large]
    return boxes[suppress(boxes, likely, SAME, most)]


def _at_one_size(
    image: Image, width: float, height: float, network: Network
) -> tuple[Boxes, Array, Array] | None:
    """All windows of one size, a cell apart; None if the image is too small for them."""
    grid = COARSE
    full_height, full_width = image.shape[:2]
    level_width, level_height = (
        round(full_width * grid.pixels / width),
        round(full_height * grid.pixels / height),
    )
    longest = max(level_width, level_height)
    if longest > LARGEST_LEVEL or min(level_width, level_height) < grid.pixels // 2:
        return None
    smaller = level_width < full_width
    level = cv2.resize(
        image,
        (level_width, level_height),
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )
    # Objects at the border reach out of the image by up to a third, and the rim by a cell more.
    border = grid.rim * grid.cell + grid.pixels // 3
    level = cv2.copyMakeBorder(
        level, border, border + grid.cell, border, border + grid.cell, cv2.BORDER_REFLECT
    )
    table = cells(np.asarray(level, np.uint8), grid.cell)
    down, across = table.shape[0] - grid.across + 1, table.shape[1] - grid.across + 1
    chances, by = network.after_first(_hidden(table, down, across, network))
    row, column = np.mgrid[0:down, 0:across]
    offset = grid.rim * grid.cell - border
    scale_x, scale_y = full_width / level_width, full_height / level_height
    left = (column.ravel() * grid.cell + offset) * scale_x
    top = (row.ravel() * grid.cell + offset) * scale_y
    boxes = np.stack([left, top, left + grid.pixels * scale_x, top + grid.pixels * scale_y], axis=1)
    return boxes, chances, by


def _hidden(table: Array, down: int, across: int, network: Network) -> Array:
    """First layer of every window, as a convolution: (down * across, hidden).

    A row of a window's cells lies together in memory, so windows are never copied out one by one: all rows
    are multiplied once, and a window is the sum of its rows.
    """
    grid = COARSE
    hidden = network.first.shape[1]
    row_length = grid.across * CHANNELS
    rows = np.lib.stride_tricks.as_strided(table, (table.shape[0], across, row_length), table.strides)
    weights = network.first.reshape(grid.across, row_length, hidden).transpose(1, 0, 2)
    products = np.ascontiguousarray(rows).reshape(-1, row_length) @ weights.reshape(row_length, -1)
    parts = products.reshape(table.shape[0], across, grid.across, hidden)
    total = np.array(parts[:down, :, 0])
    for index in range(1, grid.across):
        total += parts[index : index + down, :, index]
    return np.asarray(total.reshape(down * across, hidden) + network.first_bias, np.float32)
