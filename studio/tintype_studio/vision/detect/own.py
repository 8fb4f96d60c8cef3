"""A detector trained in seconds on a dataset's own accepted annotations; needs no weights and no torch.

Method. Two stages, after Girshick et al., "Rich feature hierarchies for accurate object detection" (2014)
and Cai and Vasconcelos, "Cascade R-CNN" (2018), on fixed features instead of learned ones: a small network
looks at every place and size (``search``) and proposes boxes, a second one judges and corrects the best of
them at a higher resolution. Both learn from jittered views of the labelled objects, from the rest of the
labelled images as background, and from the first one's own mistakes there.

Scores are calibrated (``calibration``) to the chance that a detection is right. What it cannot find:
classes told apart only by what varies, and objects much smaller or larger than all labelled ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidImage
from tintype_studio.vision.detect.boxes import Boxes, deltas, moved, overlaps, suppress, within
from tintype_studio.vision.detect.calibration import Calibration
from tintype_studio.vision.detect.channels import Grid, Image, window_features
from tintype_studio.vision.detect.network import Lessons, Network, train
from tintype_studio.vision.detect.protocol import Detection
from tintype_studio.vision.detect.search import COARSE, SMALLEST, Shapes, look_everywhere, propose
from tintype_studio.vision.detect.views import (
    MISS,
    LabelledImage,
    Windows,
    around_objects,
    beside_objects,
    matched,
    on_background,
    views_of,
)
from tintype_studio.vision.protocols import Box

FINE = Grid(inner=8, rim=2, cell=6)
"""For the proposals: 48 pixels across the box, two cells around it."""

NAME = "own-detector"
WORKING_SIDE = 1024
"""Pixels: larger images are reduced to this longest side before they are looked at."""
PROPOSALS = 80
FAINTEST = 0.02
"""A class below this share of a proposal is not considered."""
SAME_CLASS, ANY_CLASS = 0.45, 0.7
"""Intersection over union at which the weaker of two detections goes."""
PART = 0.85
"""Share of a box inside a better one of its class from which it is taken for a part of the same object."""
COARSE_UNITS, FINE_UNITS = 32, 96
NEAR, NEARER = 0.09, 0.05
"""How far off training windows are, as a share of the object: for the first and the second stage."""
FALSE_ALARM = 0.3
ALARMS_PER_VIEW = 60


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done to train: views in all, views searched for mistakes, epochs of each stage."""

    views: int
    searched: int
    epochs: int
    windows: int
    """Training windows on objects, in all."""


FULL = Effort(views=48, searched=32, epochs=20, windows=2400)
REHEARSAL = Effort(views=24, searched=16, epochs=16, windows=1200)
"""For cross-validation."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnDetector:
    """A trained detector of the classes ``classes``; ``calibration`` turns its raw scores into chances."""

    classes: tuple[str, ...]
    shapes: Shapes
    coarse: Network
    fine: Network
    calibration: Calibration

    @property
    def name(self) -> str:
        """Stored with what it made."""
        return NAME

    def detect(
        self, image: Image, names: Sequence[str], *, threshold: float, max_detections: int
    ) -> list[Detection]:
        """See ``Detector``. Names that it was not trained on are never found."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InvalidImage("The image must be an array (height, width, 3) of 8-bit RGB.")
        small, scale = working_size(image)
        wanted = [self.classes.index(n) for n in dict.fromkeys(names) if n in self.classes]
        boxes, labels, raw = self.look(small)
        found = []
        scores = self.calibration.chance(raw)
        for box, label, score in zip(boxes / scale, labels, scores, strict=True):
            if label in wanted and score >= threshold:
                left, top, right, bottom = (round(float(v), 1) for v in box)
                found.append(
                    Detection(
                        self.classes[label],
                        Box(left, top, round(right - left, 1), round(bottom - top, 1)),
                        round(float(score), 4),
                    )
                )
        found.sort(key=lambda d: -d.score)
        return found[:max_detections]

    def look(self, image: Image) -> tuple[Boxes, NDArray[np.int64], NDArray[np.float64]]:
        """Boxes, class indices and raw scores of an image at its working size, best first."""
        height, width = image.shape[:2]
        proposals = propose(image, self.shapes, self.coarse, PROPOSALS)
        if not len(proposals):
            return np.empty((0, 4)), np.empty(0, np.int64), np.empty(0)
        chances, by = self.fine(window_features(image, proposals, FINE))
        boxes = within(moved(proposals, by), width, height)
        large = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= SMALLEST
        boxes, chances = boxes[large], chances[large]
        rows: list[tuple[float, int, int]] = []
        for label in range(len(self.classes)):
            likely = np.flatnonzero(chances[:, label] > FAINTEST)
            kept = suppress(boxes[likely], chances[likely, label], SAME_CLASS, PROPOSALS, nested=PART)
            rows += [(float(chances[likely[k], label]), label, int(likely[k])) for k in kept]
        rows.sort(key=lambda row: (-row[0], row[1], row[2]))
        at = [row[2] for row in rows]
        raw = np.array([row[0] for row in rows])
        kept = suppress(boxes[at], raw, ANY_CLASS, PROPOSALS) if rows else []
        return (
            boxes[[at[k] for k in kept]].reshape(-1, 4),
            np.array([rows[k][1] for k in kept], np.int64),
            raw[kept] if kept else np.empty(0),
        )


