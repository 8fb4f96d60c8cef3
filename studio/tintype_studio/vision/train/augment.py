"""Random views of training images, objects moved along: mosaics, mirroring, scale and place, colour.

Everything works on letterboxed squares ``[S, S, 3]`` uint8 and their ``Target``. One affine map per picture,
straight into the square that is trained on, keeps it cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.letterbox import FILL
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.protocol import Target

Image = NDArray[np.uint8]
Rings = list[NDArray[np.float32]]
Rect = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the square."""

MOSAIC_SCALE = (0.45, 1.1)
"""Of each picture in a mosaic, log-uniform."""
MOSAIC_CENTRE = (0.3, 0.7)
"""Where the four pictures meet, in shares of the side."""
SINGLE_SCALE = (0.7, 1.3)
CROP_SCALE = (1.0, 1.35)
"""For classification: the class must stay in view."""
HUE, SATURATION, VALUE = 3.0, 0.5, 0.35
"""Largest change: degrees of OpenCV's 180, and shares."""
LEAST_SEEN = 0.25
"""Share of an object's box that must be left of it, else it is not told."""
LEAST_SIDE = 2.0
"""Pixels."""


@dataclass(frozen=True, slots=True)
class Augmenter:
    """Makes views. ``mosaic`` is the chance of one; only objects can be put together so."""

    data: PreparedData
    task: Task
    flip: bool = True
    mosaic: float = 1.0

    def view(self, index: int, rng: np.random.Generator) -> tuple[Image, Target]:
        """A random view of an image, perhaps with three others around it."""
        if self.task in {Task.DETECTION, Task.INSTANCES} and rng.random() < self.mosaic:
            others = rng.choice(self.data.splits["train"], 3)
            square, target = self._mosaic([index, *(int(i) for i in others)], rng)
        else:
            square, target = self._single(index, rng)
        return jittered(square, rng), target

    def _mosaic(self, indices: list[int], rng: np.random.Generator) -> tuple[Image, Target]:
        size = self.data.size
        square = np.full((size, size, 3), FILL, np.uint8)
        x, y = (round(size * rng.uniform(*MOSAIC_CENTRE)) for _ in range(2))
        quarters = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
        parts = []
        for place, (index, quarter) in enumerate(zip(indices, quarters, strict=True)):
            scale = float(np.exp(rng.uniform(*np.log(MOSAIC_SCALE))))
            width, height = self.data.content(index)
            mirrored = self._mirrored(rng)
            # The corner of the picture that faces the middle lies on it.
            left = x - scale * width if place in {0, 2} else x
            top = y - scale * height if place in {0, 1} else y
            parts.append(self._put(square, quarter, index, scale, left, top, mirrored))
        return square, joined(parts)

    def _single(self, index: int, rng: np.random.Generator) -> tuple[Image, Target]:
        size = self.data.size
        square = np.full((size, size, 3), FILL, np.uint8)
        width, height = self.data.content(index)
        if self.task is Task.CLASSIFICATION:
            scale = rng.uniform(*CROP_SCALE)
            left, top = (rng.uniform(min(0.0, size - scale * side), 0) for side in (width, height))
        else:
            scale = rng.uniform(*SINGLE_SCALE)
            left, top = (
                rng.uniform(min(0.0, size - scale * side), max(0.0, size - scale * side))
                for side in (width, height)
            )
        target = self._put(square, (0, 0, size, size), index, scale, left, top, self._mirrored(rng))
        return square, target

    def _mirrored(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < 0.5) and self.flip

    def _put(
        self,
        square: Image,
        part: tuple[int, int, int, int],
        index: int,
        scale: float,
        left: float,
        top: float,
        mirrored: bool,
    ) -> Target:
        """Draw a picture into a part of the square, its content's corner at (left, top)."""
        width, height = self.data.content(index)
        across, shift = (-scale, left + scale * width) if mirrored else (scale, left)
        x0, y0, x1, y1 = part
        if x1 > x0 and y1 > y0:
            # Pixel centres lie at halves, so that boxes and pixels move alike.
            into = np.array(
                [
                    [across, 0, shift + across / 2 - 0.5 - x0],
                    [0, scale, top + scale / 2 - 0.5 - y0],
                ]
            )
            source = self.data.image(index)[:height, :width]
            square[y0:y1, x0:x1] = cv2.warpAffine(
                source,
                into,
                (x1 - x0, y1 - y0),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(FILL, FILL, FILL),
            )
        return moved(self.data.target(index), (across, scale), (shift, top), part)


