"""Labelled images seen in further ways: mirrored, turned a little, under other light; and windows on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.detect.boxes import Boxes, overlaps

if TYPE_CHECKING:
    from tintype_studio.vision.detect.channels import Image
    from tintype_studio.vision.detect.search import Shapes

LARGEST_TURN = 10.0
"""Degrees."""
LIGHT = 0.4
"""Standard deviation of the logarithm of the brightness of a view."""
TINT = 0.1
"""The same for each colour by itself."""
TRIES = 10
HIT, MISS = 0.5, 0.35
"""A window that overlaps an object by ``HIT`` shows it; below ``MISS`` it shows background."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """An (H, W, 3) uint8 RGB image with boxes (n, 4) and the class index of each.

    ``unknown`` (m, 4) are boxes of things that are neither taught nor background.
    """

    image: Image
    boxes: Boxes
    labels: NDArray[np.int64]
    unknown: Boxes


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows (n, 4), the class index of each, and the box (n, 4) that it should become."""

    boxes: Boxes
    labels: NDArray[np.int64]
    targets: Boxes


def views_of(
    labelled: LabelledImage, count: int, rng: np.random.Generator, *, mirror: bool
) -> list[LabelledImage]:
    """The image itself, and ``count`` - 1 views of it."""
    return [labelled] + [
        _another(labelled, rng, mirrored=mirror and index % 2 == 0) for index in range(count - 1)
    ]


def _another(labelled: LabelledImage, rng: np.random.Generator, *, mirrored: bool) -> LabelledImage:
    image, boxes, unknown = labelled.image, labelled.boxes, labelled.unknown
    height, width = image.shape[:2]
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
        boxes, unknown = (
            np.stack([width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]], 1) for b in (boxes, unknown)
        )
    angle = float(rng.uniform(-LARGEST_TURN, LARGEST_TURN))
    turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0), np.float64)
    image = np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
    gain = np.exp(rng.normal(0, LIGHT) + rng.normal(0, TINT, 3))
    table = np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, table.reshape(256, 1, 3)), np.uint8)
    return LabelledImage(image, _turned(boxes, turn, angle), labelled.labels, _turned(unknown, turn, angle))


def _turned(boxes: Boxes, turn: NDArray[np.float64], angle: float) -> Boxes:
    """Boxes around the turned content, taken to fill its box as an ellipse does: corners are mostly empty."""
    centre = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2, np.ones(len(boxes))])
    x, y = turn @ centre
    a, b = (boxes[:, 2] - boxes[:, 0]) / 2, (boxes[:, 3] - boxes[:, 1]) / 2
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    half_width, half_height = np.hypot(a * cosine, b * sine), np.hypot(a * sine, b * cosine)
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)


def around_objects(view: LabelledImage, per_object: int, spread: float, rng: np.random.Generator) -> Windows:
    """``per_object`` windows near each object that still show it; ``spread`` scales how far off they are."""
    found: list[NDArray[np.float64]] = []
    owner: list[int] = []
    for index, box in enumerate(view.boxes):
        width, height = box[2] - box[0], box[3] - box[1]
        for _ in range(per_object):
            for _ in range(TRIES):
                w, h = (
                    width * math.exp(rng.normal(0, 2 * spread)),
                    height * math.exp(rng.normal(0, 2 * spread)),
                )
                x = (box[0] + box[2]) / 2 + rng.normal(0, spread) * width
                y = (box[1] + box[3]) / 2 + rng.normal(0, spread) * height
                window = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                if overlaps(window[None], box[None])[0, 0] > HIT:
                    found.append(window)
                    owner.append(index)
                    break
    windows = np.array(found).reshape(-1, 4)
    return Windows(windows, view.labels[owner], view.boxes[owner])


def beside_objects(
    view: LabelledImage, per_object: int, background: int, rng: np.random.Generator
) -> Windows:
    """Up to ``per_object`` windows that hold a part of each object, or far more than it: no detection."""
    found: list[NDArray[np.float64]] = []
    taken = np.concatenate([view.boxes, view.unknown])
    for box in view.boxes:
        width, height = box[2] - box[0], box[3] - box[1]
        for _ in range(per_object):
            scale = math.exp(rng.uniform(-0.9, 0.7))
            w, h = width * scale * math.exp(rng.normal(0, 0.2)), height * scale * math.exp(rng.normal(0, 0.2))
            x = (box[0] + box[2]) / 2 + rng.uniform(-0.7, 0.7) * max(w, width)
            y = (box[1] + box[3]) / 2 + rng.uniform(-0.7, 0.7) * max(h, height)
            window = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            if overlaps(window[None], taken)[0].max() < HIT - 0.1:
                found.append(window)
    windows = np.array(found).reshape(-1, 4)
    return Windows(windows, np.full(len(windows), background), windows)


def on_background(
    view: LabelledImage, count: int, shapes: Shapes, background: int, rng: np.random.Generator
) -> Windows:
    """Up to ``count`` windows that show no object, two in five of them beside one."""
    height, width = view.image.shape[:2]
    taken = np.concatenate([view.boxes, view.unknown])
    found, sizes = [], shapes.pixels(view.image)
    for _ in range(count):
        w, h = np.array(sizes[rng.integers(len(sizes))]) * math.exp(rng.normal(0, 0.1))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        if len(view.boxes) and rng.random() < 0.4:
            box = view.boxes[rng.integers(len(view.boxes))]
            x = rng.uniform(1.3 * box[0] - 0.3 * box[2], 1.3 * box[2] - 0.3 * box[0])
            y = rng.uniform(1.3 * box[1] - 0.3 * box[3], 1.3 * box[3] - 0.3 * box[1])
        window = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        if not len(taken) or overlaps(window[None], taken)[0].max() < MISS:
            found.append(window)
    windows = np.array(found).reshape(-1, 4)
    return Windows(windows, np.full(len(windows), background), windows)


def matched(view: LabelledImage, proposals: Boxes, background: int) -> Windows:
    """Proposals with the class of the object that each shows; those in between are left out."""
    near = overlaps(proposals, view.boxes) if len(view.boxes) else np.zeros((len(proposals), 1))
    best, which = near.max(axis=1), near.argmax(axis=1)
    blurred = overlaps(proposals, view.unknown).max(axis=1) if len(view.unknown) else np.zeros(len(proposals))
    shows = best > HIT
    empty = (best < HIT - 0.05) & (blurred < MISS)
    labels = np.where(shows, view.labels[which] if len(view.boxes) else background, background)
    targets = np.where(shows[:, None], view.boxes[which] if len(view.boxes) else proposals, proposals)
    kept = shows | empty
    return Windows(proposals[kept], labels[kept], targets[kept])