def working_size(image: Image) -> tuple[Image, float]:
    """The image with a longest side of at most ``WORKING_SIDE``, and by what it was scaled."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    if scale == 1.0:
        return image, 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def fit(
    labelled: Sequence[LabelledImage],
    classes: Sequence[str],
    *,
    seed: int = 0,
    effort: Effort = FULL,
    mirror: bool = True,
    calibration: Calibration | None = None,
    check: Callable[[], None] = lambda: None,
) -> OwnDetector:
    """Train on images at their working size. At least one of them must hold an object."""
    rng = np.random.default_rng(seed)
    trainer = _Trainer(labelled, len(classes), rng, effort, mirror, check)
    coarse = trainer.coarse()
    fine = trainer.fine(coarse)
    return OwnDetector(
        tuple(classes), trainer.shapes, coarse, fine, calibration or Calibration.cautious(len(classes))
    )


def calibrated(detector: OwnDetector, calibration: Calibration) -> OwnDetector:
    """The same detector with other scores."""
    return replace(detector, calibration=calibration)


class _Trainer:
    def __init__(
        self,
        labelled: Sequence[LabelledImage],
        classes: int,
        rng: np.random.Generator,
        effort: Effort,
        mirror: bool,
        check: Callable[[], None],
    ) -> None:
        self._classes, self._rng, self._effort, self._check = classes, rng, effort, check
        self.shapes = Shapes.of(np.concatenate([each.boxes / max(each.image.shape[:2]) for each in labelled]))
        per_image = int(np.clip(effort.views // len(labelled), 1, 8))
        self._views = [view for each in labelled for view in views_of(each, per_image, rng, mirror=mirror)]
        objects = sum(len(view.boxes) for view in self._views)
        self._per_object = int(np.clip(effort.windows // max(objects, 1), 3, 40))
        count = min(effort.searched, len(self._views))
        self._searched = [self._views[k] for k in rng.permutation(len(self._views))[:count]]

    def coarse(self) -> Network:
        """The first stage: learn, look for false alarms, learn again with them."""
        lessons = []
        for view in self._views:
            self._check()
            on = around_objects(view, self._per_object, NEAR, self._rng)
            off = on_background(
                view, max(8, round(1.2 * len(on.boxes))), self.shapes, self._classes, self._rng
            )
            lessons += [_lessons(view, windows, COARSE) for windows in (on, off)]
        network = self._train(lessons, COARSE_UNITS)
        for view in self._searched:
            self._check()
            windows, chances, _ = look_everywhere(view.image, self.shapes, network)
            likely = 1 - chances[:, -1]
            first = np.argsort(-likely, kind="stable")[: 20 * ALARMS_PER_VIEW]
            first = first[likely[first] > FALSE_ALARM]
            taken = np.concatenate([view.boxes, view.unknown])
            if len(taken) and len(first):
                first = first[overlaps(windows[first], taken).max(axis=1) < MISS]
            alarms = windows[first[:ALARMS_PER_VIEW]]
            lessons.append(
                _lessons(view, Windows(alarms, np.full(len(alarms), self._classes), alarms), COARSE)
            )
        return self._train(lessons, COARSE_UNITS)

    def fine(self, coarse: Network) -> Network:
        """The second stage, on what the first proposes."""
        lessons = []
        for view in self._searched:
            self._check()
            proposals = propose(view.image, self.shapes, coarse, PROPOSALS)
            lessons.append(_lessons(view, matched(view, proposals, self._classes), FINE))
        for view in self._views:
            self._check()
            near = around_objects(view, max(2, self._per_object // 2), NEARER, self._rng)
            off = beside_objects(view, max(2, self._per_object // 2), self._classes, self._rng)
            lessons += [_lessons(view, windows, FINE) for windows in (near, off)]
        return self._train(lessons, FINE_UNITS)

    def _train(self, lessons: list[Lessons], hidden: int) -> Network:
        return train(
            Lessons.joined(lessons),
            self._classes,
            hidden=hidden,
            epochs=self._effort.epochs,
            rng=self._rng,
            check=self._check,
        )


def _lessons(view: LabelledImage, windows: Windows, grid: Grid) -> Lessons:
    return Lessons(
        window_features(view.image, windows.boxes, grid),
        np.asarray(windows.labels, np.int64),
        deltas(windows.boxes, windows.targets),
    )