def moved(target: Target, factors: tuple[float, float], shifts: tuple[float, float], part: Rect) -> Target:
    """The objects after x and y were multiplied and shifted, cut to ``part``; those of which too little is
    left are dropped. Labels of whole images (no boxes) stay.
    """
    if not len(target.boxes):
        return target
    scale, shift = np.array(factors * 2, np.float32), np.array(shifts * 2, np.float32)
    boxes = target.boxes * scale + shift
    boxes = np.concatenate(
        (np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])), axis=1
    )
    limits = np.array(part, np.float32)
    cut = np.clip(boxes, np.tile(limits[:2], 2), np.tile(limits[2:], 2))
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    seen = sides.prod(axis=1) >= LEAST_SEEN * whole.prod(axis=1)
    kept = np.flatnonzero(seen & (sides.min(axis=1) >= LEAST_SIDE))
    polygons: list[Rings] = []
    if target.polygons:
        for k in kept.tolist():
            rings = [ring * scale[:2] + shift[:2] for ring in target.polygons[k]]
            if not np.array_equal(cut[k], boxes[k]):
                rings = [clipped for ring in rings if len(clipped := clip_ring(ring, part)) >= 3]
            polygons.append(rings)
    return Target(cut[kept], target.labels[kept], polygons)


def joined(targets: Sequence[Target]) -> Target:
    """All objects together."""
    return Target(
        np.concatenate([t.boxes for t in targets]),
        np.concatenate([t.labels for t in targets]),
        [rings for t in targets for rings in t.polygons],
    )


def clip_ring(ring: NDArray[np.float32], part: Rect) -> NDArray[np.float32]:
    """The part of a ring ``[P, 2]`` within a rectangle (Sutherland and Hodgman, 1974); may be empty."""
    for axis, limit, sign in ((0, part[0], 1.0), (0, part[2], -1.0), (1, part[1], 1.0), (1, part[3], -1.0)):
        if not len(ring):
            break
        depth = sign * (ring[:, axis] - limit)
        if (depth >= 0).all():
            continue
        after, depth_after = np.roll(ring, -1, axis=0), np.roll(depth, -1)
        crosses = (depth >= 0) != (depth_after >= 0)
        share = np.divide(depth, depth - depth_after, out=np.zeros_like(depth), where=crosses)
        cuts = ring + share[:, None] * (after - ring)
        cuts[:, axis] = limit
        # Each vertex that is inside, then the crossing on the edge behind it.
        both = np.stack((ring, cuts), axis=1).reshape(-1, 2)
        ring = both[np.stack((depth >= 0, crosses), axis=1).ravel()]
    return ring


def jittered(square: Image, rng: np.random.Generator) -> Image:
    """Other hue, saturation and brightness."""
    hue, saturation, value = rng.uniform(-1, 1, 3) * (HUE, SATURATION, VALUE)
    steps = np.arange(256, dtype=np.float32)
    table = np.stack(
        (
            (steps + hue) % 180,
            np.clip(steps * (1 + saturation), 0, 255),
            np.clip(steps * (1 + value), 0, 255),
        ),
        axis=-1,
    ).astype(np.uint8)[None]
    hsv = cv2.LUT(cv2.cvtColor(square, cv2.COLOR_RGB2HSV), table)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def rasterize(target: Target, size: int, *, stride: int = 1) -> NDArray[np.uint8]:
    """Masks ``[M, size / stride, size / stride]`` of 0 and 1 from a target in a square of ``size`` pixels: a
    cell is in where its centre is (even-odd); an object without polygon is its box.
    """
    side = size // stride
    masks = np.zeros((len(target.labels), side, side), np.uint8)
    for k, mask in enumerate(masks):
        fill(mask, _rings(target, k), 1, stride)
    return masks


def regions(target: Target, size: int, *, stride: int = 1) -> NDArray[np.int64]:
    """Classes of pixels ``[size / stride, size / stride]``: 0 is the background, class i is i + 1; where
    objects overlap, the later one.
    """
    side = size // stride
    found = np.zeros((side, side), np.int64)
    for k, label in enumerate(target.labels.tolist()):
        fill(found, _rings(target, k), label + 1, stride)
    return found


def _rings(target: Target, k: int) -> Sequence[NDArray[np.float32]]:
    if target.polygons:
        return target.polygons[k]
    left, top, right, bottom = target.boxes[k]
    return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)]


def fill(
    mask: NDArray[np.uint8] | NDArray[np.int64],
    rings: Sequence[NDArray[np.float32]],
    value: int,
    stride: int = 1,
) -> None:
    """Set the cells ``[h, w]`` whose centres lie within rings, even-odd; coordinates are divided by
    ``stride``.

    Each crossing of an edge with a row of centres toggles all cells to its right. OpenCV would also fill the
    cells that the outline only touches, which makes small objects a fifth too large.
    """
    height, width = mask.shape
    if not any(len(ring) for ring in rings):
        return
    starts = np.concatenate(rings) / stride
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]) / stride
    first, last = (
        np.clip(np.ceil(ys - 0.5), 0, height).astype(np.int64)
        for ys in (np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1]))
    )
    often = last - first
    edge = np.repeat(np.arange(len(starts)), often)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(often) - often, often) + first[edge]
    step = ends - starts
    x = starts[edge, 0] + (row + 0.5 - starts[edge, 1]) * (step[edge, 0] / step[edge, 1])
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    toggles = np.zeros((height, width + 1), np.uint8)
    np.add.at(toggles, (row, column), 1)
    mask[np.cumsum(toggles[:, :width], axis=1, dtype=np.uint8) % 2 > 0] = value
