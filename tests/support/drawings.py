"""Small pictures of two kinds of things on a cluttered background, with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox
from tintype_studio.vision.detect.learning import learn
from tintype_studio.vision.detect.own import Effort, OwnDetector
from tintype_studio.vision.detect.views import LabelledImage

CLASSES = ("badge", "crate")


@dataclass(frozen=True)
class Drawn:
    """An (H, W, 3) RGB picture, boxes (left, top, right, bottom) and class indices."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray

    def labelled(self) -> LabelledImage:
        return LabelledImage(self.image, self.boxes, self.labels, np.empty((0, 4)))


def draw(seed: int, *, size: tuple[int, int] = (220, 170)) -> Drawn:
    """One badge (red disc with a white core) and one crate (blue square with a yellow cross), apart."""
    rng = np.random.default_rng(seed)
    width, height = size
    grey = cv2.resize(rng.uniform(70, 170, (5, 6)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    canvas = np.repeat(grey[..., None], 3, axis=2) * rng.uniform(0.85, 1.15, 3)
    for _ in range(5):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(4, 14)), int(rng.integers(4, 14)))
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, tuple(map(float, rng.uniform(30, 220, 3))), -1)
    boxes = []
    left_first = rng.random() < 0.5
    for index in (0, 1):
        radius = int(rng.integers(16, 27))
        on_left = left_first == (index == 0)
        x = int(rng.integers(radius + 2, width // 2 - radius - 2)) + (0 if on_left else width // 2)
        y = int(rng.integers(radius + 2, height - radius - 2))
        if index == 0:
            cv2.circle(canvas, (x, y), radius, (200, 30, 35), -1)
            cv2.circle(canvas, (x, y), radius // 2, (240, 240, 240), -1)
        else:
            cv2.rectangle(canvas, (x - radius, y - radius), (x + radius, y + radius), (30, 60, 190), -1)
            for end in (-radius, radius):
                cv2.line(canvas, (x - radius, y + end), (x + radius, y - end), (240, 210, 40), 5)
        boxes.append((x - radius, y - radius, x + radius + 1, y + radius + 1))
    canvas += rng.normal(0, 5, canvas.shape)
    return Drawn(np.clip(canvas, 0, 255).astype(np.uint8), np.array(boxes, float), np.array([0, 1]))


@cache
def six_taught() -> OwnDetector:
    """The detector that pictures 0 to 5 teach, learned once for all tests of a session."""
    pictures = [draw(seed).labelled() for seed in range(6)]
    return learn(pictures, CLASSES, effort=Effort(24, 16, 16, 1600), rehearsal=Effort(12, 8, 10, 800))


def jpeg(seed: int) -> bytes:
    """Picture number ``seed`` as a JPEG file."""
    image = draw(seed).image
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return data.tobytes()


def boxes_of(seed: int, kinds: tuple[int, ...] = (0, 1)) -> list[Any]:
    """The true boxes of picture number ``seed`` as annotations."""
    drawn = draw(seed)
    return [
        BBoxAnnotation(
            id=f"{CLASSES[k]}-{seed}",
            name=CLASSES[k],
            bounding_box=BoundingBox(x=box[0], y=box[1], w=box[2] - box[0], h=box[3] - box[1]),
        )
        for k, box in enumerate(drawn.boxes)
        if k in kinds
    ]


def fill(studio: Any, principal: Any, dataset: Any, *, labelled: int, unlabelled: int) -> list[Any]:
    """Upload pictures 0, 1, … and save the true boxes of the first ``labelled``; returns the samples."""
    made = []
    for seed in range(labelled + unlabelled):
        sample = studio.ingest.add_image(principal, dataset, data=jpeg(seed), filename=f"{seed:03}.jpg")
        if seed < labelled:
            studio.documents.save(principal, sample.id, boxes_of(seed))
        made.append(sample)
    return made
