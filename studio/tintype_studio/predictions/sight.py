"""Models that are asked about frame after frame, whatever they are: one small protocol over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tintype_studio.predictions.looking import FLOOR, MAX_CATEGORIES, MAX_OBJECTS, Eye
from tintype_studio.predictions.packing import FramesFound, option_row, width_of
from tintype_studio.video.tracking.association import overlaps
from tintype_studio.video.tracking.looks import LENGTH, look_of
from tintype_studio.vision.heads import Attributes, Choices
from tintype_studio.vision.tasks import Task

if TYPE_CHECKING:
    from tintype_studio.storage.blobs import Blobs
    from tintype_studio.vision.detect.protocol import Detector
    from tintype_studio.vision.infer.heads import Heads
    from tintype_studio.vision.infer.model import OnnxModel
    from tintype_studio.vision.infer.prediction import Prediction

Image = NDArray[np.uint8]

WEAK = 0.3
"""Of the threshold: what is scored less is not even followed."""
SAME_OBJECT = 0.85
"""Intersection over union from which boxes of two classes are one object; the likelier class counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """What was found in one frame, best first; as ``FramesFound`` has it, of this frame alone."""

    width: int
    height: int
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    looks: NDArray[np.uint8]
    choices: list[Choices] = field(default_factory=list)


class Sight(Protocol):
    """An open model. May be called from many threads."""

    classes: tuple[str, ...]
    attributes: Attributes
    whole: bool
    """Whether it tells of the whole frame only."""

    def see(self, images: Sequence[Image], threshold: float) -> list[Glimpse]:
        """What is in each image, (H, W, 3) uint8 RGB: objects down to ``WEAK`` of the threshold."""
        ...


class TrainedSight:
    """A model that was trained here, and its attribute heads."""

    def __init__(self, model: OnnxModel, heads: Heads | None) -> None:
        self._model = model
        self._heads = heads
        self.classes = model.signature.classes
        self.attributes: Attributes = heads.signature.attributes if heads is not None else {}
        self.whole = model.signature.task is Task.CLASSIFICATION
        self._signature = model.signature
        if self._signature.task is Task.INSTANCES:
            # A video's answer has boxes only, and masks take longer than all the rest.
            self._signature = replace(self._signature, task=Task.DETECTION)

    def see(self, images: Sequence[Image], threshold: float) -> list[Glimpse]:
        """See ``Sight``."""
        from tintype_studio.vision.infer.decode import decode
        from tintype_studio.vision.letterbox import letterbox
        from tintype_studio.vision.tasks import OUTPUTS

        squares = np.stack([letterbox(image, self._signature.image_size)[0] for image in images])
        outputs = self._model.run(squares)[: len(OUTPUTS[self._signature.task])]
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        seen = decode(self._signature, outputs, sizes, threshold=weak(threshold), max_detections=MAX_OBJECTS)
        return [self._glimpse(image, each, threshold) for image, each in zip(images, seen, strict=True)]

    def _glimpse(self, image: Image, seen: Prediction, threshold: float) -> Glimpse:
        from tintype_studio.vision.infer.shapes import shapes_of

        if seen.scores is not None:
            labels = np.argsort(-seen.scores, kind="stable")[:MAX_CATEGORIES]
            boxes = np.tile(np.array([0, 0, seen.width, seen.height], np.float32), (len(labels), 1))
            return _glimpse(image, boxes, seen.scores[labels], labels, looks=False)
        if seen.regions is not None:
            shapes = shapes_of(self._signature, seen, threshold=weak(threshold), most=MAX_OBJECTS)
            corners = [(s.box.x, s.box.y, s.box.x + s.box.w, s.box.y + s.box.h) for s in shapes]
            return _glimpse(
                image, corners, [s.score for s in shapes], [self.classes.index(s.name) for s in shapes]
            )
        objects = seen.objects
        glimpse = _glimpse(
            image, [o.box for o in objects], [o.score for o in objects], [o.label for o in objects]
        )
        if self._heads is None:
            return glimpse
        # What is hardly seen as an object is not worth asking about its colour.
        sure = int(np.count_nonzero(glimpse.scores >= threshold))
        scale = np.array([seen.width, seen.height] * 2)
        names = [self.classes[label] for label in glimpse.labels[:sure]]
        chosen = self._heads.choose(image, glimpse.boxes[:sure] * scale, names)
        return replace(glimpse, choices=chosen)


class WordsSight:
    """A detector that finds what it is told the names of."""

    whole = False

    def __init__(self, detector: Detector, names: Sequence[str]) -> None:
        self._detector = detector
        self.classes = tuple(names)
        self.attributes: Attributes = {}

    def see(self, images: Sequence[Image], threshold: float) -> list[Glimpse]:
        """See ``Sight``."""
        glimpses = []
        for image in images:
            found = self._detector.detect(
                image, self.classes, threshold=weak(threshold), max_detections=MAX_OBJECTS
            )
            boxes = [(d.box.x, d.box.y, d.box.x + d.box.w, d.box.y + d.box.h) for d in found]
            labels = [self.classes.index(d.name) for d in found]
            glimpses.append(_glimpse(image, boxes, [d.score for d in found], labels))
        return glimpses


def weak(threshold: float) -> float:
    """The score down to which objects are followed."""
    return min(threshold, max(FLOOR, WEAK * threshold))


def open_sight(blobs: Blobs, eye: Eye) -> Sight:
    """The model of an ``Eye``, from this process's memory if it is there.

    Raises Unavailable when its files are gone (``model_file_missing``, ``weights_missing`` …).
    """
    if eye.onnx_sha256 is None:
        from tintype_studio.vision.detect.chain import DetectorSettings, EngineSpec, open_engine

        spec = EngineSpec("open_vocabulary", DetectorSettings(eye.weights))
        return WordsSight(open_engine(spec, blobs), tuple(dict.fromkeys(eye.objects)))
    from tintype_studio.vision.infer.heads import open_heads
    from tintype_studio.vision.infer.model import open_model

    heads = None if eye.heads_sha256 is None else open_heads(blobs, eye.heads_sha256)
    return TrainedSight(open_model(blobs, eye.onnx_sha256), heads)


def gathered(sight: Sight, timestamps_us: Sequence[int], glimpses: Sequence[Glimpse]) -> FramesFound:
    """Glimpses of some frames, in the order of time."""
    first = glimpses[0] if glimpses else None
    rows = [
        option_row(sight.attributes, sight.classes[label], choices)
        for each in glimpses
        for label, choices in zip(
            each.labels.tolist(), [*each.choices, *[{}] * (len(each.labels) - len(each.choices))], strict=True
        )
    ]

    def together(arrays: list[NDArray[np.generic]], *shape: int) -> NDArray[np.generic]:
        return np.concatenate(arrays) if arrays else np.zeros((0, *shape))

    return FramesFound(
        first.width if first else 0,
        first.height if first else 0,
        sight.classes,
        sight.attributes,
        sight.whole,
        np.asarray(timestamps_us, np.int64),
        np.array([len(each.scores) for each in glimpses], np.int32),
        together([each.boxes for each in glimpses], 4).astype(np.float32),
        together([each.scores for each in glimpses]).astype(np.float32),
        together([each.labels for each in glimpses]).astype(np.int32),
        together([each.looks for each in glimpses], LENGTH).astype(np.uint8),
        np.asarray(rows, np.float32).reshape(len(rows), width_of(sight.attributes)),
    )


def _glimpse(
    image: Image,
    corners: Sequence[Sequence[float]] | NDArray[np.floating],
    scores: Sequence[float] | NDArray[np.floating],
    labels: Sequence[int] | NDArray[np.integer],
    *,
    looks: bool = True,
) -> Glimpse:
    """Detections in pixels of the image, best first; each object once, whatever class it is taken for."""
    height, width = image.shape[:2]
    boxes = np.asarray(corners, np.float64).reshape(-1, 4)
    kept = np.arange(len(boxes))
    if looks:
        kept = _once(boxes)
        appearance = [look_of(image, boxes[index]) for index in kept]
    shares = np.clip(boxes[kept] / (width, height, width, height), 0, 1)
    return Glimpse(
        width,
        height,
        shares.astype(np.float32),
        np.asarray(scores, np.float32)[kept],
        np.asarray(labels, np.int32)[kept],
        np.stack(appearance) if looks and len(kept) else np.zeros((len(kept), LENGTH), np.uint8),
    )


def _once(boxes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places of those that cover no better one."""
    same = np.triu(overlaps(boxes, boxes) >= SAME_OBJECT, 1)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not same[kept, index].any():
            kept.append(index)
    return np.asarray(kept, np.intp)
